"""From LLVM text to addresses of machine code, with a cache of object files on disk.

A module is compiled once for each text, processor and version of LLVM: a new process loads the object file in
milliseconds, and new weights compile nothing at all.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from etn_gpu.backend import cache

#: How much LLVM optimises, 0 to 3.
OPTIMISATION = 2


def _machine() -> Any:
    """A target machine; an engine owns its own, and deletes it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=OPTIMISATION, reloc="pic"
    )


def compile_text(text: str) -> bytes:
    """Object code of a module for this processor."""
    module = llvm.parse_assembly(text)
    module.verify()
    return bytes(_machine().emit_object(module))


def assembly(text: str) -> str:
    """The machine code of a module as text, to look at."""
    return str(_machine().emit_assembly(llvm.parse_assembly(text)))


#: Object code by its name, from :func:`keep` to its first use: the folder may be one that cannot be written.
_fresh: dict[str, bytes] = {}


def object_code(text: str) -> bytes:
    """Object code of ``text``, from the cache where it is there and whole.

    Raises:
        CacheError: others can write the cache.
    """
    name = _name(text)
    if (code := _fresh.pop(name, None) or _stored(name)) is None:
        code = compile_text(text)
        _store(name, code)
    return code


def is_stored(text: str) -> bool:
    """Whether the object code of ``text`` is there already."""
    name = _name(text)
    return name in _fresh or _stored(name) is not None


def keep(text: str, code: bytes) -> None:
    """Remember object code of ``text`` that another process has made."""
    name = _name(text)
    _fresh[name] = code
    _store(name, code)


def _name(text: str) -> str:
    processor = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    identity = "|".join((text, *processor, llvmlite.__version__, str(OPTIMISATION)))
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.o"


def _stored(name: str) -> bytes | None:
    if (content := cache.read(name)) is not None:
        checksum, code = _cut(content)
        if _checksum(name, code) == checksum:  # damaged machine code would take the process down
            return code
    return None


def _store(name: str, code: bytes) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        cache.write(name, _checksum(name, code) + code)


def _checksum(name: str, code: bytes) -> bytes:
    """Against accidents: a file that was cut, or copied over another. Nobody else can write one (see ``cache``)."""
    return hashlib.sha256(name.encode() + code).digest()


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
