"""Large results on the host: memory that is used again, and thin products written tile by tile.

The product of two three-leg tensors is often much larger than both, so writing it is the work. Two things then cost
more than the arithmetic on a CPU. Memory above malloc's largest threshold (32 MiB in glibc) comes fresh from the
system at each allocation and is zeroed page by page on first touch; here a buffer that nobody holds any more is handed
out again, as CuPy's memory pool does on a device. And BLAS goes over a large output several times; a product with few
summands writes it once if it is cut into tiles that stay in cache.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.tensor.arrays import Array, namespace

# malloc itself uses smaller blocks again.
_POOLED_FROM = 1 << 25
_POOL_LIMIT = 1 << 28

# Measured with OpenBLAS on AVX-512: 1.3 to 1.8 times faster below, slower above; see perf/bench_tensor.py.
_TILED_FROM = 1 << 20
_THIN = 32
_TILE = (32, 128)


class BufferPool:
    """Host memory of results that were dropped, at most `limit` bytes of it, the latest ones, kept for the next."""

    def __init__(self, limit: int = _POOL_LIMIT, smallest: int = _POOLED_FROM) -> None:
        self.limit = limit
        self.smallest = smallest
        self._free: dict[int, NDArray[np.uint8]] = {}

    @property
    def held(self) -> int:
        """Bytes that wait to be used again."""
        return sum(memory.nbytes for memory in list(self._free.values()))

    def empty(self, size: int, dtype: Any) -> NDArray[Any]:
        """An uninitialised array (size,). Its memory returns to the pool when the last view of it is gone."""
        nbytes = size * np.dtype(dtype).itemsize
        if not self.smallest <= nbytes <= self.limit:
            return np.empty(size, dtype)
        memory = self._take(nbytes)
        lease = _Lease(memory)
        weakref.finalize(lease, self._give_back, memory).atexit = False
        return np.asarray(lease)[:nbytes].view(dtype)

    def clear(self) -> None:
        """Give all waiting memory back to the system."""
        self._free.clear()

    def _take(self, nbytes: int) -> NDArray[np.uint8]:
        # Only single, atomic operations on the dictionary: the garbage collector may call _give_back at any point.
        fitting = [memory for memory in list(self._free.values()) if nbytes <= memory.nbytes <= 2 * nbytes]
        for memory in sorted(fitting, key=lambda memory: memory.nbytes):
            if self._free.pop(id(memory), None) is not None:
                return memory
        return np.empty(nbytes, np.uint8)

    def _give_back(self, memory: NDArray[np.uint8]) -> None:
        for key in list(self._free):
            if self.held + memory.nbytes <= self.limit:
                break
            self._free.pop(key, None)
        self._free[id(memory)] = memory


class _Lease:
    """What the arrays of one lease keep alive."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self.__array_interface__ = memory.__array_interface__


POOL = BufferPool()


def empty(size: int, dtype: Any, like: Array) -> Array:
    """An uninitialised array (size,) in the library of `like`; a large one on the host comes from the pool."""
    xp = namespace(like)
    return POOL.empty(size, dtype) if xp is np else xp.empty(size, dtype=dtype)


def multiply_into(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for matrices; `out` is a contiguous part of the result's buffer."""
    xp = namespace(out)
    if xp is not np or a.shape[1] > _THIN or out.nbytes < _TILED_FROM:
        xp.matmul(a, b, out=out)
        return
    (rows, cols), summands, (height, width) = out.shape, a.shape[1], _TILE
    down, across = rows // height, cols // width
    full_rows, full_cols = down * height, across * width
    if down and across:
        tall = a[:full_rows].reshape(down, 1, height, summands)
        wide = np.ascontiguousarray(b[:, :full_cols].reshape(summands, across, width).transpose(1, 0, 2))
        tiles = out[:full_rows, :full_cols].reshape(down, height, across, width).transpose(0, 2, 1, 3)
        np.matmul(tall, wide, out=tiles)
    if full_cols < cols:
        np.matmul(a[:full_rows], b[:, full_cols:], out=out[:full_rows, full_cols:])
    if full_rows < rows:
        np.matmul(a[full_rows:], b, out=out[full_rows:])
