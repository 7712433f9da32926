"""Full neighbour lists of many structures at once, with the edge that runs the other way.

The search itself is vesin's (one call per structure, half list, so that each pair is found once). Everything after it
is done for the whole batch with a few array operations: mirror the pairs, sort them, and read the reverse index off
the permutation, since edge k and edge k + E/2 are a pair before sorting.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.geometry import Geometry, frames

#: Below this many atoms vesin is told to stay on one thread: starting threads costs more than the search.
_SINGLE_THREAD_ATOMS = 2000
#: A structure wider than this many cutoffs is searched with its gaps closed.
_SPARSE_EXTENT = 20.0


@dataclass(frozen=True)
class HalfEdges:
    """Each pair inside the cutoff once, structure by structure.

    first, second [P]: atom indices inside their structure; shifts [P, 3] int32; vectors [P, 3] = r_second - r_first +
    shift . cell, in A; counts [S]: pairs per structure.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shifts: NDArray[np.int32]
    vectors: NDArray[np.float64]
    counts: NDArray[np.int64]

    def distances(self) -> NDArray[np.float64]:
        """Lengths of the vectors [P], in A."""
        return np.sqrt(np.einsum("px,px->p", self.vectors, self.vectors))

    def of_structures(self, keep: NDArray[np.bool_]) -> HalfEdges:
        """The pairs of the structures for which `keep` [S] is true."""
        if keep.all():
            return self
        pairs = np.repeat(keep, self.counts)
        return HalfEdges(
            self.first[pairs], self.second[pairs], self.shifts[pairs], self.vectors[pairs], self.counts[keep]
        )


def half_edges(geometry: Geometry, cutoff: float) -> HalfEdges:
    """Every pair closer than `cutoff` (A), images of an atom with itself included, each once.

    The geometry must have been validated: vesin is not asked to cope with NaN or singular cells. Any periodicity,
    cells smaller than the cutoff and atoms outside the cell are fine.
    """
    from vesin import NeighborList

    serial = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    threaded = NeighborList(cutoff=cutoff, full_list=False)
    sparse = _sparse(geometry, cutoff)
    pairs, shifts, vectors = [np.empty((0, 2), np.uint64)], [np.empty((0, 3), np.int32)], [np.empty((0, 3))]
    counts = np.empty(geometry.n_structures, dtype=np.int64)
    for s, (start, stop) in enumerate(itertools.pairwise(geometry.atom_offsets)):
        positions, cell, pbc = geometry.positions[start:stop], geometry.cells[s], geometry.pbc[s]
        points = _without_gaps(positions, cell, pbc, cutoff) if sparse[s] else positions
        search = serial if stop - start < _SINGLE_THREAD_ATOMS else threaded
        found, shift, vector = search.compute(points, cell, pbc, "PSD", copy=True)
        if sparse[s]:
            vector = positions[found[:, 1]] - positions[found[:, 0]] + shift @ cell
        pairs.append(found)
        shifts.append(shift)
        vectors.append(vector)
        counts[s] = len(found)
    both = np.concatenate(pairs).astype(np.int64)
    return HalfEdges(both[:, 0], both[:, 1], np.concatenate(shifts), np.concatenate(vectors), counts)


def _sparse(geometry: Geometry, cutoff: float) -> NDArray[np.bool_]:
    """The structures [S] that reach so far along a non-periodic direction that most of vesin's grid would be empty."""
    if geometry.pbc.all():
        return np.zeros(geometry.n_structures, dtype=bool)
    first = geometry.atom_offsets[:-1]
    extent = np.maximum.reduceat(geometry.positions, first) - np.minimum.reduceat(geometry.positions, first)
    return ~geometry.pbc.all(axis=1) & (extent.max(axis=1) > _SPARSE_EXTENT * cutoff)


