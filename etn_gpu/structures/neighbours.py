"""Full neighbour lists of many structures at once: ordered edges, the edge that runs the other way, edge vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled
from etn_gpu.errors import StructureError
from etn_gpu.structures.cell_list import half_pairs
from etn_gpu.structures.geometry import StructureArrays

#: The two edges of a pair are numbered inside their structure in 32 bits, for the sake of memory traffic.
_MOST_PAIRS = 2**30
#: Pairs are searched up to this much more than the cutoff: round-off of the search decides about none.
_MARGIN = 1.0 + 1e-9


@dataclass(frozen=True)
class Edges:
    """The full list, sorted by (centre, species of neighbour, neighbour, shift); see `StructureBatch`."""

    offsets: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    shifts: NDArray[np.int32]
    reverse: NDArray[np.int64]
    vectors: NDArray[np.float64]
    shortest: NDArray[np.float64]


def neighbour_list(
    geometry: StructureArrays, species_index: NDArray[np.int32], cutoff: float, most_edges: int | None = None
) -> Edges:
    """All edges shorter than `cutoff` (A) of a geometry that has been validated; species_index [N].

    The edge vectors decide, so a longer list with these edges left out of it, as that of a calculator, is the same.

    Raises:
        CrowdedError: several structures have together more than `most_edges`.
        StructureError: a structure with more than 2^30 pairs of neighbours.
    """
    half = half_pairs(geometry, cutoff * _MARGIN, None if most_edges is None else most_edges // 2)
    if len(half.first) > _MOST_PAIRS and half.counts.max() > _MOST_PAIRS:
        raise StructureError(
            f"a structure has {half.counts.max()} pairs of neighbours inside {cutoff:g} A: expected at most "
            f"{_MOST_PAIRS}. Cut it into parts."
        )
    n_edges = 2 * len(half.first)
    offsets = np.empty(len(species_index) + 1, dtype=np.int64)
    neighbour, reverse = np.empty(n_edges, dtype=np.int64), np.empty(n_edges, dtype=np.int64)
    shifts = np.empty((n_edges, 3), dtype=np.int32)
    _fill(
        half.first, half.second, half.shifts, half.counts, half.runs, half.as_first, half.as_second,
        geometry.atom_offsets, species_index, offsets, neighbour, shifts, reverse,
    )  # fmt: skip
    del half
    vectors, shortest, beyond = edge_vectors(
        geometry.positions, geometry.cells, geometry.atom_offsets, offsets, neighbour, shifts, cutoff
    )
    if beyond:
        offsets, neighbour, shifts, reverse, vectors, shortest = shorter_edges(
            offsets, neighbour, shifts, reverse, vectors, shortest, cutoff
        )
    return Edges(offsets, neighbour, shifts, reverse, vectors, shortest)


def edge_vectors(
    positions: NDArray[np.float64],
    cells: NDArray[np.float64],
    atom_offsets: NDArray[np.int64],
    edge_offsets: NDArray[np.int64],
    neighbour: NDArray[np.int64],
    shifts: NDArray[np.int32],
    cutoff: float = np.inf,
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """r_neighbour - r_centre + shift . cell for each edge [E, 3], in A, exactly opposite for opposite edges; the length
    of the shortest edge of each structure [S], inf where there is none; how many edges are not inside `cutoff` (A)."""
    vectors, shortest = np.empty((len(neighbour), 3)), np.empty(len(cells))
    limit = cutoff * cutoff
    beyond = _vectors(positions, cells, atom_offsets, edge_offsets, neighbour, shifts, limit, vectors, shortest)
    return vectors, shortest, beyond


@compiled
def shorter_edges(
    offsets: Any, neighbour: Any, shifts: Any, reverse: Any, vectors: Any, shortest: Any, cutoff: float
) -> Any:
    """The same six arrays for the edges shorter than `cutoff` (A) only; opposite edges are as long."""
    new_offsets = np.zeros_like(offsets)
    place = np.empty(len(neighbour), np.int64)
    kept = 0
    for i in range(len(offsets) - 1):
        for e in range(offsets[i], offsets[i + 1]):
            place[e] = kept
            kept += vectors[e, 0] ** 2 + vectors[e, 1] ** 2 + vectors[e, 2] ** 2 < cutoff * cutoff
        new_offsets[i + 1] = kept
    new_neighbour, new_reverse = np.empty(kept, np.int64), np.empty(kept, np.int64)
    new_shifts, new_vectors = np.empty((kept, 3), np.int32), np.empty((kept, 3))
    for e in range(len(neighbour)):
        n = place[e]
        if n < (place[e + 1] if e + 1 < len(neighbour) else kept):
            new_neighbour[n] = neighbour[e]
            new_reverse[n] = place[reverse[e]]
            for k in range(3):
                new_shifts[n, k] = shifts[e, k]
                new_vectors[n, k] = vectors[e, k]
    new_shortest = np.empty_like(shortest)
    for s in range(len(shortest)):
        new_shortest[s] = shortest[s] if shortest[s] < cutoff else np.inf
    return new_offsets, new_neighbour, new_shifts, new_reverse, new_vectors, new_shortest


@compiled
def mark_closer(
    atom_offsets: Any, edge_offsets: Any, species_index: Any, neighbour: Any, vectors: Any, limits: Any, result: Any
) -> None:
    """Set result [S], where it is true, to whether an edge is shorter than limits [n_species, n_species] in A."""
    for s in range(len(result)):
        if result[s]:
            result[s] = False
            for i in range(atom_offsets[s], atom_offsets[s + 1]):
                row = limits[species_index[i]]
                for e in range(edge_offsets[i], edge_offsets[i + 1]):
                    limit = row[species_index[neighbour[e]]]
                    square = vectors[e, 0] ** 2 + vectors[e, 1] ** 2 + vectors[e, 2] ** 2
                    result[s] |= np.sqrt(square) < limit
                if result[s]:
                    break


@compiled
def _fill(
    first: Any, second: Any, pair_shifts: Any, counts: Any, runs: Any, as_first: Any, as_second: Any,
    atom_offsets: Any, species: Any, offsets: Any, neighbour: Any, shifts: Any, reverse: Any,
) -> None:  # fmt: skip
    """Give the two edges 2 p and 2 p + 1 of each pair p, from its first atom and back, their places in the list.

    Transposing a list sorts it: when atoms are visited in some order and each sends its mirror edges to the rows of its
    neighbours, every row ends up in that order of the neighbours. Mirroring also turns the order of the images round,
    hence the descending run.
    """
    n_species = 0
    offsets[0] = 0
    for i in range(len(species)):
        n_species = max(n_species, species[i] + 1)
        offsets[i + 1] = offsets[i] + as_first[i] + as_second[i]
    most_pairs = most_atoms = 0
    for s in range(len(counts)):
        most_pairs = max(most_pairs, counts[s])
        most_atoms = max(most_atoms, atom_offsets[s + 1] - atom_offsets[s])
    places, mirrored = np.empty(2 * most_pairs, np.int32), np.empty(most_pairs, np.int32)
    ends, cursor = np.empty(most_atoms, np.int64), np.empty(most_atoms, np.int64)
    before = 0
    for s in range(len(counts)):
        begin, end, pairs = atom_offsets[s], atom_offsets[s + 1], counts[s]
        a, b = first[before : before + pairs], second[before : before + pairs]
        base = 2 * before
        # the pairs that an atom is the second of
        filled = 0
        for i in range(begin, end):
            ends[i - begin] = filled
            filled += as_second[i]
            cursor[i - begin] = offsets[i] - base
        for p in range(pairs):
            mirrored[ends[b[p] - begin]] = p
            ends[b[p] - begin] += 1
        for z in range(n_species):
            for i in range(begin, end):
                if species[i] == z:
                    run = runs[i] - before
                    for p in range(run + as_first[i] - 1, run - 1, -1):
                        j = b[p] - begin
                        places[2 * p + 1] = cursor[j]
                        cursor[j] += 1
                    for k in range(ends[i - begin] - as_second[i], ends[i - begin]):
                        p = mirrored[k]
                        j = a[p] - begin
                        places[2 * p] = cursor[j]
                        cursor[j] += 1
        for p in range(pairs):
            forward, backward = base + places[2 * p], base + places[2 * p + 1]
            neighbour[forward], neighbour[backward] = b[p], a[p]
            reverse[forward], reverse[backward] = backward, forward
            for k in range(3):
                shifts[forward, k] = pair_shifts[before + p, k]
                shifts[backward, k] = -pair_shifts[before + p, k]
        before += pairs


@compiled
def _vectors(
    positions: Any, cells: Any, atom_offsets: Any, offsets: Any, neighbour: Any, shifts: Any, limit: float,
    vectors: Any, shortest: Any,
) -> int:  # fmt: skip
    beyond = 0  # counting is cheaper than the longest edge
    for s in range(len(cells)):
        cell, least = cells[s], np.inf
        for i in range(atom_offsets[s], atom_offsets[s + 1]):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            for e in range(offsets[i], offsets[i + 1]):
                j = neighbour[e]
                n0, n1, n2 = shifts[e, 0], shifts[e, 1], shifts[e, 2]
                dx = positions[j, 0] - x + (n0 * cell[0, 0] + n1 * cell[1, 0] + n2 * cell[2, 0])
                dy = positions[j, 1] - y + (n0 * cell[0, 1] + n1 * cell[1, 1] + n2 * cell[2, 1])
                dz = positions[j, 2] - z + (n0 * cell[0, 2] + n1 * cell[1, 2] + n2 * cell[2, 2])
                vectors[e, 0], vectors[e, 1], vectors[e, 2] = dx, dy, dz
                square = dx * dx + dy * dy + dz * dz
                least = min(least, square)
                beyond += square >= limit
        shortest[s] = np.sqrt(least)
    return beyond
