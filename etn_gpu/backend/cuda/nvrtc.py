"""NVRTC, NVIDIA's run-time compiler, called by its C interface: CUDA C++ text in, machine code of a GPU (cubin) out.

It needs neither a driver nor a GPU, and not CuPy either: the tests compile with the code that compiles for users.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from etn_gpu.errors import BackendError

_OPTIONS = ("--std=c++17", "--ptxas-options=-v", "--generate-line-info")
#: A switch becomes one indirect branch, not a tree of comparisons; known since that version.
_JUMP_TABLES, _JUMP_TABLES_SINCE = "--jump-table-density=10", (12, 3)
_COMPILATION_FAILED = 6


@dataclass(frozen=True)
class Compiled:
    """Machine code of a source and what the compilers said about it."""

    cubin: bytes
    log: str

    def resources(self) -> dict[str, Resources]:
        """What each kernel needs of a multiprocessor, from the log of ptxas."""
        found = {}
        for entry in re.split(r"Compiling entry function '", self.log)[1:]:
            name = entry.partition("'")[0]
            numbers = [
                sum(int(n) for n in re.findall(pattern, entry))
                for pattern in (
                    r"Used (\d+) registers",
                    r"(\d+) bytes spill",
                    r"(\d+) bytes smem",
                    r"(\d+) bytes stack",
                )
            ]
            found[name] = Resources(*numbers)
        return found


@dataclass(frozen=True)
class Resources:
    """Registers of a thread, bytes of registers spilled (stores and loads), bytes of static shared memory of a block,
    bytes of local memory of a thread."""

    registers: int
    spilled: int
    shared: int
    stack: int


class Compiler:
    """One NVRTC library."""

    def __init__(self, library: ctypes.CDLL, origin: str) -> None:
        self._library = library
        self.origin = origin
        major, minor = c_int(), c_int()
        self._check(library.nvrtcVersion(byref(major), byref(minor)), "nvrtcVersion")
        self.version = (major.value, minor.value)
        self.options = (*_OPTIONS, *([_JUMP_TABLES] if self.version >= _JUMP_TABLES_SINCE else []))

    def architectures(self) -> list[int]:
        """The GPUs that can be compiled for, as in sm_90, ascending."""
        count = c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(byref(count)), "nvrtcGetNumSupportedArchs")
        numbers = (c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(numbers), "nvrtcGetSupportedArchs")
        return sorted(numbers)

    def compile(self, text: str, origin: str, architecture: int) -> Compiled:
        """Machine code of ``text``, a source without includes called ``origin`` in messages, for sm_``architecture``.

        Raises:
            BackendError: the source does not compile, with the log of the compiler; or NVRTC does not know the GPU.
        """
        if architecture not in (known := self.architectures()):
            raise BackendError(
                f"NVRTC {self.version[0]}.{self.version[1]} ({self.origin}) cannot compile for sm_{architecture}; it "
                f"can for sm_{known[0]} to sm_{known[-1]}. Install the extra of another CUDA version "
                "(pip install 'etn_gpu[cuda13]' for newer GPUs, 'etn_gpu[cuda12]' for older ones)."
            )
        options = [option.encode() for option in (f"--gpu-architecture=sm_{architecture}", *self.options)]
        program = c_void_p()
        created = self._library.nvrtcCreateProgram(byref(program), text.encode(), origin.encode(), 0, None, None)
        self._check(created, "nvrtcCreateProgram")
        try:
            status = self._library.nvrtcCompileProgram(program, len(options), (c_char_p * len(options))(*options))
            log = self._bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
            if status == _COMPILATION_FAILED:
                raise BackendError(f"{origin} does not compile for sm_{architecture}; the compiler says:\n{log}")
            self._check(status, f"nvrtcCompileProgram of {origin}", log)
            return Compiled(self._bytes(program, "CUBIN"), log)
        finally:
            self._library.nvrtcDestroyProgram(byref(program))

    def _bytes(self, program: c_void_p, what: str) -> bytes:
        size = c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, byref(size)), f"nvrtcGet{what}Size")
        content = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, content), f"nvrtcGet{what}")
        return content.raw

    def _check(self, status: int, call: str, log: str = "") -> None:
        if status != 0:
            reason = self._library.nvrtcGetErrorString(status).decode()
            raise BackendError("\n".join([f"{call} failed: {reason} ({self.origin})", *([log] if log else [])]))


@cache
def compiler(major: int) -> Compiler:
    """The NVRTC of CUDA ``major``: from a Python package, from the folder CUDA_PATH or CUDA_HOME, or of the system.

    Raises:
        BackendError: it is not installed.
    """
    name = f"libnvrtc.so.{major}"
    for path in (*_candidates(major, name), name):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = c_char_p
        library.nvrtcDestroyProgram.argtypes = [POINTER(c_void_p)]
        found = Compiler(library, str(path))
        _load_builtins(found)
        return found
    raise BackendError(
        f"NVRTC, the run-time compiler of CUDA {major}, is missing ({name} is neither in a Python package nor in "
        f"CUDA_PATH nor known to the system): pip install 'etn_gpu[cuda{major}]', which brings it."
    )


def _load_builtins(compiler: Compiler) -> None:
    """Load the library that NVRTC opens by name when it compiles: that of 13.0 does not look for it beside itself."""
    folder = Path(compiler.origin).parent
    if folder.is_absolute():
        with contextlib.suppress(OSError):  # then NVRTC finds it, or says so when it compiles
            ctypes.CDLL(str(folder / f"libnvrtc-builtins.so.{compiler.version[0]}.{compiler.version[1]}"))


def _candidates(major: int, name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        yield Path(folder) / f"cu{major}" / "lib" / name
        yield Path(folder) / "cuda_nvrtc" / "lib" / name
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if root := os.environ.get(variable):
            yield Path(root) / "lib64" / name
