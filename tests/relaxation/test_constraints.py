"""Atoms that are held and symmetry that is kept, as in ASE; other constraints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.optimize import FIRE

import etn_gpu
from etn_gpu.potential import ETNPotential
from tests.relaxation.symmetric import fix_symmetry

Alloys = Callable[..., list[Atoms]]
ByAse = Callable[..., tuple[Atoms, int]]
Apart = Callable[[Atoms, Atoms], float]
CONSTRAINTS = {
    "FixAtoms": [FixAtoms([0, 3])],
    "FixCartesian": [FixCartesian([1, 2], mask=(True, False, True))],
    "both": [FixAtoms([-1]), FixCartesian([0], mask=(False, True, False))],
}


@pytest.fixture
def start(alloys: Alloys) -> Atoms:
    (atoms,) = alloys(1, ((2, 1, 1),), seed=3, strain=0.01, rattle=0.04)
    return atoms


@pytest.mark.parametrize(("name", "cell"), [("FixAtoms", "none"), ("both", "none"), ("FixAtoms", "full")])
def test_held_atoms_end_where_ase_has_them(
    model: ETNPotential, start: Atoms, by_ase: ByAse, apart: Apart, name: str, cell: str
) -> None:
    start.set_constraint(CONSTRAINTS[name])
    (ours,) = etn_gpu.relax(model, start, cell=cell, fmax=1e-3)  # type: ignore[arg-type]
    theirs, _ = by_ase(start, 1e-3, cell=cell == "full")
    assert ours.status == "converged"
    assert ours.energy == pytest.approx(theirs.get_potential_energy(), abs=1e-5)
    assert apart(theirs, ours.atoms) < 1e-3
    assert repr(ours.atoms.constraints) == repr(start.constraints)
    if cell == "none":
        for constraint in start.constraints:
            of_atoms = np.broadcast_to(getattr(constraint, "mask", True), (len(constraint.index), 3))
            before, after = start.positions[constraint.index], ours.atoms.positions[constraint.index]
            assert np.array_equal(before[of_atoms], after[of_atoms])


def test_components_held_in_a_cell_that_changes_step_by_step_as_in_ase(
    backend: str, model: ETNPotential, start: Atoms, by_ase: ByAse
) -> None:
    """Where such a relaxation ends depends on the way, for the components that are held are those of space."""
    start = start[:2]
    start.cell[0] /= 2.0
    start.set_constraint([FixAtoms([-1]), FixCartesian([0, 1], mask=(True, False, True))])
    (ours,) = etn_gpu.relax(model, start, cell="full", optimizer="fire", steps=8, backend=backend)
    theirs, _ = by_ase(start, 0.01, optimizer=FIRE, steps=8)
    np.testing.assert_allclose(ours.atoms.positions, theirs.positions, atol=1e-9)
    np.testing.assert_allclose(ours.atoms.cell.array, theirs.cell.array, atol=1e-9)


@pytest.mark.parametrize("cell", ["none", "full", "volume"])
def test_symmetry_is_kept(backend: str, model: ETNPotential, by_ase: ByAse, apart: Apart, cell: str) -> None:
    """Noise that the forces would take away stays where it is, for it has no symmetry."""
    start = bulk("Mo", "bcc", a=3.3, cubic=True) * (2, 1, 1)
    start.symbols[0] = "Ta"
    constraint = fix_symmetry(start)
    assert len(constraint.rotations) == 16
    symmetric = start.copy()
    symmetric.set_constraint(constraint)
    noisy = symmetric.copy()
    noise = 1e-3 * np.random.default_rng(0).normal(size=(len(start), 3))
    noisy.positions += noise
    relaxed = etn_gpu.relax(model, [noisy, symmetric], cell=cell, fmax=1e-3, backend=backend)  # type: ignore[arg-type]
    for one in relaxed:
        assert one.status == "converged"
        ideal = one.atoms.get_scaled_positions(wrap=False)
        if one is relaxed[0]:
            ideal = ideal - noise @ np.linalg.inv(start.cell.array)
        for rotation, shift, target in zip(
            constraint.rotations, constraint.translations, constraint.symm_map, strict=True
        ):
            away = ideal @ rotation.T + shift - ideal[target]
            np.testing.assert_allclose(away, np.round(away), atol=1e-8)
            metric = one.atoms.cell.array @ one.atoms.cell.array.T
            np.testing.assert_allclose(rotation.T @ metric @ rotation, metric, atol=1e-8)
    options = {} if cell == "none" else {"hydrostatic_strain": cell == "volume"}
    if backend == "numba":
        theirs, _ = by_ase(symmetric, 1e-3, cell=cell != "none", **options)
        assert apart(theirs, relaxed[1].atoms) < 1e-3


def test_constraints_that_cannot_be_kept_are_named(model: ETNPotential, start: Atoms) -> None:
    given = [start.copy() for _ in range(5)]
    given[0].set_constraint(FixBondLength(0, 1))
    given[1].set_constraint(FixAtoms([4]))
    whole = bulk("Mo", cubic=True) * (2, 1, 1)
    given[2].set_constraint(fix_symmetry(whole[:2]))
    given[3] = whole.copy()
    given[3].set_constraint([fix_symmetry(whole), FixAtoms([0])])
    *failed, fine = etn_gpu.relax(model, given)
    assert [one.status for one in failed] == ["failed"] * 4
    texts = ("FixBondLengths cannot be kept", "holds atom 4, there are 4", "of a structure of 2 atoms", "makes equal")
    for one, text in zip(failed, texts, strict=True):
        assert text in one.message
    assert fine.status == "converged"


def test_all_atoms_held(model: ETNPotential, start: Atoms) -> None:
    start.set_constraint(FixAtoms(range(len(start))))
    (still,) = etn_gpu.relax(model, start)
    assert (still.status, still.steps) == ("converged", 0)
    (moved,) = etn_gpu.relax(model, start, cell="full")
    assert moved.status == "converged"
    np.testing.assert_allclose(moved.atoms.get_scaled_positions(), start.get_scaled_positions(), atol=1e-12)
