"""Positions, cells and elements of many structures in flat arrays, and what follows from those alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms


@dataclass(frozen=True)
class StructureArrays:
    """S structures with N atoms in all.

    atom_offsets [S+1]; numbers [N] atomic numbers; positions [N, 3] in A; cells [S, 3, 3] with one vector per row, in
    A; pbc [S, 3].
    """

    atom_offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]
    pbc: NDArray[np.bool_]

    @staticmethod
    def gather(structures: Sequence[Atoms]) -> StructureArrays:
        """The arrays of the structures, copied."""
        n_structures = len(structures)
        offsets = np.zeros(n_structures + 1, dtype=np.int64)
        offsets[1:] = np.cumsum([len(atoms) for atoms in structures])
        if not n_structures:
            return StructureArrays(
                offsets, np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3, 3)), np.empty((0, 3), bool)
            )
        numbers = _joined([atoms.arrays["numbers"] for atoms in structures], np.int64)
        positions = _joined([atoms.arrays["positions"] for atoms in structures], np.float64)
        cells = _joined([atoms.cell.array for atoms in structures], np.float64).reshape(-1, 3, 3)
        pbc = _joined([atoms.pbc for atoms in structures], np.bool_).reshape(-1, 3)
        return StructureArrays(offsets, numbers, positions, cells, pbc)

    @property
    def n_structures(self) -> int:
        """The number of structures S."""
        return len(self.cells)

    @cached_property
    def structure_of_atom(self) -> NDArray[np.int64]:
        """The structure [N] that each atom belongs to."""
        return np.repeat(np.arange(self.n_structures), self.atom_offsets[1:] - self.atom_offsets[:-1])

    @cached_property
    def basis(self) -> NDArray[np.float64]:
        """A basis [S, 3, 3] for each structure, one vector a row; see :func:`frames`."""
        return frames(self.cells, self.pbc)

    @cached_property
    def _inverses(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from etn_gpu.structures.lattice import inverses

        to_basis, heights = np.empty_like(self.cells), np.empty((self.n_structures, 3))
        inverses(self.basis, to_basis, heights)
        return to_basis, heights

    @property
    def to_basis(self) -> NDArray[np.float64]:
        """The inverses [S, 3, 3]: ``r @ to_basis`` are coordinates of r. The cells must not be singular."""
        return self._inverses[0]

    @property
    def heights(self) -> NDArray[np.float64]:
        """Distances [S, 3] in A between the planes of the basis; 1 along directions that are not periodic."""
        return self._inverses[1]

    def coordinates(self) -> NDArray[np.float64]:
        """Positions [N, 3] in the basis: fractional along the periodic vectors, in A along the others."""
        from etn_gpu.structures.lattice import coordinates

        found = np.empty_like(self.positions)
        coordinates(self.positions, self.atom_offsets, self.to_basis, found)
        return found

    def select(self, keep: NDArray[np.bool_]) -> StructureArrays:
        """The structures for which `keep` [S] is true."""
        if keep.all():
            return self
        sizes = np.diff(self.atom_offsets)
        atoms = np.repeat(keep, sizes)
        offsets = np.concatenate(([0], np.cumsum(sizes[keep])))
        return StructureArrays(offsets, self.numbers[atoms], self.positions[atoms], self.cells[keep], self.pbc[keep])

    def images(self, cutoff: float) -> NDArray[np.float64]:
        """How many images of the cell of each structure come within reach [S], about."""
        reached: NDArray[np.float64] = np.where(self.pbc, 2.0 * cutoff / self.heights + 1.0, 1.0).prod(axis=1)
        return reached

    def most_neighbours(self, cutoff: float) -> NDArray[np.float64]:
        """More neighbours than this an atom of each structure cannot have [S]: all atoms in all images within reach."""
        return np.diff(self.atom_offsets) * self.images(cutoff)

    def estimate_edges(self, cutoff: float) -> NDArray[np.float64]:
        """Roughly how many edges a full neighbour list of each structure would hold [S], without building it.

        The density is taken in bins about as wide as the cutoff, so vacuum does not dilute it. Usually within a factor
        of two. The structures must have atoms, finite positions and independent cell vectors.
        """
        of_atom = self.structure_of_atom
        sizes = np.diff(self.atom_offsets)
        coordinates = self.coordinates()

        bins_per_vector = np.where(self.pbc, np.maximum(np.floor(self.heights / cutoff), 1.0), 1.0 / cutoff)
        periodic = self.pbc[of_atom]
        scale = bins_per_vector[of_atom]
        bins = np.floor((coordinates - np.floor(coordinates) * periodic) * scale).astype(np.int64)
        # a hash of (structure, bin): a rare collision only shifts an estimate
        key = ((of_atom * 73856093 + bins[:, 0]) * 19349663 + bins[:, 1]) * 83492791 + bins[:, 2]
        _, bin_of_atom, occupation = np.unique(key, return_inverse=True, return_counts=True)
        squares = np.bincount(of_atom, weights=occupation[bin_of_atom], minlength=self.n_structures)

        bin_volume = np.abs(np.linalg.det(self.basis)) / bins_per_vector.prod(axis=1)
        estimate = squares * (4.0 / 3.0 * np.pi * cutoff**3) / bin_volume
        isolated = ~self.pbc.any(axis=1)
        return np.where(isolated, np.minimum(estimate, sizes * (sizes - 1.0)), estimate)


def _joined(arrays: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(arrays, dtype=dtype, casting="unsafe")


def frames(cells: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cells [S, 3, 3] with every non-periodic vector replaced by a unit vector normal to all the others.

    A basis for any periodicity: fractional coordinates along the periodic vectors, Angstrom along the normals.
    """
    if pbc.all():
        return cells
    periodic_first = np.argsort(~pbc, axis=1, kind="stable")[:, :, None]
    ordered = np.take_along_axis(np.where(pbc[:, :, None], cells, 0.0), periodic_first, axis=1)
    orthonormal = np.linalg.qr(ordered.swapaxes(1, 2)).Q.swapaxes(1, 2)
    normals = np.empty_like(cells)
    np.put_along_axis(normals, periodic_first, orthonormal, axis=1)
    return np.where(pbc[:, :, None], cells, normals)


def cell_volumes(cells: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Volumes [S] of cells [S, 3, 3] in A^3, nan where pbc [S, 3] is not set in all three directions."""
    from etn_gpu.structures.lattice import volumes

    found = np.empty(len(cells))
    volumes(cells, pbc, found)
    return found
