"""Compile one Program for a GPU that need not be here: ``python -m gpu.compile_only NVRTC SM MODEL PROGRAM DTYPE``.

NVRTC is its version, as in 13.0. Prints a row as JSON. Needs neither CuPy nor a driver.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
from gpu import ceilings
from gpu.models import program_of
from gpu.section import Code, Row

from etn_gpu.backend.cache import folder
from etn_gpu.backend.cuda import cubins, executor, nvrtc, sources
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.errors import BackendError

#: So that a process which checks something at the same time is not kept waiting.
NICE = 10


class CompileOnly:
    """As much of a device as a Program needs to be compiled: the NVRTC of that version, for sm_``architecture``.

    Raises:
        BackendError: the NVRTC that is found has another version: nobody would find its code.
    """

    name = "compiler"

    def __init__(self, version: str, architecture: int) -> None:
        self._compiler, self._architecture = nvrtc.compiler(int(version.partition(".")[0])), architecture
        if (found := dotted(self._compiler)) != version:
            raise BackendError(f"NVRTC {found} was found ({self._compiler.origin}), expected {version}")

    @property
    def device(self) -> Device:
        """Itself, as what it acts as."""
        return cast(Device, self)

    def load(self, text: str, origin: str) -> CompileOnly:
        """The machine code is left in the cache on disk, where another process must find it."""
        path = cubins.compiled(self._compiler, text, origin, self._architecture)
        if path.parent != folder():
            raise BackendError(f"{folder()} cannot be written: set ETN_GPU_CACHE to a folder that can")
        return self

    def get_function(self, name: str) -> None:
        """There is nothing to start."""


def dotted(compiler: nvrtc.Compiler) -> str:
    """The version of an NVRTC, as in 13.0."""
    return ".".join(map(str, compiler.version))


def environment(compiler: nvrtc.Compiler) -> dict[str, str]:
    """Variables by which another process finds the NVRTC of this one.

    Where it is known by its name alone, CuPy may have loaded it from a folder that nobody else knows.
    """
    if Path(compiler.origin).is_absolute():
        return {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.partition("/")[1] + line.partition("/")[2])
        if path.name.startswith(compiler.origin):
            known = os.environ.get("LD_LIBRARY_PATH")
            return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(path.parent), known]))}
    return {}


def compile_program(code: Code, device: CompileOnly) -> Row:
    """Lower and compile one Program; seconds, stages, and the bytes of its text."""
    program = program_of(code)
    start = time.perf_counter()
    stages = executor.compiled(device.device, program, np.dtype(code.dtype)).stages
    text = sum(len(stage.text) for stage in stages)
    return {"seconds": time.perf_counter() - start, "stages": len(stages), "text_bytes": text}


def compile_sources(device: CompileOnly) -> Row:
    """All kernels that do not depend on a Program."""
    start = time.perf_counter()
    names = [name for name in sources.available() if name.endswith(".cu")]
    for name in names:
        Module.of_source(device.device, name)
    ceilings.module(device.device)
    return {"seconds": time.perf_counter() - start, "stages": len(names) + 1}


def main() -> None:
    """Compile what the command line says."""
    os.nice(NICE)
    version, architecture, model, program, dtype = sys.argv[1:]
    try:
        row = compile_program(Code(model, program, dtype), CompileOnly(version, int(architecture)))
    except BackendError as error:
        sys.exit(str(error))
    print(json.dumps(row))


if __name__ == "__main__":
    main()
