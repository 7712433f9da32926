"""The neighbour search: every pair of a batch of structures inside a cutoff, once, by linked cells.

Each structure is cut along its own cell vectors: along the first two into columns at least a cutoff wide where the cell
allows it, and along the third each column into finer bins. Where the cell is smaller than the cutoff the same columns
and bins are met again as periodic images. So one search does for cells of any shape and size, a primitive cell
included, and for any periodicity; directions that are not periodic are cut along unit vectors normal to all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled
from etn_gpu.structures.crowded import CrowdedError
from etn_gpu.structures.geometry import StructureArrays

#: Bins and shifts are chosen for this much more than the cutoff, so that round-off cannot lose a pair.
_MARGIN = 1.0 + 1e-6
#: A structure wider than this many cutoffs along a direction that is not periodic is searched with its gaps closed.
_SPARSE_EXTENT = 20.0
#: Bins to a cutoff along each vector; along the third they are only there to find runs of atoms.
_FINENESS = np.array([1.0, 1.0, 4.0])
#: A gas has no more bins than this many for each atom, and these besides.
_BINS_PER_ATOM, _MORE_BINS = 4, 64


@dataclass(frozen=True)
class HalfPairs:
    """Each pair inside the cutoff once, structure by structure and, inside a structure, first atom by first atom.

    first, second [P]: atom indices in the batch; shifts [P, 3]: cell shift of the second atom's image; counts [S]:
    pairs of each structure; runs [N]: where the pairs begin in which an atom is the first; as_first and as_second [N]:
    how many pairs an atom is the first or the second of. Of the pairs of two atoms, those with the same one first come
    in ascending order of their shifts, and these are above the negatives of the shifts with the other one first.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    shifts: NDArray[np.int32]
    counts: NDArray[np.int64]
    runs: NDArray[np.int64]
    as_first: NDArray[np.int64]
    as_second: NDArray[np.int64]


def half_pairs(geometry: StructureArrays, cutoff: float, most: int | None = None) -> HalfPairs:
    """Every pair closer than `cutoff` (A), images of an atom with itself included, each once.

    The geometry must have been validated: NaN, singular cells and structures without atoms are not expected.

    Raises:
        CrowdedError: several structures have together more than `most` pairs.
    """
    counts = np.zeros(geometry.n_structures, dtype=np.int64)
    runs, as_first, as_second = (np.zeros(len(geometry.positions), dtype=np.int64) for _ in range(3))
    if geometry.n_structures == 0:
        return HalfPairs(*_empty_pairs(0), counts, runs, as_first, as_second)
    coordinates = geometry.coordinates()
    _close_gaps(coordinates, geometry, cutoff)
    basis = geometry.basis
    origin, scale, bins, width, span, most_bins, density = _grid(
        coordinates, geometry.atom_offsets, geometry.pbc, basis, geometry.heights, cutoff
    )
    starts = np.empty(most_bins + 1, dtype=np.int64)
    capacity = _expected_pairs(density, cutoff)
    if most is not None and geometry.n_structures > 1:
        capacity = min(capacity, most)
    while True:
        first, second, shifts = _empty_pairs(capacity)
        found = _search(
            coordinates, geometry.atom_offsets, geometry.pbc, basis, origin, scale, bins, width, span, cutoff,
            starts, first, second, shifts, counts, runs, as_first, as_second,
        )  # fmt: skip
        if found <= capacity:
            return HalfPairs(first[:found], second[:found], shifts[:found], counts, runs, as_first, as_second)
        if most is not None and found > most and geometry.n_structures > 1:
            raise CrowdedError(2 * counts)
        capacity = int(found)


def _empty_pairs(count: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    return np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32), np.empty((count, 3), dtype=np.int32)


def _close_gaps(coordinates: NDArray[np.float64], geometry: StructureArrays, cutoff: float) -> None:
    """Narrow wide gaps along the non-periodic directions of sparse structures; `coordinates` [N, 3] is changed.

    The bins of a slab with an atom that has left by 10 micrometres would be as coarse. Two parts more than the cutoff
    apart along one direction share no pair, however much further apart they are.
    """
    if geometry.pbc.all():
        return
    first = geometry.atom_offsets[:-1]
    extent = np.maximum.reduceat(coordinates, first) - np.minimum.reduceat(coordinates, first)
    for s, axis in np.argwhere(~geometry.pbc & (extent > _SPARSE_EXTENT * cutoff)):
        column = coordinates[geometry.atom_offsets[s] : geometry.atom_offsets[s + 1], axis]
        order = np.argsort(column)
        steps = np.diff(column[order], prepend=column[order[0]])
        column[order] = np.cumsum(np.minimum(steps, 1.01 * cutoff))


