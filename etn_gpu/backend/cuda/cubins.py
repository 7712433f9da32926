"""Machine code of GPUs, kept in the folder ``ETN_GPU_CACHE``.

A file is called ``<hash of all that decides the code>-<hash of the code>.cubin``: a damaged one is noticed and made
again, and CUDA loads it as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from etn_gpu.backend.cache import folder
from etn_gpu.backend.cuda.nvrtc import Compiler

_SUFFIX = ".cubin"


def compiled(compiler: Compiler, text: str, origin: str, architecture: int) -> Path:
    """The file with the machine code of ``text`` for sm_``architecture``, compiled unless it is there.

    Raises:
        BackendError: the source does not compile; or there is no folder to write to.
    """
    identity = "|".join((text, origin, str(architecture), str(compiler.version), *compiler.options))
    key = _digest(identity.encode())
    if (path := _find(key)) is not None:
        return path
    return _store(key, compiler.compile(text, origin, architecture).cubin)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _find(key: str) -> Path | None:
    for path in folder().glob(f"{key}-*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.name == f"{key}-{_digest(path.read_bytes())}{_SUFFIX}":
                return path
    return None


def _store(key: str, cubin: bytes) -> Path:
    path = folder() / f"{key}-{_digest(cubin)}{_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write(path, cubin)
    except OSError:  # CUDA loads files, so one must be somewhere: a cache that cannot be written only costs time
        return _write(Path(tempfile.mkdtemp(prefix="etn_gpu-")) / path.name, cubin)


def _write(path: Path, content: bytes) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return Path(name).replace(path)