def _without_gaps(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> NDArray[np.float64]:
    """Positions with the same pairs inside the cutoff but without wide gaps along the non-periodic directions.

    vesin bins the whole extent: an atom 10 micrometres off a slab takes a minute, one at 100 is a division by zero.
    Two parts more than the cutoff apart along one direction share no pair, however much further apart they are.
    """
    frame = frames(cell[None], pbc[None])[0]
    coordinates = positions @ np.linalg.inv(frame)
    for axis in np.flatnonzero(~pbc):
        order = np.argsort(coordinates[:, axis])
        steps = np.diff(coordinates[order, axis], prepend=coordinates[order[0], axis])
        coordinates[order, axis] = np.cumsum(np.minimum(steps, 1.01 * cutoff))
    return coordinates @ frame


@dataclass(frozen=True)
class Edges:
    """The full list, sorted by (centre, species of neighbour, neighbour, shift); see `StructureBatch`."""

    offsets: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    shifts: NDArray[np.int32]
    vectors: NDArray[np.float64]
    reverse: NDArray[np.int64]


def full_edges(half: HalfEdges, atom_offsets: NDArray[np.int64], species_index: NDArray[np.int32]) -> Edges:
    """Both directions of every pair, in the order that StructureBatch promises, with the reverse index."""
    n_atoms, n_half = int(atom_offsets[-1]), len(half.first)
    base = np.repeat(atom_offsets[:-1], half.counts)
    first, second = half.first + base, half.second + base

    centre = np.concatenate((first, second))
    shifts = np.concatenate((half.shifts, -half.shifts))
    neighbour = np.concatenate((second, first))
    order = sorted_order(centre, _species_rank(atom_offsets, species_index)[neighbour], shifts)

    place = np.empty(2 * n_half, dtype=np.int64)
    place[order] = np.arange(2 * n_half)
    reverse = place[np.where(order < n_half, order + n_half, order - n_half)]

    offsets = np.zeros(n_atoms + 1, dtype=np.int64)
    np.cumsum(np.bincount(centre, minlength=n_atoms), out=offsets[1:])
    vectors = np.concatenate((half.vectors, -half.vectors))
    return Edges(
        offsets=offsets,
        neighbour=neighbour.take(order),
        shifts=shifts.take(order, axis=0),
        vectors=vectors.take(order, axis=0),
        reverse=reverse,
    )


def _species_rank(atom_offsets: NDArray[np.int64], species_index: NDArray[np.int32]) -> NDArray[np.int64]:
    """The place of each atom [N] among the atoms of its structure, ordered by species and then by index."""
    sizes = np.diff(atom_offsets)
    by_species = np.lexsort((species_index, np.repeat(np.arange(len(sizes)), sizes)))
    rank = np.empty(len(species_index), dtype=np.int64)
    rank[by_species] = np.arange(len(species_index)) - np.repeat(atom_offsets[:-1], sizes)
    return rank


def sorted_order(centre: NDArray[np.int64], rank: NDArray[np.int64], shifts: NDArray[np.int32]) -> NDArray[np.int64]:
    """The permutation that sorts edges by (centre, rank, shift), all three packed into one integer where they fit.

    A key that also holds the edge's own index in its low bits is sorted by value, five times faster than an argsort;
    no two edges have the same key, so every branch gives the same permutation.
    """
    n_edges = len(centre)
    if n_edges == 0:
        return np.empty(0, dtype=np.int64)
    columns = [centre, rank]
    widths = [int(centre.max()).bit_length(), int(rank.max()).bit_length()]
    for axis in range(3):
        column = shifts[:, axis].astype(np.int64)
        column -= column.min()
        if width := int(column.max()).bit_length():
            columns.append(column)
            widths.append(width)
    if sum(widths) > 63:
        return np.lexsort(columns[::-1])
    key = columns[0].copy()
    for column, width in zip(columns[1:], widths[1:], strict=True):
        key <<= width
        key |= column
    index_width = (n_edges - 1).bit_length()
    if sum(widths) + index_width > 63:
        return np.argsort(key)
    key <<= index_width
    key |= np.arange(n_edges)
    key.sort()
    key &= (1 << index_width) - 1
    return key


def edge_vectors(
    positions: NDArray[np.float64],
    cells: NDArray[np.float64],
    structure_of_atom: NDArray[np.int64],
    centre: NDArray[np.int64],
    neighbour: NDArray[np.int64],
    shifts: NDArray[np.int32],
) -> NDArray[np.float64]:
    """r_neighbour - r_centre + shift . cell for each edge [E, 3], in A; exactly opposite for opposite edges."""
    vectors = positions.take(neighbour, axis=0) - positions.take(centre, axis=0)
    across = np.flatnonzero(shifts[:, 0] | shifts[:, 1] | shifts[:, 2])
    cell_of_edge = cells.take(structure_of_atom.take(centre.take(across)), axis=0)
    vectors[across] += np.einsum("ek,ekx->ex", shifts.take(across, axis=0).astype(np.float64), cell_of_edge)
    return vectors
