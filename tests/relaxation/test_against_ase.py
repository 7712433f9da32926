"""Ends of relaxations beside those of ASE from the same starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.optimize import FIRE

import etn_gpu
from etn_gpu.potential import ETNPotential

Alloys = Callable[..., list[Atoms]]
ByAse = Callable[..., tuple[Atoms, int]]
Apart = Callable[[Atoms, Atoms], float]


def compare(model: ETNPotential, starts: list[Atoms], by_ase: ByAse, apart: Apart, fmax: float) -> Counter[str]:
    """How many ends agree within 1e-5 eV/atom and 1e-3 A, lie in another basin, or do not converge on one side."""
    found: Counter[str] = Counter()
    for start, ours in zip(starts, etn_gpu.relax(model, starts, cell="full", fmax=fmax), strict=True):
        theirs, steps = by_ase(start, fmax)
        if steps >= 1000 or ours.status != "converged":
            found["not converged"] += 1
            continue
        assert ours.energy is not None
        difference = abs(ours.energy - theirs.get_potential_energy()) / len(start)
        if difference < 1e-5 and apart(theirs, ours.atoms) < 1e-3:
            found["agree"] += 1
        else:
            found["another basin"] += 1
            assert difference > 1e-5, "one basin, where both shall end at one place"
    return found


def test_a_dozen_alloys_end_where_ase_has_them(
    model: ETNPotential, alloys: Alloys, by_ase: ByAse, apart: Apart
) -> None:
    starts = alloys(12, ((1, 1, 1),), strain=0.005, rattle=0.02)
    assert compare(model, starts, by_ase, apart, 2e-3) == {"agree": 12}


@pytest.mark.slow
def test_two_hundred_alloys_end_where_ase_has_them(
    model: ETNPotential, alloys: Alloys, by_ase: ByAse, apart: Apart
) -> None:
    """From starts so rough that a few may find another minimum: then the basins differ, not the ends of one."""
    found = compare(model, alloys(200, strain=0.04, rattle=0.15), by_ase, apart, 5e-4)
    print(found)
    assert found["not converged"] == 0
    assert found["agree"] >= 194


def test_atoms_alone_end_where_ase_has_them(model: ETNPotential, alloys: Alloys, by_ase: ByAse, apart: Apart) -> None:
    (start,) = alloys(1, ((2, 2, 1),))
    (ours,) = etn_gpu.relax(model, start, fmax=1e-3)
    theirs, _ = by_ase(start, 1e-3, cell=False)
    assert ours.status == "converged"
    assert apart(theirs, ours.atoms) < 1e-3
    assert np.array_equal(ours.atoms.cell.array, start.cell.array)


def test_the_shape_is_kept_and_the_volume_is_that_of_ase(
    model: ETNPotential, alloys: Alloys, by_ase: ByAse, apart: Apart
) -> None:
    (start,) = alloys(1, ((2, 1, 1),))
    (ours,) = etn_gpu.relax(model, start, cell="volume", fmax=1e-3)
    theirs, _ = by_ase(start, 1e-3, hydrostatic_strain=True)
    assert apart(theirs, ours.atoms) < 1e-3
    shape = ours.atoms.cell.array / ours.atoms.get_volume() ** (1 / 3)
    np.testing.assert_allclose(shape, start.cell.array / start.get_volume() ** (1 / 3), atol=1e-9)


@pytest.mark.parametrize("pressure", [-5.0, 40.0])
def test_volumes_under_pressure(
    model: ETNPotential, alloys: Alloys, by_ase: ByAse, apart: Apart, pressure: float
) -> None:
    (start,) = alloys(1, ((2, 1, 1),))
    (ours,) = etn_gpu.relax(model, start, cell="full", pressure=pressure, fmax=1e-3)
    theirs, _ = by_ase(start, 1e-3, scalar_pressure=pressure * etn_gpu.structures.GPA)
    assert ours.stress is not None
    assert abs(-ours.stress[:3].mean() / etn_gpu.structures.GPA - pressure) < 0.1
    assert abs(ours.atoms.get_volume() / theirs.get_volume() - 1.0) < 1e-4
    assert apart(theirs, ours.atoms) < 1e-3


def test_fire_takes_the_steps_of_ase(backend: str, model: ETNPotential, alloys: Alloys, by_ase: ByAse) -> None:
    (start,) = alloys(1, ((1, 1, 1),))
    (ours,) = etn_gpu.relax(model, start, cell="full", optimizer="fire", fmax=0.1, backend=backend)
    theirs, steps = by_ase(start, 0.1, optimizer=FIRE)
    assert ours.steps == steps
    np.testing.assert_allclose(ours.atoms.positions, theirs.positions, atol=1e-8)
    np.testing.assert_allclose(ours.atoms.cell.array, theirs.cell.array, atol=1e-8)


def test_lbfgs_needs_fewer_evaluations_than_bfgs_of_ase(model: ETNPotential, alloys: Alloys, by_ase: ByAse) -> None:
    starts = alloys(2, ((2, 1, 1),))
    ours = sum(relaxed.steps for relaxed in etn_gpu.relax(model, starts, cell="full"))
    assert ours < 0.6 * sum(by_ase(start, 0.01)[1] for start in starts)
