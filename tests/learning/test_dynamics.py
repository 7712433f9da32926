"""Walks by a student: when they end and what they bring, that they are the same again, and as hot as they shall be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms

from etn_gpu.errors import LearningError, NetworkError, StructureError
from etn_gpu.learning.dynamics import DynamicsSettings, run_dynamics, time_step
from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.grade import graded
from etn_gpu.structures import StructureBatch

CALM = DynamicsSettings(temperature=300.0, steps=20, every=5, stop_grade=1e6)


def crystal(seed: int = 0, rattle: float = 0.05) -> Atoms:
    atoms = bulk("Al", cubic=True) * (2, 1, 1)
    atoms.rattle(rattle, seed=seed)
    return atoms


def student(strength: float) -> ETNPotential:
    """A random potential with forces of about ``strength`` eV/A, and grades of rattled crystals."""
    architecture = Architecture(("Al", "H"), 4.2, 1.5, 4, (3, 2), 2, 1, ("2x0e+1x1o", "2x0e+1x1o"))
    rng = np.random.default_rng(1)
    parameters = {name: 0.5 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    (found,) = ETNPotential(architecture, parameters).evaluate(crystal(), backend="numpy")
    parameters[architecture.train.cores[-1].name] *= strength / np.sqrt(np.mean(found["forces"] ** 2))
    model = ETNPotential(architecture, parameters)
    training = [crystal(seed, rattle) for seed in range(40) for rattle in (0.05, 0.1)]
    batch = StructureBatch.build(training, model.species, model.cutoff)
    return model.with_grade(graded(model, [batch], backend="numpy"))


@pytest.fixture(scope="module")
def calm() -> ETNPotential:
    return student(0.05)


@pytest.fixture(scope="module")
def wild() -> ETNPotential:
    """Forces that throw atoms out of every box."""
    return student(1e7)


def slab() -> Atoms:
    atoms = fcc111("Al", (2, 1, 3), vacuum=5.0)
    atoms.pbc = (True, True, False)
    return atoms


def cluster() -> Atoms:
    atoms = crystal()
    atoms.pbc = False
    return atoms


@pytest.mark.parametrize("make", [crystal, slab, cluster])
def test_a_walk_to_its_end(backend: str, calm: ETNPotential, make: Any) -> None:
    start = make()
    before = start.copy()
    found = run_dynamics(calm, start, CALM, 3, backend=backend)
    assert start == before
    assert (found.ended, found.steps_done, len(found.snapshots)) == ("end", 20, 4)
    assert 60.0 <= found.temperature <= 300.0
    results = calm.evaluate(found.snapshots, backend=backend, grade=True)
    np.testing.assert_allclose(found.grades, [r["extrapolation_grade"] for r in results], rtol=1e-9)
    for atoms in found.snapshots:
        assert np.array_equal(atoms.numbers, start.numbers)
        assert np.array_equal(atoms.cell.array, start.cell.array)
        assert np.array_equal(atoms.pbc, start.pbc)
        np.testing.assert_allclose(atoms.get_center_of_mass(), start.get_center_of_mass(), atol=1e-9)
    assert 0.01 < np.abs(found.snapshots[-1].positions - start.positions).max() < 1.0


def test_a_single_atom_goes_nowhere(calm: ETNPotential) -> None:
    found = run_dynamics(calm, Atoms("Al"), CALM, 0, backend="numpy")
    assert (found.ended, found.steps_done, found.snapshots) == ("end", 0, [])


def test_the_same_seed_gives_the_same_walk(backend: str, calm: ETNPotential) -> None:
    one, same, other = (run_dynamics(calm, crystal(), CALM, seed, backend=backend) for seed in (1, 1, 2))
    assert one.snapshots == same.snapshots
    assert (one.grades, one.temperature) == (same.grades, same.temperature)
    assert one.temperature != other.temperature
    assert one.snapshots != other.snapshots
    threads = run_dynamics(calm, crystal(), CALM, 1, backend=backend, threads=2)
    assert threads.snapshots == one.snapshots


def test_a_walk_is_the_same_however_often_it_is_looked_at(calm: ETNPotential) -> None:
    often = run_dynamics(calm, crystal(), replace(CALM, every=1), 1, backend="numpy")
    rarely = run_dynamics(calm, crystal(), CALM, 1, backend="numpy")
    assert often.snapshots[4::5] == rarely.snapshots
    assert often.grades[4::5] == rarely.grades


def test_the_first_structure_beyond_ends_a_walk(backend: str, calm: ETNPotential) -> None:
    """However rarely grades are looked at, it is the first since the last look."""
    settings = DynamicsSettings(temperature=3000.0, steps=30, every=1, stop_grade=1e6)
    free = run_dynamics(calm, crystal(), settings, 5, backend=backend)
    for every in (1, 7, 30):
        looks = free.grades[every - 1 :: every]
        stop = 0.5 * (max(looks[:-1], default=0.0) + looks[-1])
        look = next(n for n, grade in enumerate(looks) if grade > stop)
        first = next(n for n in range(look * every, 30) if free.grades[n] > stop)
        found = run_dynamics(
            calm, crystal(), replace(settings, every=every, stop_grade=max(stop, 1.0)), 5, backend=backend
        )
        assert (found.ended, found.steps_done) == ("grade", first + 1)
        assert len(found.snapshots) == look + 1
        assert found.snapshots[-1] == free.snapshots[first]
        assert found.grades == pytest.approx([*looks[:look], free.grades[first]])


def test_a_start_beyond_is_the_whole_walk(calm: ETNPotential) -> None:
    start = crystal()
    start.set_cell(0.7 * start.cell.array, scale_atoms=True)
    found = run_dynamics(calm, start, replace(CALM, stop_grade=1.5), 0, backend="numpy")
    assert (found.ended, found.steps_done) == ("grade", 0)
    assert found.snapshots == [start]
    assert found.grades[0] > 1.5


def test_an_explosion_ends_a_walk(backend: str, wild: ETNPotential) -> None:
    settings = DynamicsSettings(temperature=300.0, steps=300, every=1, stop_grade=1e300)
    found = run_dynamics(wild, crystal(), settings, 0, backend=backend)
    assert found.ended == "exploded"
    assert found.steps_done < 300
    assert len(found.snapshots) == found.steps_done
    assert all(np.isfinite(atoms.positions).all() for atoms in found.snapshots)


def test_what_led_to_an_explosion_is_found(backend: str, wild: ETNPotential) -> None:
    settings = DynamicsSettings(temperature=300.0, steps=300, every=300, stop_grade=1.5)
    found = run_dynamics(wild, crystal(), settings, 0, backend=backend)
    assert found.ended == "grade"
    assert len(found.snapshots) == 1
    assert found.steps_done <= 2
    assert found.grades[0] > 1.5


def test_atoms_without_forces_have_the_temperature(calm: ETNPotential) -> None:
    places = 9.0 * np.stack(np.meshgrid(*[range(4)] * 3), axis=-1).reshape(-1, 3)
    gas = Atoms(f"Al{len(places)}", places)
    settings = DynamicsSettings(temperature=1500.0, steps=300, timestep=2.0, every=1, stop_grade=1e6)
    found = run_dynamics(calm, gas, settings, 4, backend="numba")
    positions = np.array([atoms.positions for atoms in found.snapshots])
    velocities = (positions[2:] - positions[:-2]) / (4.0 * units.fs)
    masses = gas.get_masses()
    kinetic = 0.5 * (masses[:, None] * velocities**2).sum(axis=(1, 2)).mean()
    assert kinetic / (1.5 * (len(gas) - 1) * units.kB) == pytest.approx(found.temperature, rel=0.05)


@pytest.mark.parametrize(("formula", "expected"), [("AlH", 0.5), ("C2", 1.726), ("Al", 2.587), ("W", 4.0)])
def test_the_lightest_atom_sets_the_time_step(formula: str, expected: float) -> None:
    assert time_step(Atoms(formula)) == pytest.approx(expected, rel=1e-3)


def test_the_time_step_is_used(calm: ETNPotential) -> None:
    """After one step from the same velocities and noise, what atoms moved tells how long it was."""
    settings = DynamicsSettings(temperature=300.0, steps=1, every=1, stop_grade=1e6)
    gas = Atoms("Al2", [[0, 0, 0], [9, 0, 0]])
    default, same, short = (
        run_dynamics(calm, gas, replace(settings, timestep=dt), 0, backend="numpy").snapshots[0].positions
        - gas.positions
        for dt in (None, time_step(gas), 0.01)
    )
    assert np.array_equal(default, same)
    assert np.abs(default).max() > 50 * np.abs(short).max()


def test_snapshots_are_bare_and_nothing_is_fixed(calm: ETNPotential) -> None:
    start = crystal()
    start.info |= {"energy": -3.0, "charge": 0, "REF_energy": 2.0}
    start.new_array("forces", np.ones((8, 3)))
    start.set_initial_magnetic_moments(np.ones(8))
    start.set_constraint(FixAtoms(range(8)))
    for atoms in run_dynamics(calm, start, CALM, 0, backend="numpy").snapshots:
        assert atoms.calc is None
        assert not atoms.constraints
        assert atoms.info == {"charge": 0}
        assert set(atoms.arrays) == {"numbers", "positions", "initial_magmoms"}
        assert (np.abs(atoms.positions - start.positions) > 0).all()


def test_what_cannot_walk(calm: ETNPotential) -> None:
    with pytest.raises(StructureError, match="unknown element Fe"):
        run_dynamics(calm, bulk("Fe"), CALM, 0, backend="numpy")
    blind = ETNPotential(calm.architecture, calm.parameters)
    with pytest.raises(NetworkError, match="has nothing to tell an extrapolation grade by"):
        run_dynamics(blind, crystal(), CALM, 0, backend="numpy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a positive number, got 0.0"),
        ({"temperature": np.inf}, "temperature must be a positive number, got inf"),
        ({"timestep": -1.0}, "timestep must be a positive number, got -1.0"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"every": 2.5}, "every must be a whole number of at least 1, got 2.5"),
        ({"every": 50}, "every = 50: expected at most the 20 steps"),
        ({"stop_grade": 0.5}, "stop_grade must be a grade of at least 1, .* got 0.5"),
        ({"stop_grade": np.nan}, "stop_grade must .* got nan"),
    ],
)
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        replace(CALM, **changes)
