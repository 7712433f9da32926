"""Machine code of GPUs, kept in the folder ``ETN_GPU_CACHE``.

A file is called ``<hash of all that decides the code>-<hash of the code>.cubin``: a damaged one is noticed and made
again, and CUDA loads it as it is. The hash guards accidents only; that nobody else writes files is what
:mod:`etn_gpu.backend.cache` checks.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from etn_gpu.backend import cache
from etn_gpu.backend.cuda.nvrtc import Compiler
from etn_gpu.errors import BackendError

_SUFFIX = ".cubin"


def compiled(compiler: Compiler, text: str, origin: str, architecture: int) -> Path:
    """The file with the machine code of ``text`` for sm_``architecture``, compiled unless it is there.

    Raises:
        BackendError: the source does not compile; or there is no folder to write to.
        CacheError: others can write the folder.
    """
    identity = "|".join((text, origin, str(architecture), str(compiler.version), *compiler.options))
    key = _digest(identity.encode())
    if (path := _find(key)) is not None:
        return path
    return _store(key, compiler.compile(text, origin, architecture).cubin)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _find(key: str) -> Path | None:
    with contextlib.suppress(OSError):
        for path in cache.folder().glob(f"{key}-*{_SUFFIX}"):
            content = cache.read(path.name)
            if content is not None and path.name == f"{key}-{_digest(content)}{_SUFFIX}":
                return path
    return None


def _store(key: str, cubin: bytes) -> Path:
    name = f"{key}-{_digest(cubin)}{_SUFFIX}"
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        return cache.write(name, cubin)
    try:  # CUDA loads files, so one must be somewhere
        path = Path(_temporary_folder().name) / name
        path.write_bytes(cubin)
    except OSError as error:
        raise BackendError(
            f"machine code can be written neither to a temporary folder ({error}) nor to the folder of compiled "
            f"models: set {cache.ENVIRONMENT_VARIABLE} to a folder that you can write"
        ) from error
    return path


@lru_cache(maxsize=1)
def _temporary_folder() -> TemporaryDirectory[str]:
    """A folder of this process, which only its user can enter, and which is removed when it ends."""
    return TemporaryDirectory(prefix="etn_gpu-")
