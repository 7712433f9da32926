"""Machine code of all Programs, compiled side by side on the cores of the host before anything is timed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, cast

import numpy as np
from gpu.models import model
from gpu.section import Bench, Case, Row, Section

from etn_gpu.backend.cuda import cubins, nvrtc
from etn_gpu.backend.cuda.device import CupyDevice, Device
from etn_gpu.backend.cuda.executor import DeviceProgram


class _CompileOnly:
    """As much of a device as a Program needs to be compiled: no driver, no GPU."""

    name = "compiler"

    def __init__(self, cuda: int, architecture: int) -> None:
        self._compiler, self._architecture = nvrtc.compiler(cuda), architecture

    def load(self, text: str, origin: str) -> _CompileOnly:
        """The machine code is left in the cache on disk."""
        cubins.compiled(self._compiler, text, origin, self._architecture)
        return self

    def get_function(self, name: str) -> None:
        """There is nothing to start."""


def compile_program(preset: str, seed: int, program: str, dtype: str, cuda: int, architecture: int) -> Row:
    """Lower and compile one Program; seconds of each, and the bytes of its text."""
    chosen = getattr(model(preset, seed).programs, program)
    start = time.perf_counter()
    made = DeviceProgram(cast(Device, _CompileOnly(cuda, architecture)), chosen, np.dtype(dtype))
    text = sum(len(stage.text) for stage in made.lowered.stages)
    return {"seconds": time.perf_counter() - start, "stages": len(made.lowered.stages), "text_bytes": text}


def cases(bench: Bench) -> Iterator[Case]:
    """One case for each Program; all begin at once."""
    device = bench.device
    assert isinstance(device, CupyDevice)
    import cupy

    cuda = cupy.cuda.runtime.runtimeGetVersion() // 1000
    # A process that has begun to use CUDA cannot be forked.
    pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))
    futures: dict[str, Future[Row]] = {}
    for preset in bench.sizes.presets:
        for program in bench.sizes.programs:
            for dtype in bench.sizes.dtypes:
                arguments: tuple[Any, ...] = (preset, bench.seed, program, dtype, cuda, device.architecture)
                futures[f"{program}, {preset}, {dtype}"] = pool.submit(compile_program, *arguments)
    for name, future in futures.items():
        yield Case(name, partial(_wait, future, bench))
    pool.shutdown(wait=False, cancel_futures=True)


SECTION = Section("compilation", "Compilation, seconds", cases, until=0.3)


def _wait(future: Future[Row], bench: Bench) -> Row:
    try:
        return future.result(timeout=max(bench.clock.left(SECTION.until), 1.0))
    except TimeoutError:
        return {"not_run": "not compiled in time; the first section that needs it compiles it"}
