"""Structures around a given one: supercells, strained and rattled cells, elements that change places.

They are what a student begins with, and shall be wide, but no nonsense: forces of hundreds of eV/A, where atoms have
been pushed into one another, teach nothing about what is near equilibrium and cost the training dearly.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from etn_gpu.learning.bare import OF_ELEMENTS, bare
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.geometry import StructureArrays, frames

__all__ = ["RATTLE", "STRAIN", "grown", "perturbed", "swapped"]

#: The largest standard deviation of displacements along x, y and z, as a share of the distance to the nearest
#: neighbour; crystals melt there (Lindemann).
RATTLE = 0.06
#: The largest strain: lengths change by 4 percent either way, volumes by 12, and shears come on top.
STRAIN = 0.04
#: Atoms stay farther apart than this share of the sum of their covalent radii, and of the closest pair of the input.
#: Neighbours in metals have 0.85 of the sum, in molecules 1.
OF_RADII, OF_CLOSEST = 0.65, 0.75
#: An input that is closer than that already may come closer still by this factor.
CLOSER = 0.9
#: Neighbours are searched within this distance in A; further away, displacements are as large as at it.
REACH = 6.0
#: Each time that atoms come too close the next draw is smaller by this factor, and after so many there is none.
SMALLER, DRAWS = 0.85, 30


def grown(atoms: Atoms, least_atoms: int) -> Atoms:
    """The periodic cell repeated until there are ``least_atoms``, as near to cubic as repeating it comes.

    Structures with as many atoms or without periodic directions are copied, and so are those with a total charge or
    unpaired spins: what those of several cells together are depends on what is meant.

    Raises:
        StructureError: a structure that cannot be evaluated.
    """
    _Pairs(atoms)
    heights = StructureArrays.gather([atoms]).heights[0]
    repeats = np.ones(3, dtype=np.int64)
    while atoms.pbc.any() and not _has_charge_or_spin(atoms) and len(atoms) * repeats.prod() < least_atoms:
        repeats[np.argmin(np.where(atoms.pbc, heights * repeats, np.inf))] += 1
    return bare(atoms).repeat(tuple(map(int, repeats)))


def perturbed(atoms: Atoms, rng: np.random.Generator, *, rattle: float = RATTLE, strain: float = STRAIN) -> Atoms:
    """The structure strained along its periodic directions, its atoms displaced.

    The strain is F = exp(S) for a symmetric S: an isotropic part drawn uniformly from -strain to strain, and a
    traceless one with a norm drawn from 0 to strain. Displacements are normal, their standard deviation a share, drawn
    from 0 to rattle for all atoms, of the distance of an atom to its nearest neighbour. What brings atoms too close to
    each other is drawn again, smaller.

    Args:
        atoms: a structure of any periodicity, of several atoms: a displacement of all of them alike is none.
        rng: decides about everything; the same state gives the same structure.
        rattle: the largest standard deviation of displacements over the nearest-neighbour distance.
        strain: the largest logarithm of the change of lengths, for volume and shape each.

    Raises:
        StructureError: a structure that cannot be evaluated.
    """
    pairs = _Pairs(atoms)
    spacing, nearest = _Spacing(pairs), pairs.nearest()
    start = bare(atoms)
    size = 1.0
    for _ in range(DRAWS):
        moved = start.copy()
        deformation = _deformation(atoms, size * strain, rng)
        moved.set_cell(atoms.cell.array @ deformation)
        share = size * rattle * rng.uniform()
        moved.positions = atoms.positions @ deformation + share * nearest[:, None] * rng.normal(size=(len(atoms), 3))
        if spacing.kept_by(_Pairs(moved)):
            return moved
        size *= SMALLER
    return start


def swapped(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The structure with its elements shuffled over the places of atoms, which stay; the composition is the same.

    Initial magnetic moments and charges go with the elements. An exchange of two atoms that would bring large ones
    too close to each other is left out.

    Raises:
        StructureError: a structure that cannot be evaluated.
    """
    pairs = _Pairs(atoms)
    spacing = _Spacing(pairs)
    order = np.arange(len(atoms))
    # The shuffle of Fisher and Yates: every order is as likely as every other, if no exchange is left out.
    for i in range(len(atoms) - 1, 0, -1):
        j = int(rng.integers(i + 1))
        exchanged = order.copy()
        exchanged[[i, j]] = order[[j, i]]
        alike = atoms.numbers[order[i]] == atoms.numbers[order[j]]
        if alike or spacing.kept_by(pairs.of(atoms.numbers[exchanged])):
            order = exchanged
    out = bare(atoms)
    for name in ("numbers", *OF_ELEMENTS):
        if out.has(name):
            out.arrays[name] = out.arrays[name][order]
    return out


