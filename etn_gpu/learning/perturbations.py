"""Structures around a given one: supercells, strained and rattled cells.

They are what a student begins with, and shall be wide, but no nonsense: forces of hundreds of eV/A, where atoms have
been pushed into one another, teach nothing about what is near equilibrium and cost the training dearly.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.learning.bare import bare, has_charge_or_spin
from etn_gpu.learning.spacing import DRAWS, Pairs, Spacing
from etn_gpu.structures.geometry import StructureArrays, frames

__all__ = ["RATTLE", "STRAIN", "grown", "perturbed"]

#: The largest standard deviation of displacements along x, y and z, as a share of the distance to the nearest
#: neighbour; crystals melt there (Lindemann).
RATTLE = 0.06
#: The largest strain: lengths change by 4 percent either way, volumes by 12, and shears come on top.
STRAIN = 0.04
#: Each time that atoms come too close the next draw is smaller by this factor.
SMALLER = 0.85


def grown(atoms: Atoms, least_atoms: int) -> Atoms:
    """The periodic cell repeated until there are ``least_atoms``, as near to cubic as repeating it comes.

    Structures with as many atoms or without periodic directions are copied, and so are those with a total charge or
    unpaired spins: what those of several cells together are depends on what is meant.

    Raises:
        StructureError: a structure that cannot be evaluated.
    """
    Pairs(atoms)
    # Equal heights of a lattice differ in their last digits, which shall not decide.
    heights = StructureArrays.gather([atoms]).heights[0].round(9)
    repeats = np.ones(3, dtype=np.int64)
    while atoms.pbc.any() and not has_charge_or_spin(atoms) and len(atoms) * repeats.prod() < least_atoms:
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
    pairs = Pairs(atoms)
    spacing, nearest = Spacing(pairs), pairs.nearest()
    start = bare(atoms)
    size = 1.0
    for _ in range(DRAWS):
        moved = start.copy()
        deformation = _deformation(atoms, size * strain, rng)
        moved.set_cell(atoms.cell.array @ deformation)
        share = size * rattle * rng.uniform()
        moved.positions = atoms.positions @ deformation + share * nearest[:, None] * rng.normal(size=(len(atoms), 3))
        if spacing.kept_by(Pairs(moved)):
            return moved
        size *= SMALLER
    return start


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
