"""The ceilings of the device, measured with kernels of our own: copies, and multiply-adds in both precisions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from gpu.section import Bench, Case, Row, Section
from gpu.timing import timed
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.launcher import Module

#: As in ceilings.cu.
CHAINS = 16
FACTORS = (0.75, 0.5)


def module(device: Device) -> Module:
    """The kernels of ceilings.cu."""
    return Module(device, (Path(__file__).parent / "ceilings.cu").read_text("utf-8"), "ceilings.cu")


def copy(device: Device, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy by the kernel that is timed."""
    target = device.empty(len(values), np.float32)
    module(device)["copy_float32"].over(len(values) // 4, source=device.to_device(values), target=target, n=len(values))
    return device.to_host(target)


def multiply_add(device: Device, threads: int, rounds: int, dtype: str) -> NDArray[np.floating]:
    """The results [threads] of the kernel that is timed."""
    results = device.empty(threads, dtype)
    factors = device.to_device(np.array(FACTORS, dtype))
    module(device)[f"multiply_add_{dtype}"].over(threads, factors=factors, results=results, rounds=rounds)
    return device.to_host(results)


def cases(bench: Bench) -> Iterator[Case]:
    """Bytes per second of a copy, flops per second of multiply-adds."""
    yield Case("copy", partial(_copy, bench))
    for dtype in ("float32", "float64"):
        yield Case(dtype, partial(_multiply_add, bench, dtype))


SECTION = Section("ceilings", "Ceilings measured: bytes and operations per second", cases, until=0.65)


def ceiling(bench: Bench, name: str) -> float | None:
    """What was measured for 'copy' (bytes per second), 'float32' or 'float64' (operations per second)."""
    return bench.row(SECTION.name, name).get("per_second")


def _copy(bench: Bench) -> Row:
    device, n = bench.device, bench.sizes.copied
    source, target = device.zeros(n, np.float32), device.empty(n, np.float32)
    kernel = module(device)["copy_float32"]
    seconds = timed(device, lambda: kernel.over(n // 4, source=source, target=target, n=n))
    return {"per_second": 2 * source.nbytes / seconds.median, **seconds.row()}


def _multiply_add(bench: Bench, dtype: str) -> Row:
    device, threads, rounds = bench.device, bench.sizes.threads, bench.sizes.rounds
    factors, results = device.to_device(np.array(FACTORS, dtype)), device.empty(threads, dtype)
    kernel = module(device)[f"multiply_add_{dtype}"]
    seconds = timed(device, lambda: kernel.over(threads, factors=factors, results=results, rounds=rounds))
    return {"per_second": 2.0 * CHAINS * rounds * threads / seconds.median, **seconds.row()}