def _has_charge_or_spin(atoms: Atoms) -> bool:
    """Whether there is a total charge or a spin; 0 and 1 are both in use for none."""
    return bool(atoms.info.get("charge", 0)) or atoms.info.get("spin", 0) not in (0, 1)


class _Pairs:
    """Edges up to REACH of a structure; StructureError for one that cannot be evaluated."""

    def __init__(self, atoms: Atoms) -> None:
        species = [chemical_symbols[z] for z in np.unique(atoms.numbers) if 0 < z < len(chemical_symbols)]
        batch = StructureBatch.build([atoms], species or ["H"], REACH)
        self.centre, self.neighbour = batch.centre, batch.neighbour
        self.lengths: NDArray[np.float64] = np.linalg.norm(batch.vectors, axis=1)
        self.numbers: NDArray[np.int64] = atoms.numbers

    def of(self, numbers: NDArray[np.int64]) -> _Pairs:
        """The same edges between atoms with other atomic numbers [N]."""
        pairs = copy(self)
        pairs.numbers = numbers
        return pairs

    def nearest(self) -> NDArray[np.float64]:
        """The distance [N] of each atom to its nearest neighbour, at most REACH."""
        nearest = np.full(len(self.numbers), REACH)
        np.minimum.at(nearest, self.centre, self.lengths)
        return nearest

    def spacing(self, closest: float) -> float:
        """The least distance over what it should be: a share of covalent radii, and no less than ``closest``."""
        radii = covalent_radii[self.numbers]
        limits = np.maximum(OF_RADII * (radii[self.centre] + radii[self.neighbour]), closest)
        return float((self.lengths / limits).min(initial=np.inf))


class _Spacing:
    """How close atoms may come to each other in what is made of a structure with these pairs."""

    def __init__(self, pairs: _Pairs) -> None:
        self.closest = OF_CLOSEST * float(pairs.lengths.min(initial=REACH))
        self.least = min(1.0, CLOSER * pairs.spacing(self.closest))

    def kept_by(self, pairs: _Pairs) -> bool:
        """Whether no two atoms are too close."""
        return pairs.spacing(self.closest) >= self.least


def _deformation(atoms: Atoms, strain: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """F [3, 3], to be multiplied from the right; the identity across the periodic directions."""
    isotropic = rng.uniform(-strain, strain)
    shape = rng.normal(size=(3, 3))
    norm = rng.uniform(0.0, strain)
    vectors = frames(atoms.cell.array[None], atoms.pbc[None])[0][atoms.pbc]
    if not len(vectors):
        return np.eye(3)
    basis = np.linalg.qr(vectors.T).Q
    inner = basis.T @ (shape + shape.T) @ basis
    inner -= np.trace(inner) / len(inner) * np.eye(len(inner))
    if len(inner) > 1:
        inner *= norm / np.linalg.norm(inner)
    values, axes = np.linalg.eigh(inner + isotropic * np.eye(len(inner)))
    axes = basis @ axes
    deformation: NDArray[np.float64] = np.eye(3) + (axes * np.expm1(values)) @ axes.T
    return deformation
