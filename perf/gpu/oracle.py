"""What the kernels must give, in NumPy, written to be read: neighbour lists by trying all images, sums over edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gpu.crystals import Array, Structures
from numpy.typing import NDArray

from etn_gpu.backend import Geometry


@dataclass(frozen=True)
class Edges:
    """A neighbour list in the order of :class:`etn_gpu.backend.cuda.neighbours.DeviceEdges`, with the same fields."""

    offsets: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    species: NDArray[np.int32]
    shifts: NDArray[np.int32]
    reverse: NDArray[np.int64]
    vectors: Array
    nearest: Array

    @property
    def centre(self) -> NDArray[np.int64]:
        """The atom [E] that each edge starts from."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def geometry(self, structures: Structures) -> Geometry:
        """What a Program must know of the batch."""
        return Geometry(self.offsets, structures.species, self.species, self.neighbour, self.reverse)


def neighbour_list(structures: Structures, cutoff: float) -> Edges:
    """All edges shorter than ``cutoff`` (A): every atom with every image of every atom that could be within reach."""
    found = [_edges_of(structures, s, cutoff) for s in range(structures.n_structures)]
    centre, neighbour = (np.concatenate([f[k] for f in found]) for k in (0, 1))
    shifts, vectors = np.concatenate([f[2] for f in found]), np.concatenate([f[3] for f in found])
    species = structures.species[neighbour]
    order = np.lexsort((*shifts.T[::-1], neighbour, species, centre))
    centre, neighbour, species = centre[order], neighbour[order], species[order]
    shifts, vectors = shifts[order], vectors[order]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(centre, minlength=structures.n_atoms))))
    nearest = np.full(structures.n_atoms, np.inf)
    np.minimum.at(nearest, centre, _squares(vectors))
    return Edges(
        offsets.astype(np.int64), neighbour, species, shifts, _reverse(centre, neighbour, shifts), vectors, nearest
    )


def _edges_of(structures: Structures, s: int, cutoff: float) -> tuple[NDArray[np.int64], ...]:
    """Centre, neighbour, shifts and vectors of the edges of one structure, in no particular order."""
    first, end = structures.atom_offsets[s : s + 2]
    positions, cell, pbc = structures.positions[first:end], structures.cells[s], structures.pbc[s]
    reach = np.zeros(3, np.int64)
    if pbc.any():
        dual = np.linalg.pinv(cell[pbc])
        coordinates = positions @ dual
        # Images of the cell that the cutoff spans, and those that atoms outside of the cell are away.
        spanned = cutoff * np.linalg.norm(dual, axis=0) + np.ptp(coordinates, axis=0)
        reach[pbc] = np.ceil(spanned).astype(np.int64)
    images = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    n = images.astype(np.float64)
    translations = (n[:, :1] * cell[0] + n[:, 1:2] * cell[1]) + n[:, 2:] * cell[2]
    vectors = (positions[None, :] - positions[:, None])[:, :, None] + translations
    squares = _squares(vectors)
    own = np.eye(end - first, dtype=bool)[:, :, None] & ~images.any(axis=1)
    centre, neighbour, image = np.nonzero((squares < cutoff * cutoff) & ~own)
    return centre + first, neighbour + first, images[image].astype(np.int32), vectors[centre, neighbour, image]


def _squares(vectors: Array) -> Array:
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.asarray((x * x + y * y) + z * z)


def _reverse(centre: NDArray[np.int64], neighbour: NDArray[np.int64], shifts: NDArray[np.int32]) -> NDArray[np.int64]:
    """The edge that runs the other way: sorted alike, edges and turned edges are the same list."""
    reverse = np.empty(len(centre), np.int64)
    reverse[np.lexsort((*-shifts.T, centre, neighbour))] = np.lexsort((*shifts.T, neighbour, centre))
    return reverse


def forces_and_virials(edges: Edges, gradient: NDArray[np.floating]) -> tuple[Array, Array]:
    """Forces [N, 3] and virials [N, 6] (xx, yy, zz, yz, xz, xy) from the gradient [E, 3] of the energy in the edges."""
    g, n_atoms = gradient.astype(np.float64), len(edges.offsets) - 1
    forces, virials = np.zeros((n_atoms, 3)), np.zeros((n_atoms, 6))
    np.add.at(forces, edges.centre, g - g[edges.reverse])
    outer = edges.vectors[:, :, None] * g[:, None, :]
    symmetric = 0.5 * (outer + outer.swapaxes(1, 2))
    voigt = symmetric[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.add.at(virials, edges.centre, voigt)
    return forces, virials


def segment_sums(values: NDArray[np.floating], offsets: NDArray[np.int64]) -> Array:
    """Sums of the rows of each segment in float64; 0 for empty ones."""
    sums = np.zeros((len(offsets) - 1, *values.shape[1:]))
    np.add.at(sums, _owners(offsets), values.astype(np.float64))
    return sums


def segment_minima(values: Array, offsets: NDArray[np.int64]) -> Array:
    """The least of the numbers of each segment; inf for empty ones."""
    least = np.full(len(offsets) - 1, np.inf)
    np.minimum.at(least, _owners(offsets), values)
    return least


def margins(structures: Structures, edges: Edges, limits: Array) -> Array:
    """The least distance [N] of each atom's edges beyond the limit [n_species, n_species] of their pair of species."""
    beyond = np.sqrt(_squares(edges.vectors)) - limits[structures.species[edges.centre], edges.species]
    least = np.full(structures.n_atoms, np.inf)
    np.minimum.at(least, edges.centre, beyond)
    return least


def _owners(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
