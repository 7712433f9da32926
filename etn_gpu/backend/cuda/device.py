"""What the launcher needs of a device: arrays, and functions from source text. And the one of NVIDIA GPUs, by CuPy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from etn_gpu.backend.cuda import cubins, nvrtc
from etn_gpu.backend.cuda.availability import unavailable
from etn_gpu.errors import BackendError, DeviceMemoryError

#: More shared memory than this for a block must be asked for before a launch.
_PLAIN_SHARED_BYTES = 48 * 1024

#: An array on the device: it has shape, dtype, size, nbytes and flags.c_contiguous like one of NumPy.
DeviceArray = Any


class Function(Protocol):
    """A kernel of a compiled source."""

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int) -> None:
        """Start the kernel on arrays and NumPy scalars, with so many bytes of dynamic shared memory for each block."""


class Binary(Protocol):
    """A compiled source."""

    def get_function(self, name: str) -> Function:
        """The kernel ``name``."""


class Device(Protocol):
    """Arrays and kernels in one place. Calls outside of a queue follow one another in the order they were made.

    ``name`` is for people; ``max_shared_bytes`` is the most shared memory that a block can have.
    """

    name: str
    max_shared_bytes: int

    def __hash__(self) -> int:
        """A device is the key of what was compiled for it."""

    def load(self, text: str, origin: str) -> Binary:
        """Compile a source without includes, called ``origin`` in messages; BackendError where that fails."""

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """A new array of unknown content; DeviceMemoryError where there is no room."""

    def zeros(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """A new array of zeros; DeviceMemoryError where there is no room."""

    def to_device(self, array: NDArray[Any]) -> DeviceArray:
        """A copy of an array of NumPy on the device, contiguous."""

    def to_host(self, array: DeviceArray) -> NDArray[Any]:
        """A copy of a device array as one of NumPy; waits for the kernels that write it."""

    def holds(self, array: object) -> bool:
        """Whether this is an array on this device."""

    def cumulative(self, counts: DeviceArray) -> DeviceArray:
        """[0, c0, c0 + c1, ...] as int64 [n+1] of counts [n]."""

    def stable_order(self, keys: DeviceArray) -> DeviceArray:
        """The indices that sort keys [n], int64; equal keys stay in their order."""

    def queue(self, number: int) -> AbstractContextManager[None]:
        """Calls inside follow one another in a queue of their own, 0 or 1, beside those in the other.

        An array must be used in the queue where it was made, unless :meth:`synchronize` came in between.
        """

    def synchronize(self) -> None:
        """Wait until everything is done."""

    def free_bytes(self) -> int | None:
        """Bytes that arrays can still take, None where nothing bounds them."""

    def release(self) -> None:
        """Give memory that arrays no longer take back for arrays of any size."""


class CupyDevice:
    """One NVIDIA GPU.

    Raises:
        BackendError: there is none that can be used; the message says why and what to do.
    """

    def __init__(self, number: int = 0) -> None:
        if (reason := unavailable()) is not None:
            raise BackendError(f"the cuda backend cannot run here: {reason}")
        import cupy

        self._cupy = cupy
        self._device = cupy.cuda.Device(number)
        attributes = self._device.attributes
        self._compiler = nvrtc.compiler(cupy.cuda.runtime.runtimeGetVersion() // 1000)
        self.architecture = int(self._device.compute_capability)
        self.max_shared_bytes = int(attributes["MaxSharedMemoryPerBlockOptin"])
        model = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
        self.name = f"{model} (sm_{self.architecture})"

    def load(self, text: str, origin: str) -> Binary:
        """Machine code from NVRTC, by way of the cache on disk."""
        path = cubins.compiled(self._compiler, text, origin, self.architecture)
        with self.here():
            return _CupyBinary(self, self._cupy.RawModule(path=str(path)))

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """See :class:`Device`."""
        with self.here():
            return self._cupy.empty(shape, dtype)

    def zeros(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        """See :class:`Device`."""
        with self.here():
            return self._cupy.zeros(shape, dtype)

    def to_device(self, array: NDArray[Any]) -> DeviceArray:
        """See :class:`Device`."""
        with self.here():
            return self._cupy.asarray(np.ascontiguousarray(array))

    def to_host(self, array: DeviceArray) -> NDArray[Any]:
        """See :class:`Device`."""
        with self.here():
            return np.asarray(self._cupy.asnumpy(array))

    def holds(self, array: object) -> bool:
        """See :class:`Device`."""
        return isinstance(array, self._cupy.ndarray) and array.device == self._device

    def cumulative(self, counts: DeviceArray) -> DeviceArray:
        """See :class:`Device`."""
        with self.here():
            sums = self._cupy.zeros(len(counts) + 1, np.int64)
            if len(counts):
                self._cupy.cumsum(counts, dtype=np.int64, out=sums[1:])
            return sums

    def stable_order(self, keys: DeviceArray) -> DeviceArray:
        """See :class:`Device`."""
        with self.here():
            try:
                return self._cupy.argsort(keys, kind="stable") if len(keys) else self._cupy.zeros(0, np.int64)
            except MemoryError as error:  # sorting raises a plain one
                raise self._no_room(error) from error

    @cached_property
    def _queues(self) -> tuple[Any, ...]:
        return tuple(self._cupy.cuda.Stream(non_blocking=True) for _ in range(2))

    @contextlib.contextmanager
    def queue(self, number: int) -> Iterator[None]:
        """See :class:`Device`."""
        with self.here(), self._queues[number]:
            yield

    def synchronize(self) -> None:
        """See :class:`Device`."""
        with self.here():
            self._device.synchronize()

    def free_bytes(self) -> int:
        """See :class:`Device`."""
        with self.here():
            free: int = self._device.mem_info[0] + self._cupy.get_default_memory_pool().free_bytes()
            return free

    def release(self) -> None:
        """See :class:`Device`."""
        with self.here():
            self._cupy.get_default_memory_pool().free_all_blocks()

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Work on this device, and report memory that runs out in our own terms."""
        try:
            with self._device:
                yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: MemoryError) -> DeviceMemoryError:
        return out_of_memory(str(error), self.name, self.free_bytes(), self._device.mem_info[1])


