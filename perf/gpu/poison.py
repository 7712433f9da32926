"""Arrays of a GPU that begin as NaN, or each in an allocation of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from etn_gpu.backend.cuda.device import CupyDevice, Device


@contextlib.contextmanager
def poisoned(device: Device) -> Iterator[None]:
    """New arrays consist of bytes 0xff, NaN and -1: what a kernel does not write, and should, is seen in its results.

    Arrays of the emulator always do.
    """
    if not isinstance(device, CupyDevice):
        yield
        return
    import cupy

    pool = cupy.get_default_memory_pool()

    def filled(size: int) -> Any:
        memory = pool.malloc(size)
        if size:
            memory.memset_async(0xFF, size)
        return memory

    with cupy.cuda.using_allocator(filled):
        yield


@contextlib.contextmanager
def apart(device: Device) -> Iterator[None]:
    """Each array is an allocation of its own and not filled, so that compute-sanitizer knows where it ends and what of
    it was written."""
    if not isinstance(device, CupyDevice):
        yield
        return
    import cupy

    def alone(size: int) -> Any:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)

    with cupy.cuda.using_allocator(alone):
        yield
