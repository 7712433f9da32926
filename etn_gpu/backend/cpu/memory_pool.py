"""Memory for what passes of a Program leave to each other, kept from one evaluation to the next.

Fresh memory of some megabytes comes page by page from the system, which can take as long as computing what goes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from threading import local
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Bytes that a thread keeps at most; of a larger evaluation, nothing is kept.
MOST_BYTES = 256_000_000
#: Room for so much more than is asked for: the number of edges changes from step to step.
SPARE = 1.25


class Memory:
    """Arrays of one evaluation."""

    def __init__(self, free: list[NDArray[np.uint8]]) -> None:
        self._free = free
        self.taken: list[NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """An array that is valid until the evaluation ends; what is in it is left from an earlier one."""
        size = prod(shape) * np.dtype(dtype).itemsize
        fitting = [k for k, buffer in enumerate(self._free) if buffer.nbytes >= size]
        if fitting:
            buffer = self._free.pop(min(fitting, key=lambda k: self._free[k].nbytes))
        else:
            buffer = np.empty(int(SPARE * size), np.uint8)
        self.taken.append(buffer)
        return buffer[:size].view(dtype).reshape(shape)


_of_thread = local()


@contextmanager
def memory() -> Iterator[Memory]:
    """Memory for one evaluation in this thread."""
    free: list[NDArray[np.uint8]] = _of_thread.__dict__.setdefault("free", [])
    found = Memory(free)
    try:
        yield found
    finally:
        free += found.taken
        if sum(buffer.nbytes for buffer in free) > MOST_BYTES:
            free.clear()
