"""What stays the same of the structures in flight while they are there, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.relaxation.held import Held, Symmetry
from etn_gpu.relaxation.layout import Layout
from etn_gpu.relaxation.symmetries import Symmetries
from etn_gpu.structures.admission import Admitted
from etn_gpu.structures.geometry import StructureArrays

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Composition:
    """S structures as they were given: ``start``; species [N] among those of the model; fixed [N, 3] components of
    atoms; spans [S, 3, 3], projectors on what the periodic vectors of a cell that is relaxed span; symmetries."""

    start: StructureArrays
    species: NDArray[np.int32]
    fixed: NDArray[np.bool_]
    spans: Array
    each: tuple[Symmetry | None, ...]

    @staticmethod
    def of(admitted: Admitted, held: Sequence[Held], *, relaxed: bool) -> Composition:
        """Structures that were admitted; ``relaxed``: whether their cells are."""
        geometry = admitted.geometry
        fixed = np.concatenate([np.empty((0, 3), np.bool_), *(one.fixed for one in held)])
        spans = spans_of(geometry.cells, geometry.pbc, relaxed=relaxed)
        return Composition(geometry, admitted.species_index, fixed, spans, tuple(one.symmetry for one in held))

    @cached_property
    def layout(self) -> Layout:
        """Sizes of the structures."""
        return Layout(np.diff(self.start.atom_offsets))

    @cached_property
    def symmetries(self) -> Symmetries:
        """Those of all structures."""
        return Symmetries.of(self.each)

    @cached_property
    def rows(self) -> Array:
        """Rows [M, 3] of the start."""
        rows = np.zeros((int(self.layout.row_offsets[-1]), 3))
        rows[self.layout.atom_rows] = self.start.positions
        return rows

    def joined(self, other: Composition) -> Composition:
        """These structures and the others after them."""
        a, b = self.start, other.start
        start = StructureArrays(
            np.concatenate((a.atom_offsets, b.atom_offsets[1:] + a.atom_offsets[-1])),
            np.concatenate((a.numbers, b.numbers)),
            np.concatenate((a.positions, b.positions)),
            np.concatenate((a.cells, b.cells)),
            np.concatenate((a.pbc, b.pbc)),
        )
        return Composition(
            start,
            np.concatenate((self.species, other.species)),
            np.concatenate((self.fixed, other.fixed)),
            np.concatenate((self.spans, other.spans)),
            (*self.each, *other.each),
        )

    def take(self, keep: NDArray[np.bool_]) -> Composition:
        """Some of the structures, ``keep`` [S]."""
        atoms = keep[self.layout.structure_of_atom]
        each = tuple(one for one, stays in zip(self.each, keep, strict=True) if stays)
        return Composition(self.start.select(keep), self.species[atoms], self.fixed[atoms], self.spans[keep], each)


def nobody() -> Composition:
    """No structures."""
    start = StructureArrays(
        np.zeros(1, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3, 3)), np.empty((0, 3), np.bool_)
    )
    return Composition(start, np.empty(0, np.int32), np.empty((0, 3), np.bool_), np.empty((0, 3, 3)), ())


def spans_of(cells: Array, pbc: NDArray[np.bool_], *, relaxed: bool) -> Array:
    """Projectors [S, 3, 3] on what the periodic vectors of cells span, zero where the cell is not ``relaxed``."""
    spans = np.zeros(cells.shape)
    if not relaxed:
        return spans
    spans[pbc.all(axis=1)] = np.eye(3)
    for s in np.flatnonzero(pbc.any(axis=1) & ~pbc.all(axis=1)):
        basis = np.linalg.qr(cells[s][pbc[s]].T).Q
        spans[s] = basis @ basis.T
    return spans
