"""The skin of the calculator's neighbour list: when it is built again, and that results do not depend on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu.calculator import ETNCalculator, SkinList, Statistics
from etn_gpu.potential import ETNPotential
from etn_gpu.structures import StructureBatch

CUTOFF = 4.6


@pytest.mark.parametrize("skin", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["alloy", "slab", "cluster", "primitive"])
def test_the_skin_does_not_change_results(
    backend: str,
    keeps_lists: bool,
    skin: float,
    name: str,
    assert_fresh: Callable[[Atoms, str], None],
    potential: ETNPotential,
    alloy: Atoms,
    slab: Atoms,
) -> None:
    """A walk of atoms, cell and both."""
    cluster = alloy.copy()
    cluster.pbc = False
    atoms = {"alloy": alloy, "slab": slab, "cluster": cluster, "primitive": bulk("Al", a=4.0)}[name]
    calc = atoms.calc = ETNCalculator(potential, backend=backend, skin=skin)
    rng = np.random.default_rng(2)
    steps = 15
    for step in range(steps):
        assert_fresh(atoms, backend)
        strain = 0.008 * rng.normal(size=(3, 3)) * (step % 3 > 0)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=step % 2 == 0)
        atoms.positions += 0.02 * rng.normal(size=(len(atoms), 3)) * (step % 3 < 2) + 0.3
    built = calc.statistics.neighbour_lists
    if not keeps_lists:
        assert built == calc.statistics.evaluations
    else:
        assert built <= steps if skin == 0 else built < steps


def test_a_kept_list_gives_the_same_numbers_bit_for_bit(
    backend: str, keeps_lists: bool, potential: ETNPotential, alloy: Atoms
) -> None:
    if not keeps_lists:
        pytest.skip("this backend searches neighbours every time")
    calc = ETNCalculator(potential, backend=backend, skin=1.0)
    rng = np.random.default_rng(3)
    for _ in range(5):
        alloy.positions += 0.03 * rng.normal(size=alloy.positions.shape)
        alloy.set_cell(alloy.cell.array @ (np.eye(3) + 0.005 * rng.normal(size=(3, 3))), scale_atoms=True)
        for name, values in potential.evaluate(alloy, backend=backend)[0].items():
            assert np.array_equal(calc.get_property(name, alloy), values), name
    assert calc.statistics.neighbour_lists == 1


@settings(max_examples=200)
@given(
    approach=st.floats(0.0, 0.4),
    strain=st.just(0.0) | st.floats(-0.12, 0.12),
    shear=st.just(0.0) | st.floats(-0.1, 0.1),
    pbc=st.sampled_from([(True, True, True), (True, False, False), (False, True, True), (False, False, False)]),
)
def test_no_pair_inside_the_cutoff_is_missing(
    approach: float, strain: float, shear: float, pbc: tuple[bool, bool, bool], potential: ETNPotential
) -> None:
    """Pairs just beyond the list, along the axis of the strain, some across the boundary, move towards each other."""
    skin = 0.5
    apart = CUTOFF + skin + 1e-9
    positions = np.array([[1.0, 1, 1], [1 + apart, 1, 1], [13, 4, 5], [13 + apart - 16, 4, 5]])
    atoms = Atoms("AlNiAlNi", positions, cell=[16.0, 12.0, 12.0], pbc=pbc)
    skin_list = SkinList(potential, skin, Statistics())
    skin_list.batch(atoms)
    deformation = np.eye(3)
    deformation[0] += [strain, shear, 0.0]
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    atoms.positions += approach * np.array([[1.0, 0, 0], [-1, 0, 0], [1, 0, 0], [-1, 0, 0]])

    def inside(batch: StructureBatch) -> list[float]:
        lengths = np.linalg.norm(batch.vectors, axis=1)
        return sorted(lengths[lengths < CUTOFF - 1e-9].round(9).tolist())

    found = inside(skin_list.batch(atoms))
    assert found == inside(StructureBatch.build([atoms], potential.species, CUTOFF))


def test_when_the_neighbour_list_is_built_again(
    backend: str, keeps_lists: bool, assert_fresh: Callable[[Atoms, str], None], potential: ETNPotential, alloy: Atoms
) -> None:
    if not keeps_lists:
        pytest.skip("this backend searches neighbours every time")
    calc = alloy.calc = ETNCalculator(potential, backend=backend, skin=0.5)

    def builds() -> int:
        before = calc.statistics.neighbour_lists
        assert_fresh(alloy, backend)
        return calc.statistics.neighbour_lists - before

    assert builds() == 1
    start, cell = alloy.positions.copy(), alloy.cell.array.copy()
    alloy.positions[3] += [0.24, 0.0, 0.0]
    assert builds() == 0
    alloy.positions[3] += [0.03, 0.0, 0.0]
    assert builds() == 1
    alloy.positions = start
    assert builds() == 1
    alloy.positions += [100.0, -3.0, 0.5]
    assert builds() == 0
    alloy.wrap()
    assert builds() == 1
    # (1 + strain) (cutoff + skin) > cutoff up to a compression of 10 percent
    for strain, expected in ((0.2, 0), (-0.08, 0), (-0.1, 1)):
        alloy.set_cell(cell * (1 + strain), scale_atoms=True)
        assert builds() == expected
    alloy.set_cell(cell, scale_atoms=True)
    assert builds() == 0
    alloy.numbers[1] = 13
    assert builds() == 1
    alloy.pbc = (True, True, False)
    assert builds() == 1
    del alloy[0]
    assert builds() == 1


def test_a_dimer_that_flies_together(
    backend: str, keeps_lists: bool, assert_fresh: Callable[[Atoms, str], None], potential: ETNPotential
) -> None:
    """A pair far outside the list at the build must be found when it comes in."""
    atoms = Atoms("AlNi", positions=[[0, 0, 0], [9.0, 0.3, 0.1]])
    atoms.calc = ETNCalculator(potential, backend=backend, skin=0.7)
    for distance in np.arange(9.0, 2.0, -0.2):
        atoms.positions[1, 0] = distance
        assert_fresh(atoms, backend)
    if keeps_lists:
        assert 2 < atoms.calc.statistics.neighbour_lists < 25