@dataclass(frozen=True)
class _CupyBinary:
    device: CupyDevice
    module: Any

    def get_function(self, name: str) -> _CupyFunction:
        with self.device.here():  # CuPy loads the module now, on the device that is current
            return _CupyFunction(self.device, self.module.get_function(name))


class _CupyFunction:
    """A RawKernel that runs on its own device, whichever is current, and asks for much shared memory beforehand."""

    def __init__(self, device: CupyDevice, kernel: Any) -> None:
        self._device = device
        self._kernel = kernel
        self._prepared_bytes = _PLAIN_SHARED_BYTES

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int) -> None:
        with self._device.here():
            if shared_mem > self._prepared_bytes:
                # Kernels of the same text are one function to CUDA: another wrapper may have asked for more.
                most = max(shared_mem, self._kernel.max_dynamic_shared_size_bytes)
                self._kernel.max_dynamic_shared_size_bytes = self._prepared_bytes = most
            self._kernel(grid, block, tuple(args), shared_mem=shared_mem)


def out_of_memory(message: str, device: str, free: int, total: int) -> DeviceMemoryError:
    """The error for CuPy's ``message``, which says how many bytes it tried to get."""
    match = re.search(r"allocating ([\d,]+) bytes", message)
    requested = int(match.group(1).replace(",", "")) if match else None
    asked = f"{requested / 2**30:.2f} GiB were" if requested is not None else "more was"
    return DeviceMemoryError(
        f"out of memory on {device}: {asked} asked for, {free / 2**30:.2f} of {total / 2**30:.2f} GiB are free. "
        "Take fewer structures at a time, or end other programs that use this GPU.",
        requested=requested,
        free=free,
    )
