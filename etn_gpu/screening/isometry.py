"""Whether two structures are one, in another cell, orientation or order of atoms: the map between them is looked for.

A map is x -> o' + F (x - o) of an atom o of the first structure to an atom o' of the second one, where F is orthogonal
but for a strain of crystals that is less than the tolerance over 5.5 A. Three neighbours of o that span the space
decide about F, so that there are few maps to try: those that take these to neighbours of o' of the same elements,
distances and angles. F is then fitted to all neighbours of o, which is an atom with few others like it. The second
structure is the first one when all atoms of a cell of the first lie on atoms of the second, and the second one does not
change when it is shifted by the cell vectors of the first, for then the first lies in the second, and has as many atoms
in a volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.site_distances import REACH, distances_of_sites
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Surroundings", "same"]

Array = NDArray[np.float64]
#: Neighbours that are looked at first.
_FIRST = 16
#: Points that are looked at together.
_POINTS = 32
#: Sine below which two neighbours span no plane; half of it, for the volume of three unit vectors.
_FLAT = 0.2


class Surroundings:
    """A structure with the neighbours of its atoms.

    Args:
        atoms: a structure that can be evaluated.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.numbers, self.positions = atoms.numbers, atoms.positions
        self.cell, self.pbc = atoms.cell.array, atoms.pbc
        # Along directions that are not periodic, any vectors that complete the others do.
        self._complete = atoms.cell.complete().array
        self._inverse = np.linalg.inv(self._complete)
        batch = StructureBatch.build([atoms], sorted(atoms.symbols.species()), REACH)
        self._offsets, self._vectors = batch.edge_offsets, batch.vectors
        self._of_neighbours = atoms.numbers[batch.neighbour]
        self.kinds, self.sites = distances_of_sites(batch, 0)

    def around(self, atom: int) -> tuple[Array, NDArray[np.int64]]:
        """Vectors [n, 3] to the neighbours of an atom, nearest first, and their elements [n]."""
        mine = slice(self._offsets[atom], self._offsets[atom + 1])
        order = np.argsort(np.linalg.norm(self._vectors[mine], axis=1), kind="stable")
        return self._vectors[mine][order], self._of_neighbours[mine][order]

    def has_atoms_at(self, points: Array, numbers: NDArray[np.int64], tolerance: float) -> bool:
        """Whether an atom of the element [n] is at each point [n, 3]."""
        for first in range(0, len(points), _POINTS):
            some = slice(first, first + _POINTS)
            fractions = (points[some, None] - self.positions) @ self._inverse
            fractions -= np.where(self.pbc, np.rint(fractions), 0.0)
            apart = np.square(fractions @ self._complete).sum(axis=2)
            apart[numbers[some, None] != self.numbers] = np.inf
            if apart.min(axis=1).max() > tolerance**2:
                return False
        return True


def same(one: Surroundings, other: Surroundings, tolerance: float) -> bool:
    """Whether two structures of one composition and equal volumes per atom, but for a small strain, are one.

    Args:
        one: a structure.
        other: another one.
        tolerance: by how much positions of atoms may differ, in A.
    """
    if (one.pbc.sum() != other.pbc.sum()) or (not one.pbc.any() and len(one.numbers) != len(other.numbers)):
        return False
    if len(one.numbers) < len(other.numbers):
        one, other = other, one  # a small cell has few atoms like another one, for it has few
    origin, images = _origin(one, other, 2.0 * tolerance)
    vectors, numbers = one.around(origin)
    basis = _basis(vectors)
    return any(
        _maps(one, other, origin, image, found, tolerance, spans=len(basis) == 3)
        for image in images
        for found in _candidates(vectors, numbers, basis, *other.around(image), 2.0 * tolerance)
    )


def _origin(one: Surroundings, other: Surroundings, tolerance: float) -> tuple[int, list[int]]:
    """An atom of one structure that few atoms of the other have similar distances to, and these."""
    # A number of each atom, which changes by no more than they do.
    weights = np.arange(1.0, one.sites.shape[1] + 1.0)
    mine, others = (each.sites @ (weights / weights.sum()) for each in (one, other))
    far = 4.0 * REACH  # elements are far from each other
    mine, others = mine + far * one.kinds, others + far * other.kinds
    order = np.sort(others)
    number = np.searchsorted(order, mine + tolerance, "right") - np.searchsorted(order, mine - tolerance)
    origin = int(number.argmin())
    alike = np.flatnonzero(np.abs(others - mine[origin]) <= tolerance)
    similar = np.abs(other.sites[alike] - one.sites[origin]).max(axis=1) <= tolerance
    return origin, alike[similar].tolist()


