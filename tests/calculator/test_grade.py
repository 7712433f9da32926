"""Extrapolation grades in the calculator: when they are computed, what they tell, and what ASE makes of them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.db import connect
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import NetworkError
from etn_gpu.potential import ETNPotential, load
from etn_gpu.potential.grade import graded
from etn_gpu.structures import StructureBatch

GRADES = {"extrapolation_grade", "extrapolation_grades"}


@pytest.fixture(scope="module")
def training() -> list[Atoms]:
    """Rattled and strained crystals of both elements."""
    rng = np.random.default_rng(5)
    structures = []
    for _ in range(150):
        atoms = bulk("Ni", cubic=True, a=rng.uniform(3.5, 3.9))
        atoms.numbers[rng.random(4) < 0.5] = 13
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.1 * rng.normal(size=(4, 3))
        structures.append(atoms)
    return structures


@pytest.fixture(scope="module")
def model(potential: ETNPotential, training: list[Atoms]) -> ETNPotential:
    """The potential with grades."""
    batch = StructureBatch.build(training, potential.species, potential.cutoff)
    return potential.with_grade(graded(potential, [batch], backend="numpy"))


@pytest.fixture
def squeezed(alloy: Atoms) -> Atoms:
    """A crystal far outside of the training data."""
    alloy.set_cell(0.85 * alloy.cell.array, scale_atoms=True)
    return alloy


def moved(atoms: Atoms, step: int) -> Atoms:
    atoms.positions[0, 0] += 1e-3 * (step + 1)
    return atoms


def test_grades_are_among_the_results(backend: str, model: ETNPotential, alloy: Atoms) -> None:
    (expected,) = model.evaluate(alloy, backend=backend)
    calc = alloy.calc = ETNCalculator(model, backend=backend)
    assert alloy.get_potential_energy() == pytest.approx(expected["energy"], rel=1e-13)
    # With energies alone grades are there as well, and the same.
    assert calc.results.keys() == {"energy", "free_energy", "energies", *GRADES}
    only_energies = calc.results["extrapolation_grades"]
    alloy.get_forces()
    assert calc.results.keys() == {*calc.implemented_properties, *GRADES}
    for found in (only_energies, calc.results["extrapolation_grades"]):
        np.testing.assert_allclose(found, expected["extrapolation_grades"], rtol=1e-9)
    assert calc.results["extrapolation_grade"] == calc.results["extrapolation_grades"].max()


@pytest.mark.parametrize(
    ("every", "expected"), [(None, 7 * [1]), (1, 7 * [1]), (3, [1, 0, 0, 1, 0, 0, 1]), (0, 7 * [0])]
)
def test_grades_in_every_nth_evaluation(
    model: ETNPotential, alloy: Atoms, every: int | None, expected: Sequence[int]
) -> None:
    calc = alloy.calc = ETNCalculator(model, backend="numpy", grade=every)
    for step, there in enumerate(expected):
        moved(alloy, step).get_forces()
        assert calc.results.keys() >= {"energy", "forces", "stress"}
        assert (calc.results.keys() & GRADES) == (GRADES if there else set())
    assert calc.statistics.evaluations == 7


def test_forces_are_the_same_with_and_without(backend: str, model: ETNPotential, alloy: Atoms) -> None:
    results = []
    for every in (0, 1):
        alloy.calc = ETNCalculator(model, backend=backend, grade=every)
        results.append((alloy.get_potential_energy(), alloy.get_forces(), alloy.get_stress()))
    for without, with_grades in zip(*results, strict=True):
        np.testing.assert_allclose(with_grades, without, rtol=1e-11, atol=1e-11)


def test_extrapolating_follows_the_grade(model: ETNPotential, training: list[Atoms]) -> None:
    atoms = training[0].copy()
    calc = atoms.calc = ETNCalculator(model, backend="numpy", grade=2)
    good, near = atoms.cell.array.copy(), 0.85 * atoms.cell.array
    told: list[bool] = []
    # evaluations 0, 2 and 4 have grades; those between keep what was told last
    for cell in (good, near, near, good, good):
        atoms.set_cell(cell, scale_atoms=True)
        atoms.positions[0, 0] += 1e-4
        atoms.get_forces()
        told.append(calc.extrapolating)
    assert told == [False, False, True, True, False]


def test_extrapolating_follows_the_threshold(model: ETNPotential, squeezed: Atoms) -> None:
    calc = squeezed.calc = ETNCalculator(model, backend="numpy")
    squeezed.get_forces()
    grade = calc.results["extrapolation_grade"]
    assert grade > 1.5
    assert calc.extrapolating
    for threshold in (1.01 * grade, 0.99 * grade):
        assert calc.set(threshold=threshold) == {"threshold": threshold}
        squeezed.get_forces()
        assert calc.extrapolating is (threshold < grade)


def test_without_grades_distances_tell(model: ETNPotential) -> None:
    """With grade = 0 the flag is what it is for a model without grades."""
    limits = np.full((2, 2), 2.2)
    plain = ETNPotential(model.architecture, model.parameters, minimum_distances=limits)
    for calc in (ETNCalculator(plain), ETNCalculator(plain.with_grade(model.grade), grade=0)):
        atoms = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 2.1]])
        atoms.calc = calc
        atoms.get_forces()
        assert calc.extrapolating
        assert not calc.results.keys() & GRADES


def test_options_that_cannot_be(model: ETNPotential) -> None:
    for threshold in (0.99, 0.0, -2.0, np.nan):
        with pytest.raises(NetworkError, match=r"the threshold of the extrapolation grade must be 1 or more, got"):
            ETNCalculator(model, threshold=threshold)
    for every in (-1, 0.5, "often"):
        with pytest.raises(NetworkError, match=rf"grade = {every!r}: expected every how many evaluations, 0 for never"):
            ETNCalculator(model, grade=every)  # type: ignore[arg-type]
    plain = model.with_grade(None)
    message = "the model has nothing to tell an extrapolation grade by; `etn-gpu grade MODEL train.extxyz --output NEW"
    with pytest.raises(NetworkError, match=message):
        ETNCalculator(plain, grade=1)
    calc = ETNCalculator(plain)
    with pytest.raises(NetworkError, match=message):
        calc.set(grade=5)
    assert ETNCalculator(plain, grade=0).parameters["grade"] == 0


def test_copies_and_files(tmp_path: Path, model: ETNPotential, alloy: Atoms) -> None:
    calc = alloy.calc = ETNCalculator(model, backend="numpy", grade=2, threshold=3.0)
    alloy.get_forces()
    for other in (copy.deepcopy(calc), pickle.loads(pickle.dumps(calc))):
        assert other.results["extrapolation_grade"] == calc.results["extrapolation_grade"]
        assert (other.parameters["grade"], other.parameters["threshold"]) == (2, 3.0)
    model.save(tmp_path / "m.etn")
    stored = json.loads(json.dumps(calc.todict()))
    assert (stored["grade"], stored["threshold"]) == (2, 3.0)
    again = ETNCalculator(load(tmp_path / "m.etn"), backend="numpy")
    alloy.calc = again
    alloy.get_forces()
    np.testing.assert_array_equal(again.results["extrapolation_grades"], calc.results["extrapolation_grades"])


# -- what ASE makes of them --------------------------------------------------------------------------------------------


def test_export_properties_has_what_ase_knows(model: ETNPotential, alloy: Atoms) -> None:
    calc = alloy.calc = ETNCalculator(model, backend="numpy")
    alloy.get_stress()
    exported = calc.export_properties()
    assert not exported.keys() & GRADES
    assert {"energy", "free_energy", "energies", "forces", "stress"} <= exported.keys()
    np.testing.assert_array_equal(exported["forces"], calc.results["forces"])


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "a.json", "a.db"])
def test_files_of_ase(tmp_path: Path, name: str, model: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(model, backend="numpy")
    forces, energy = alloy.get_forces(), alloy.get_potential_energy()
    alloy.write(tmp_path / name)
    write(tmp_path / name, [alloy, alloy], append=name != "a.json")
    for back in read(tmp_path / name, ":"):
        assert back.get_potential_energy() == pytest.approx(energy, abs=1e-7)
        np.testing.assert_allclose(back.get_forces(), forces, atol=1e-7)


def test_a_database_keeps_results_and_parameters(tmp_path: Path, model: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(model, backend="numpy")
    alloy.get_stress()
    with connect(tmp_path / "a.db") as database:
        database.write(alloy, name="alloy")
        row = database.get(name="alloy")
    assert row.calculator == "etn_gpu"
    assert row.calculator_parameters["threshold"] == 1.5
    np.testing.assert_allclose(row.forces, alloy.get_forces())


def test_molecular_dynamics(tmp_path: Path, model: ETNPotential, alloy: Atoms) -> None:
    calc = alloy.calc = ETNCalculator(model, grade=5)
    alloy.set_velocities(np.random.default_rng(0).normal(scale=0.02, size=(len(alloy), 3)))
    dynamics = VelocityVerlet(alloy, 2 * units.fs, trajectory=str(tmp_path / "md.traj"))
    seen: list[float | None] = []
    dynamics.attach(lambda: seen.append(calc.results.get("extrapolation_grade")))
    dynamics.run(10)
    assert len(read(tmp_path / "md.traj", ":")) == 11
    assert [grade is not None for grade in seen] == [step % 5 == 0 for step in range(11)]
    numbers = [grade for grade in seen if grade is not None]
    assert len(set(numbers)) == 3
    assert all(0.0 < grade < 1e3 for grade in numbers)


def test_relaxation(model: ETNPotential, alloy: Atoms) -> None:
    graded_forces: list[Any] = []
    for every in (0, 1):
        atoms = alloy.copy()
        atoms.calc = ETNCalculator(model, backend="numpy", grade=every)
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=8)
        graded_forces.append(atoms.get_forces())
    np.testing.assert_allclose(graded_forces[1], graded_forces[0], atol=1e-7)
