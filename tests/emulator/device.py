"""The emulator as a device of the launcher: its arrays, and kernels from text."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from etn_gpu.backend.cuda.device import Device, out_of_memory
from etn_gpu.backend.cuda.signatures import parse
from tests.emulator.build import library
from tests.emulator.kernels import EmulatedBinary


class EmulatedArray(np.ndarray):
    """An array "on the device": what kernels take, while arrays of NumPy are refused as they are on a GPU."""


def run_in_order(device: Device, order: int) -> None:
    """Let threads run in an order of :class:`EmulatedDevice`; a GPU has an order of its own."""
    if isinstance(device, EmulatedDevice):
        device.order = order


class EmulatedDevice:
    """A CPU that runs CUDA kernels.

    Args:
        mode: a key of :data:`tests.emulator.build.MODES`.
        order: in which threads and blocks run: 0 ascending, 1 descending, else a random order with that seed.
    """

    def __init__(self, mode: str = "check", order: int = 0) -> None:
        self.name = "the emulator"
        self.max_shared_bytes = 227 * 1024
        self.mode = mode
        self.order = order
        #: Bytes of all arrays that were ever made here.
        self.allocated = 0
        # between arrays nothing may be read; AddressSanitizer has such gaps of its own
        self._gap = 0 if mode == "address" else 256
        #: Bytes of the largest array that there is room for, None for any.
        self.memory: int | None = None

    def load(self, text: str, origin: str) -> EmulatedBinary:
        """Compile a source."""
        signatures = parse(text, origin)
        return EmulatedBinary(library(text, tuple(signatures), self.mode), signatures, lambda: self.order)

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> EmulatedArray:
        """A new array of bytes 0xff: NaN in floating point, -1 in integers."""
        of = np.dtype(dtype)
        extents = (shape,) if isinstance(shape, (int, np.integer)) else shape
        size = math.prod(extents) * of.itemsize
        self.allocated += size
        if self.memory is not None and size > self.memory:
            raise out_of_memory(f"Out of memory allocating {size:,} bytes.", self.name, self.memory, self.memory)
        memory = np.full(size + 2 * self._gap, 0xFF, dtype=np.uint8)
        return memory[self._gap : self._gap + size].view(of).reshape(extents).view(EmulatedArray)

    def zeros(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> EmulatedArray:
        """A new array of zeros."""
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def to_device(self, array: NDArray[Any]) -> EmulatedArray:
        """A copy."""
        copy = self.empty(np.shape(array), np.asarray(array).dtype)
        copy[...] = array
        return copy

    def to_host(self, array: Any) -> NDArray[Any]:
        """A copy."""
        if not self.holds(array):
            raise TypeError(f"{type(array).__name__} is not on the device")
        return np.array(array, subok=False)

    def holds(self, array: object) -> bool:
        """Whether this is an array of the emulator."""
        return isinstance(array, EmulatedArray)

    def cumulative(self, counts: Any) -> EmulatedArray:
        """[0, c0, c0 + c1, ...]."""
        sums = self.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, dtype=np.int64, out=sums[1:])
        return sums

    def stable_order(self, keys: Any) -> EmulatedArray:
        """Indices that sort the keys."""
        return self.to_device(np.argsort(np.asarray(keys), kind="stable"))

    def queue(self, number: int) -> AbstractContextManager[None]:
        """Here all queues are one."""
        assert number in (0, 1)
        return nullcontext()

    def synchronize(self) -> None:
        """Every kernel has ended when its launch returns."""

    def free_bytes(self) -> int | None:
        """What :attr:`memory` leaves."""
        return self.memory

    def release(self) -> None:
        """NumPy gives memory back at once."""