@compiled
def _grid(coordinates: Any, atom_offsets: Any, pbc: Any, basis: Any, heights: Any, cutoff: float) -> Any:
    """Bins for atoms at ``coordinates`` [N, 3] in the ``basis`` [S, 3, 3], most of them in one structure, and the sum
    of the mean density in 1/A^3 around each atom.

    Along each vector [S, 3]: the coordinate where the bins begin, bins per unit of the coordinate, how many there are,
    their width in A, how many the cutoff spans.
    """
    n_structures, reach = len(basis), _MARGIN * cutoff
    origin, scale, width = np.zeros((n_structures, 3)), np.empty((n_structures, 3)), np.empty((n_structures, 3))
    bins, span = np.empty((n_structures, 3), np.int64), np.empty((n_structures, 3), np.int64)
    extent, counts = np.empty(3), np.empty(3)
    density, most_bins = 0.0, 0
    for s in range(n_structures):
        begin, end, volume = atom_offsets[s], atom_offsets[s + 1], 1.0
        for k in range(3):
            extent[k] = 1.0
            if not pbc[s, k]:
                low, high = np.inf, -np.inf
                for i in range(begin, end):
                    low, high = min(low, coordinates[i, k]), max(high, coordinates[i, k])
                origin[s, k], extent[k] = low, max(high - low, reach)
            counts[k] = max(np.floor(extent[k] * heights[s, k] / reach * _FINENESS[k]), 1.0)
            volume *= extent[k]
        most = _BINS_PER_ATOM * (end - begin) + _MORE_BINS
        while counts[0] * counts[1] * counts[2] > most:
            longest = 0
            for k in range(1, 3):
                longest = k if counts[k] > counts[longest] else longest
            counts[longest] = np.ceil(counts[longest] / 2)
        for k in range(3):
            width[s, k] = extent[k] * heights[s, k] / counts[k]
            span[s, k], bins[s, k] = int(np.ceil(reach / width[s, k])), int(counts[k])
            scale[s, k] = counts[k] / extent[k]
        most_bins = max(most_bins, bins[s, 0] * bins[s, 1] * bins[s, 2])
        a, b, c = basis[s, 0], basis[s, 1], basis[s, 2]
        volume *= abs(
            a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        density += (end - begin) * ((end - begin) / volume)
    return origin, scale, bins, width, span, most_bins, density


def _expected_pairs(density: float, cutoff: float) -> int:
    """A guess from the mean densities, a quarter too high for a crystal; where it is too low the search runs again."""
    return int(1.25 * density * (2.0 / 3.0 * np.pi * cutoff**3)) + 1


@compiled
def _search(
    coordinates: Any, atom_offsets: Any, pbc: Any, bases: Any, origins: Any, scales: Any, bins: Any, widths: Any,
    spans: Any, cutoff: float, starts: Any, first: Any, second: Any, shifts: Any, counts: Any,
    runs: Any, as_first: Any, as_second: Any,
) -> int:  # fmt: skip
    """Find the pairs of all structures and return how many there are; those beyond the capacity are only counted."""
    most, most_columns = 0, 0
    for s in range(len(counts)):
        most = max(most, atom_offsets[s + 1] - atom_offsets[s])
        most_columns = max(most_columns, (spans[s, 0] + 1) * (2 * spans[s, 1] + 1))
    members, bin_of, hits = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    wraps, places, levels = np.empty((most, 3), np.int32), np.empty((3, most)), np.empty((most, 3))
    columns, images = np.empty((most_columns, 5), np.int64), np.empty((most_columns, 3))
    as_second[:] = 0
    found: Any = np.int64(0)  # a plain 0 would be a type of its own, and the function below compiled twice
    for s in range(len(counts)):
        begin, n, before = atom_offsets[s], atom_offsets[s + 1] - atom_offsets[s], found
        _fill_bins(
            coordinates[begin : begin + n], pbc[s], bases[s], origins[s], scales[s], bins[s],
            starts, members, bin_of, wraps, places, levels,
        )  # fmt: skip
        for b0 in range(bins[s, 0]):
            for b1 in range(bins[s, 1]):
                found = _pairs_of_column(
                    b0, b1, begin, pbc[s], bases[s], bins[s], widths[s], spans[s], cutoff, starts, members, wraps,
                    places, levels, columns, images, hits, found, first, second, shifts, runs, as_first, as_second,
                )  # fmt: skip
        counts[s] = found - before
    return found


@compiled
def _fill_bins(
    coordinates: Any, pbc: Any, basis: Any, origin: Any, scale: Any, bins: Any,
    starts: Any, members: Any, bin_of: Any, wraps: Any, places: Any, levels: Any,
) -> None:  # fmt: skip
    """Sort the atoms of a structure into its bins: the members of bin b are members[starts[b]:starts[b + 1]].

    In that order also places [3, n], inside the cell in A; wraps [n, 3], the cell that an atom was brought back from;
    levels [n, 3], its place in units of bins.
    """
    n, total = len(coordinates), bins[0] * bins[1] * bins[2]
    starts[: total + 1] = 0
    for i in range(n):
        at = 0
        for k in range(3):
            cell = floor(coordinates[i, k]) if pbc[k] else 0.0
            at = at * bins[k] + min(int((coordinates[i, k] - cell - origin[k]) * scale[k]), bins[k] - 1)
        bin_of[i] = at
        starts[at + 1] += 1
    for b in range(total):
        starts[b + 1] += starts[b]
    for i in range(n - 1, -1, -1):
        starts[bin_of[i] + 1] -= 1
        q = starts[bin_of[i] + 1]
        members[q] = i
        for x in range(3):
            places[x, q] = 0.0
        for k in range(3):
            cell = floor(coordinates[i, k]) if pbc[k] else 0.0
            inside = coordinates[i, k] - cell
            wraps[q, k] = int(cell)
            levels[q, k] = (inside - origin[k]) * scale[k]
            for x in range(3):
                places[x, q] += inside * basis[k, x]
    # starts[b + 1] is now the first member of bin b
    for b in range(total):
        starts[b] = starts[b + 1]
    starts[total] = n


@compiled
def _pairs_of_column(
    b0: int, b1: int, begin: int, pbc: Any, basis: Any, bins: Any, width: Any, span: Any, cutoff: float,
    starts: Any, members: Any, wraps: Any, places: Any, levels: Any, columns: Any, images: Any, hits: Any,
    found: int, first: Any, second: Any, shifts: Any, runs: Any, as_first: Any, as_second: Any,
) -> int:  # fmt: skip
    """The pairs between the atoms of a column of bins along the third vector and those of the columns that follow.

    Of two columns (or images of one) only the step to the one with the larger number is taken: the other finds the same
    pairs from their other end. A column is one run of atoms sorted by bins, so an atom meets, for each image of a
    column, the run of those within reach along the third vector.
    """
    n1, n2 = bins[1], bins[2]
    n_columns = _list_columns(b0, b1, pbc, basis, bins, span, columns, images)
    reach, square = cutoff * _MARGIN, cutoff * cutoff
    own = (b0 * n1 + b1) * n2
    for q in range(starts[own], starts[own + n2]):
        i = begin + members[q]
        runs[i] = found
        low, high = floor(levels[q, 2] - reach / width[2]), floor(levels[q, 2] + reach / width[2])
        if not pbc[2]:
            low, high = max(low, 0), min(high, n2 - 1)
        for c in range(n_columns):
            column, d0, d1, s0, s1 = columns[c]
            if max(_gap(d0, levels[q, 0] - b0) * width[0], _gap(d1, levels[q, 1] - b1) * width[1]) > reach:
                continue
            here = d0 == 0 and d1 == 0
            for s2 in range(0 if here else low // n2, high // n2 + 1):
                bottom, top = max(low - s2 * n2, 0), min(high - s2 * n2, n2 - 1)
                x = places[0, q] - images[c, 0] - s2 * basis[2, 0]
                y = places[1, q] - images[c, 1] - s2 * basis[2, 1]
                z = places[2, q] - images[c, 2] - s2 * basis[2, 2]
                near = 0
                start = q + 1 if here and s2 == 0 else starts[column + bottom]
                for r in range(start, starts[column + top + 1]):
                    dx, dy, dz = places[0, r] - x, places[1, r] - y, places[2, r] - z
                    # without a branch, which could not be predicted
                    hits[near] = r
                    near += dx * dx + dy * dy + dz * dz < square
                if found + near <= len(first):
                    for k in range(near):
                        r = hits[k]
                        j = begin + members[r]
                        as_second[j] += 1
                        first[found + k], second[found + k] = i, j
                        shifts[found + k, 0] = s0 - wraps[r, 0] + wraps[q, 0]
                        shifts[found + k, 1] = s1 - wraps[r, 1] + wraps[q, 1]
                        shifts[found + k, 2] = s2 - wraps[r, 2] + wraps[q, 2]
                found += near
        as_first[i] = found - runs[i]
    return found


@compiled
def _list_columns(b0: int, b1: int, pbc: Any, basis: Any, bins: Any, span: Any, columns: Any, images: Any) -> int:
    """List the columns within reach of column (b0, b1), itself first, and return how many there are.

    columns [., 5]: first bin, steps along both vectors, cells that this image is away; images [., 3]: the same in A.
    """
    count = 0
    for d0 in range(span[0] + 1):
        for d1 in range(-span[1] if d0 > 0 else 0, span[1] + 1):
            s0, s1 = (b0 + d0) // bins[0], (b1 + d1) // bins[1]
            if (s0 != 0 and not pbc[0]) or (s1 != 0 and not pbc[1]):
                continue
            columns[count, 0] = ((b0 + d0 - s0 * bins[0]) * bins[1] + b1 + d1 - s1 * bins[1]) * bins[2]
            columns[count, 1], columns[count, 2], columns[count, 3], columns[count, 4] = d0, d1, s0, s1
            for x in range(3):
                images[count, x] = s0 * basis[0, x] + s1 * basis[1, x]
            count += 1
    return count


@compiled
def _gap(step: int, level: float) -> float:
    """Distance in units of bins from an atom, `level` above the lower plane of its bin, to the bin `step` further."""
    if step > 0:
        return step - level
    return level - step - 1.0 if step < 0 else 0.0