def _maps(
    one: Surroundings, other: Surroundings, origin: int, image: int, matrix: Array, tolerance: float, *, spans: bool
) -> bool:
    def moved(by: Array) -> Array:
        return other.positions[image] + (one.positions - one.positions[origin]) @ by

    vectors, numbers = one.around(origin)
    there, elements = other.around(image)
    # Those near the reach may be beyond it in the other structure.
    inner = np.linalg.norm(vectors, axis=1) < REACH - 4.0 * tolerance
    vectors, numbers = vectors[inner], numbers[inner]
    strained = spans and bool(one.pbc.any())
    # The nearest first: they refuse most of what is to be refused.
    for some in (slice(_FIRST), slice(None)) if len(vectors) else ():
        apart = np.square((vectors[some] @ matrix)[:, None] - there).sum(axis=2)
        apart[numbers[some][:, None] != elements] = np.inf
        nearest = apart.argmin(axis=1)
        if apart[np.arange(len(nearest)), nearest].max() > (6.0 * tolerance) ** 2:
            return False
        if spans:
            matrix = np.linalg.lstsq(vectors[some], there[nearest], rcond=None)[0]
            # Both ends of a vector may differ by the tolerance.
            if np.square(vectors[some] @ matrix - there[nearest]).sum(axis=1).max() > (2.0 * tolerance) ** 2:
                return False
    if strained:
        if np.abs(matrix @ matrix.T - np.eye(3)).max() > 2.0 * tolerance / REACH:
            return False  # lengths of the reach differ by more than the tolerance
    else:
        left, _, right = np.linalg.svd(matrix)
        matrix = left @ right
    if not other.has_atoms_at(moved(matrix), one.numbers, tolerance):
        return False
    shifts = one.cell[one.pbc] @ matrix
    return all(other.has_atoms_at(other.positions + shift, other.numbers, tolerance) for shift in shifts)


def _basis(vectors: Array) -> list[int]:
    """The nearest neighbours that span a line, a plane, the space, as far as there are any."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen: list[int] = []
    for place in range(len(unit)):
        if len(chosen) == 3:
            break
        spanned = np.sqrt(np.linalg.det(unit[[*chosen, place]] @ unit[[*chosen, place]].T).clip(0.0))
        if spanned > (0.0, _FLAT, 0.5 * _FLAT)[len(chosen)]:
            chosen.append(place)
    return chosen


def _candidates(
    vectors: Array,
    numbers: NDArray[np.int64],
    basis: list[int],
    there: Array,
    elements: NDArray[np.int64],
    tolerance: float,
) -> Iterator[Array]:
    """Matrices that take the neighbours of the basis to others of their elements, with their distances and angles."""
    lengths = np.linalg.norm(there, axis=1)
    fitting = [
        np.flatnonzero((elements == numbers[b]) & (np.abs(lengths - np.linalg.norm(vectors[b])) < tolerance))
        for b in basis
    ]

    def extended(found: list[int]) -> Iterator[list[int]]:
        if len(found) == len(basis):
            yield found
            return
        mine, images = vectors[basis[len(found)]], fitting[len(found)]
        apart = np.linalg.norm(vectors[basis[: len(found)]] - mine, axis=1)
        fits = np.abs(np.linalg.norm(there[images][:, None] - there[found], axis=2) - apart) < 2.0 * tolerance
        for image in images[fits.all(axis=1)].tolist():
            yield from extended([*found, image])

    for found in extended([]):
        yield from _matrices(vectors[basis], there[found])


def _matrices(vectors: Array, images: Array) -> Iterator[Array]:
    """Matrices M of V M = W, completed by what is normal to both where they do not span the space."""
    if len(vectors) == 3:
        yield np.asarray(np.linalg.solve(vectors, images), np.float64)
        return
    if len(vectors) == 2:
        normals = [np.cross(*pair) / np.linalg.norm(np.cross(*pair)) for pair in (vectors, images)]
        for sign in (1.0, -1.0):
            whole, turned = np.array([*vectors, normals[0]]), np.array([*images, sign * normals[1]])
            yield np.asarray(np.linalg.solve(whole, turned), np.float64)
        return
    # All on a line, or alone: any rotation that takes one to the other.
    first, second = (each[0] / np.linalg.norm(each[0]) if len(each) else np.eye(3)[0] for each in (vectors, images))
    half = first - second
    length = half @ half
    yield np.eye(3) if length < 1e-12 else np.eye(3) - 2.0 * np.outer(half, half) / length
