"""The symmetries of the structures in flight, and rows made symmetric.

Rows of atoms are vectors and rows of a cell a tensor, both in the undeformed cell, on which the operations act as they
did when they were found. Steps along symmetric rows keep a structure symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.relaxation.held import Symmetry
from etn_gpu.relaxation.layout import Layout

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Symmetries:
    """Of T structures with symmetry, ``structures`` [T] ascending.

    Rotations of all of them, [O, 3, 3], those of structure t from ``rotation_offsets`` [T+1] on; for each of its atoms
    in turn the ``sources`` [P] that its operations bring there, indices into its own atoms, from ``source_offsets``
    [T+1] on.
    """

    structures: Indices
    rotations: Array
    rotation_offsets: Indices
    sources: Indices
    source_offsets: Indices

    @staticmethod
    def of(each: Sequence[Symmetry | None]) -> Symmetries:
        """The symmetries of the structures in flight, None for those without."""
        structures = [s for s, one in enumerate(each) if one is not None]
        found = [one for one in each if one is not None]
        return Symmetries(
            np.array(structures, np.int64),
            np.concatenate([np.empty((0, 3, 3)), *(one.rotations for one in found)]),
            _offsets([len(one.rotations) for one in found]),
            np.concatenate([np.empty(0, np.int64), *(one.sources.ravel() for one in found)]),
            _offsets([one.sources.size for one in found]),
        )

    def apply(self, rows: Array, layout: Layout) -> None:
        """Make rows [M, 3] symmetric, in place."""
        if len(self.structures) == 0:
            return
        orders = np.diff(self.rotation_offsets)
        sizes = layout.sizes[self.structures]
        first = layout.row_offsets[self.structures]
        # one entry for each pair of a target atom and an operation, targets one after the other
        of_pair = np.repeat(np.arange(len(self.structures)), sizes * orders)
        operation = np.arange(len(of_pair)) - np.repeat(self.source_offsets[:-1], sizes * orders)
        operation = operation % orders[of_pair] + self.rotation_offsets[of_pair]
        moved = np.einsum("pij,pj->pi", self.rotations[operation], rows[first[of_pair] + self.sources])
        of_target = np.repeat(np.arange(len(self.structures)), sizes)
        begins = np.concatenate(([0], np.cumsum(orders[of_target])))[:-1]
        targets = first[of_target] + np.arange(len(of_target)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        cells = rows[layout.cell_rows[self.structures]]
        of_operation = np.repeat(np.arange(len(self.structures)), orders)
        turned = self.rotations.swapaxes(1, 2) @ cells[of_operation] @ self.rotations
        rows[targets] = np.add.reduceat(moved, begins, axis=0) / orders[of_target][:, None]
        means = np.add.reduceat(turned, self.rotation_offsets[:-1], axis=0) / orders[:, None, None]
        rows[layout.cell_rows[self.structures]] = means


def _offsets(sizes: Sequence[int]) -> Indices:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
