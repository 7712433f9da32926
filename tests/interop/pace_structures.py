"""Small structures for comparisons with python-ace, from a seed: the script that makes references uses them too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111

#: Structures for each potential.
COUNT = 40


def structures(species: Sequence[str], seed: int, spacing: float) -> list[Atoms]:
    """Bulk, slabs, clusters and tiny skewed cells of 1 to 12 atoms, strained and rattled, species at random.

    ``spacing`` is about the distance of neighbours in A. Slabs are periodic with a vacuum, as python-ace wants it.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(COUNT):
        atoms = _KINDS[number % 4](rng, spacing)
        if atoms.cell.rank == 3:
            strain = np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(0.0, 0.04 * spacing, atoms.positions.shape)
        atoms.symbols[:] = [species[k] for k in rng.integers(0, len(species), len(atoms))]
        found.append(atoms)
    return found


def _bulk(rng: np.random.Generator, spacing: float) -> Atoms:
    lattice = ("fcc", "bcc")[rng.integers(2)]
    a = spacing * (2.0**0.5 if lattice == "fcc" else 2.0 / 3.0**0.5)
    return bulk("Cu", lattice, a=a, cubic=True) * (1, 1, int(rng.integers(1, 3)))


def _slab(rng: np.random.Generator, spacing: float) -> Atoms:
    slab = fcc111("Cu", (1, 2, int(rng.integers(2, 5))), a=spacing * 2.0**0.5, vacuum=6.0)
    slab.pbc = True
    return slab


def _cluster(rng: np.random.Generator, spacing: float) -> Atoms:
    points = bulk("Cu", "fcc", a=spacing * 2.0**0.5, cubic=True).repeat(2).positions
    order = np.argsort(np.linalg.norm(points - points.mean(axis=0), axis=1) + rng.uniform(0, 0.5, len(points)))
    return Atoms("Cu" * (size := int(rng.integers(2, 12))), points[order[:size]])


def _skewed(rng: np.random.Generator, spacing: float) -> Atoms:
    cell = spacing * np.array([[1.0, 0.0, 0.0], [0.4, 1.0, 0.0], [-0.3, 0.6, 1.1]])
    cell[2] += cell[0] * int(rng.integers(-2, 3))
    atoms = Atoms("Cu", cell=cell, pbc=True, positions=[[0.0, 0.0, 0.0]])
    return atoms * (1, 1, int(rng.integers(1, 3)))


_KINDS = (_bulk, _slab, _cluster, _skewed)
