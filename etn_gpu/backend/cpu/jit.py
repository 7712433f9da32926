"""From LLVM text to addresses of machine code, with a cache of object files on disk.

A module is compiled once for each text, processor and version of LLVM: a new process loads the object file in
milliseconds, and new weights compile nothing at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from etn_gpu.backend.cache import folder


def _machine() -> Any:
    """A target machine; an engine owns its own, and deletes it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, reloc="pic"
    )


def compile_text(text: str) -> bytes:
    """Object code of a module for this processor."""
    module = llvm.parse_assembly(text)
    module.verify()
    return bytes(_machine().emit_object(module))


def assembly(text: str) -> str:
    """The machine code of a module as text, to look at."""
    return str(_machine().emit_assembly(llvm.parse_assembly(text)))


#: Object code by its path, from :func:`keep` to its first use: the folder may be one that cannot be written.
_fresh: dict[Path, bytes] = {}


def object_code(text: str) -> bytes:
    """Object code of ``text``, from the cache where it is there and whole."""
    path = _path(text)
    if (code := _fresh.pop(path, None) or _stored(path)) is None:
        code = compile_text(text)
        _store(path, code)
    return code


def is_stored(text: str) -> bool:
    """Whether the object code of ``text`` is there already."""
    path = _path(text)
    return path in _fresh or _stored(path) is not None


def keep(text: str, code: bytes) -> None:
    """Remember object code of ``text`` that another process has made."""
    path = _path(text)
    _fresh[path] = code
    _store(path, code)


def _path(text: str) -> Path:
    identity = "|".join((text, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvmlite.__version__))
    return folder() / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.o"


def _stored(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        checksum, code = _cut(path.read_bytes())
        if hashlib.sha256(code).digest() == checksum:  # damaged machine code would take the process down
            return code
    return None


def _store(path: Path, code: bytes) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(name).replace(path)


def _cut(content: bytes) -> tuple[bytes, bytes]:
    size = hashlib.sha256().digest_size
    return content[:size], content[size:]


class Library:
    """Loaded object code; keeps the machine code alive as long as it lives."""

    def __init__(self, code: bytes) -> None:
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def addresses(self, names: Sequence[str]) -> list[int]:
        """Addresses of exported functions."""
        return [self._engine.get_function_address(name) for name in names]
