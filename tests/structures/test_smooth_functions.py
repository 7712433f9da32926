"""The functions of the rough fit: forces and strain derivatives against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.structures import StructureBatch
from etn_gpu.structures.smooth_functions import SmoothFunctions

SPECIES, CUTOFF, STEP = ("Al", "Cu", "Ni"), 4.0, 1e-4


@pytest.fixture
def crystal() -> Atoms:
    """A rattled alloy beside a dimer, the shortest pair of all, that sets the scale of distances and is not moved."""
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[:] = ["Al", "Cu", "Ni", "Cu"]
    atoms.rattle(0.1, seed=3)
    return atoms


def functions(atoms: Atoms) -> SmoothFunctions:
    dimer = Atoms("Al2", positions=[[0.0] * 3, [0.0, 0.0, 1.5]])
    return SmoothFunctions.of(StructureBatch.build([atoms, dimer], SPECIES, CUTOFF))


def test_forces(crystal: Atoms) -> None:
    forces = functions(crystal).forces
    for atom, axis in ((0, 0), (1, 2), (2, 1)):
        values = []
        for sign in (1, -1):
            moved = crystal.copy()
            moved.positions[atom, axis] += sign * STEP
            values.append(functions(moved).values[0])
        np.testing.assert_allclose(forces[atom, axis], -(values[0] - values[1]) / (2 * STEP), atol=1e-6)
    np.testing.assert_allclose(forces[:4].sum(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize(("component", "place"), [(0, (0, 0)), (3, (1, 2)), (5, (0, 1))])
def test_strain(crystal: Atoms, component: int, place: tuple[int, int]) -> None:
    strain = np.zeros((3, 3))
    strain[place] += 0.5
    strain[place[::-1]] += 0.5
    values = []
    for sign in (1, -1):
        strained = crystal.copy()
        strained.set_cell(crystal.cell.array @ (np.eye(3) + sign * STEP * strain), scale_atoms=True)
        values.append(functions(strained).values[0])
    expected = (values[0] - values[1]) / (2 * STEP)
    np.testing.assert_allclose(functions(crystal).strain[0, component], expected, rtol=1e-5, atol=1e-5)


def test_a_copy_of_a_cell_doubles_the_values(crystal: Atoms) -> None:
    once, twice = functions(crystal), functions(crystal * (2, 1, 1))
    np.testing.assert_allclose(twice.values[0], 2 * once.values[0], rtol=1e-10)
    np.testing.assert_allclose(twice.strain[0], 2 * once.strain[0], rtol=1e-9, atol=1e-9)
