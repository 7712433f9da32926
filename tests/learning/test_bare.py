"""What belongs to a structure, and the key that follows from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from etn_gpu.learning.bare import bare, structure_key


def structure() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_initial_magnetic_moments([1.0, 0.0, 2.0, 0.0])
    atoms.info["charge"] = 1
    return atoms


def test_nothing_else_comes_along() -> None:
    atoms = structure()
    atoms.info |= {"REF_energy": 1.0, "spin": np.float64(0.5), "charge": np.int64(2)}
    atoms.arrays["REF_forces"] = np.ones((4, 3))
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_momenta(np.ones((4, 3)), apply_constraint=False)
    atoms.calc = EMT()
    copy = bare(atoms)
    assert copy.info == {"charge": 2, "spin": 0.5}
    assert set(copy.arrays) == {"numbers", "positions", "initial_magmoms"}
    assert copy.calc is None
    assert not copy.constraints
    assert structure_key(copy) == structure_key(atoms)
    copy.positions += 1.0
    assert structure_key(copy) != structure_key(atoms)


def _move(atoms: Atoms) -> None:
    atoms.positions[2, 1] = np.nextafter(atoms.positions[2, 1], 9.0)


def _strain(atoms: Atoms) -> None:
    atoms.cell[0, 0] = np.nextafter(atoms.cell[0, 0], 9.0)


@pytest.mark.parametrize(
    "change",
    [
        _move,
        _strain,
        lambda atoms: atoms.set_pbc([True, True, False]),
        lambda atoms: atoms.set_atomic_numbers([29, 29, 29, 28]),
        lambda atoms: atoms.set_initial_magnetic_moments([1.0, 0.0, 2.0, 0.5]),
        lambda atoms: atoms.set_initial_charges([1.0, 0.0, 2.0, 0.0]),
        lambda atoms: atoms.info.update(charge=2),
        lambda atoms: atoms.info.update(spin=1),
    ],
)
def test_every_change_of_the_structure_gives_another_key(change: Callable[[Atoms], None]) -> None:
    atoms = structure()
    change(atoms)
    assert structure_key(atoms) != structure_key(structure())


def test_what_is_the_same_has_the_same_key() -> None:
    atoms = structure()
    atoms.set_initial_charges([0.0] * 4)
    atoms.cell[0, 1] = -0.0
    atoms.info["charge"] = 1.0
    assert structure_key(atoms) == structure_key(structure())
