"""What passes of a Program hear of each other: values of neighbours on edges, and sums over reverse edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.edge_sums import CHUNK
from etn_gpu.backend.cpu.loops import compiled, take
from etn_gpu.backend.cpu.threads import share, workers

Array = NDArray[np.floating]
Integers = NDArray[np.integer]


def gather(values: Array, neighbour: Integers, out: Array, threads: int | None = None) -> None:
    """Into ``out`` [E, n] the values [N, n] of the atoms that edges lead to; neighbour [E]."""
    share(_gather, _workers(threads, len(neighbour)), CHUNK, values, neighbour, out)


def sum_reverse(
    values: Array, reverse: Integers, edge_offsets: Integers, out: Array, threads: int | None = None
) -> None:
    """Into ``out`` [N, n] the sums of values [E, n] over the edges that lead to each atom; reverse [E].

    Sums run in float64, in the order of the atom's own edges: they do not depend on the threads.
    """
    share(_sum_reverse, _workers(threads, len(out)), CHUNK, values, reverse, edge_offsets, out)


def _workers(threads: int | None, rows: int) -> int:
    return workers(threads, (rows + CHUNK - 1) // CHUNK)


@compiled
def _gather(counter: Any, worker: int, size: int, values: Any, neighbour: Any, out: Any) -> None:
    n = len(neighbour)
    first = take(counter) * size
    while first < n:
        for e in range(first, min(n, first + size)):
            j = neighbour[e]
            for k in range(values.shape[1]):
                out[e, k] = values[j, k]
        first = take(counter) * size


@compiled
def _sum_reverse(counter: Any, worker: int, size: int, values: Any, reverse: Any, edge_offsets: Any, out: Any) -> None:
    n = len(edge_offsets) - 1
    total = np.empty(values.shape[1])
    first = take(counter) * size
    while first < n:
        for i in range(first, min(n, first + size)):
            total[:] = 0.0
            for e in range(edge_offsets[i], edge_offsets[i + 1]):
                r = reverse[e]
                for k in range(len(total)):
                    total[k] += np.float64(values[r, k])
            for k in range(len(total)):
                out[i, k] = total[k]
        first = take(counter) * size
