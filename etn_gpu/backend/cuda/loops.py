"""Lists of addresses as loops: what a task runs over is enumerated first, then written as a base and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Nest:
    """``base`` + i * ``outer`` + j * ``inner`` for i < counts[0], j < counts[1], j fastest."""

    base: Numbers
    counts: tuple[int, int]
    outer: Numbers
    inner: Numbers

    @property
    def length(self) -> int:
        """Number of rows."""
        return self.counts[0] * self.counts[1]

    def halves(self) -> tuple[Nest, Nest]:
        """The first and the second half of the rows, cut where a loop can be cut; ``length`` must be above 1."""
        n_outer, n_inner = self.counts
        if n_outer > 1:
            first = n_outer // 2
            cut, left, right = self.outer, (first, n_inner), (n_outer - first, n_inner)
        else:
            first = n_inner // 2
            cut, left, right = self.inner, (1, first), (1, n_inner - first)
        moved = tuple(b + first * step for b, step in zip(self.base, cut, strict=True))
        return Nest(self.base, left, self.outer, self.inner), Nest(moved, right, self.outer, self.inner)


def nests(rows: Sequence[Numbers]) -> list[Nest]:
    """Loops that run through ``rows``, integers of one length, in their order."""
    if not rows:
        return []
    found = []
    inner = list(_runs(np.asarray(rows, np.int64).reshape(len(rows), -1)))
    for shape in _equal(inner):
        bases = np.array([base for base, _, _ in shape], np.int64).reshape(len(shape), -1)
        for base, n_outer, step in _runs(bases):
            _, n_inner, fast = shape[0]
            found.append(Nest(base, (n_outer, n_inner), step, fast))
    return found


def _runs(rows: np.ndarray) -> list[tuple[Numbers, int, Numbers]]:
    """(first row, count, step) of stretches of rows at a constant distance."""
    found = []
    start = 0
    while start < len(rows):
        stop = start + 1
        step = np.zeros(rows.shape[1], np.int64)
        if stop < len(rows):
            step = rows[stop] - rows[start]
            while stop < len(rows) and np.array_equal(rows[stop] - rows[stop - 1], step):
                stop += 1
        found.append((tuple(rows[start].tolist()), stop - start, tuple(step.tolist())))
        start = stop
    return found


def _equal(runs: list[tuple[Numbers, int, Numbers]]) -> list[list[tuple[Numbers, int, Numbers]]]:
    """Neighbouring runs of one count and step together."""
    groups: list[list[tuple[Numbers, int, Numbers]]] = []
    for run in runs:
        if groups and groups[-1][0][1:] == run[1:]:
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups
