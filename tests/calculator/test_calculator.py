"""The ASE calculator, tested with ASE's own machinery on a potential fitted to EMT."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from scipy.optimize import brentq

import etn_gpu
from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import BackendError, ModelFileError, NetworkError, StructureError
from etn_gpu.potential import Architecture, ETNPotential


def test_all_properties(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(potential, backend=backend)
    (expected,) = potential.evaluate(alloy, backend=backend)
    assert alloy.get_potential_energy() == pytest.approx(expected["energy"], rel=1e-13)
    assert alloy.get_potential_energy(force_consistent=True) == alloy.get_potential_energy()
    np.testing.assert_allclose(alloy.get_potential_energies(), expected["energies"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(alloy.get_forces(), expected["forces"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(alloy.get_stress(), expected["stress"], rtol=0, atol=1e-13)
    np.testing.assert_allclose(alloy.get_stresses().sum(axis=0), expected["stress"], rtol=0, atol=1e-13)
    assert set(alloy.calc.results) == set(alloy.calc.implemented_properties)


def test_the_model_by_path_or_by_name(tmp_path: Path, potential: ETNPotential, alloy: Atoms) -> None:
    potential.save(tmp_path / "alni.etn")
    alloy.calc = etn_gpu.ETNCalculator(tmp_path / "alni.etn")
    assert alloy.get_potential_energy() == pytest.approx(potential.evaluate(alloy)[0]["energy"], rel=1e-13)
    with pytest.raises(ModelFileError, match=r"no model file 'nothing\.etn', nor a shipped model"):
        ETNCalculator("nothing.etn")


def test_nothing_is_calculated_twice(backend: str, keeps_lists: bool, potential: ETNPotential, alloy: Atoms) -> None:
    calc = alloy.calc = ETNCalculator(potential, backend=backend)
    alloy.get_potential_energy()
    assert set(calc.results) == {"energy", "free_energy", "energies"}
    alloy.get_potential_energies()
    assert calc.statistics.evaluations == 1
    alloy.get_stress()
    for _ in range(2):
        alloy.get_forces()
        alloy.get_potential_energy()
        alloy.get_stresses()
        alloy.set_initial_magnetic_moments(np.ones(len(alloy)))
        alloy.set_initial_charges(np.ones(len(alloy)))
    assert calc.statistics.evaluations == 2
    assert calc.statistics.neighbour_lists == (1 if keeps_lists else 2)
    alloy.positions[0, 0] += 1e-9
    assert calc.get_property("forces", alloy, allow_calculation=False) is None
    alloy.get_forces()
    assert (calc.statistics.evaluations, calc.statistics.neighbour_lists) == (3, 1 if keeps_lists else 3)


def test_the_least_change_is_seen(potential: ETNPotential, alloy: Atoms) -> None:
    calc = ETNCalculator(potential, backend="numpy")
    assert "positions" in calc.check_state(alloy)
    calc.get_property("energy", alloy)
    assert calc.check_state(alloy.copy()) == []
    changes = {name: alloy.copy() for name in ("positions", "cell", "numbers", "pbc")}
    changes["positions"].positions[3, 1] = np.nextafter(alloy.positions[3, 1], 9.0)
    changes["cell"].cell[1, 1] = np.nextafter(alloy.cell[1, 1], 9.0)
    changes["numbers"].numbers[0] += 1
    changes["pbc"].pbc[2] = False
    for name, atoms in changes.items():
        assert calc.check_state(atoms) == [name]
    assert calc.check_state(alloy[:-1]) == ["positions", "numbers"]


def bad_position(atoms: Atoms) -> None:
    atoms.positions[2, 1] = np.nan


def bad_cell(atoms: Atoms) -> None:
    atoms.cell.array[0, 0] = np.inf


def no_volume(atoms: Atoms) -> None:
    atoms.cell.array[1] = atoms.cell.array[0]


def same_place(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0]


def unknown_element(atoms: Atoms) -> None:
    atoms.numbers[5] = 54


def far_away(atoms: Atoms) -> None:
    atoms.positions += 1e9


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_position, r"atom 2 is at \(.*nan.*\) A: expected finite positions"),
        (bad_cell, "cell .*inf.*: expected finite vectors"),
        (no_volume, "these vectors span no volume"),
        (same_place, r"atom 0 \(Al\) and atom 1 \(Ni\) are at one place"),
        (unknown_element, "unknown element Xe: the known species are Al, Ni"),
        (far_away, "expected finite positions within 1e.07 A"),
    ],
)
def test_bad_structures_are_found_with_an_old_list_too(
    spoil: object, message: str, backend: str, potential: ETNPotential, alloy: Atoms
) -> None:
    good = alloy.copy()
    # a skin so large that the list of the good structure would serve for all of them
    alloy.calc = ETNCalculator(potential, backend=backend, skin=6.0)
    energy = alloy.get_potential_energy()
    assert callable(spoil)
    spoil(alloy)
    for _ in range(2):
        with pytest.raises(StructureError, match=message):
            alloy.get_forces()
        with pytest.raises(StructureError, match=message):
            alloy.get_potential_energy()
    good.calc = alloy.calc
    assert good.get_potential_energy() == pytest.approx(energy, rel=1e-13)


def test_two_atoms_pushed_onto_one_place_inside_the_skin(potential: ETNPotential) -> None:
    atoms = Atoms("Al3", positions=[[0, 0, 0], [0, 0, 2.4], [0, 2.4, 0]])
    atoms.calc = ETNCalculator(potential, skin=4.0)
    atoms.get_forces()
    atoms.positions[0, 2] += 1.2
    atoms.positions[1, 2] -= 1.2
    with pytest.raises(StructureError, match=r"atom 0 \(Al\) and atom 1 \(Al\) are at one place"):
        atoms.get_forces()


def test_no_structure(potential: ETNPotential) -> None:
    with pytest.raises(StructureError, match=r"there is no structure to calculate: expected an ase\.Atoms"):
        ETNCalculator(potential).get_property("energy")
    with pytest.raises(StructureError, match="no atoms: expected at least one"):
        ETNCalculator(potential).get_property("energy", Atoms())


@pytest.mark.parametrize("name", ["stress", "stresses"])
def test_no_stress_without_full_periodicity(name: str, potential: ETNPotential, slab: Atoms) -> None:
    calc = slab.calc = ETNCalculator(potential)
    message = rf"{name} needs periodicity in all three directions, got pbc = \(True, True, False\)"
    with pytest.raises(PropertyNotImplementedError, match=message):
        calc.get_property(name, slab)
    assert calc.statistics.evaluations == 0
    slab.get_forces()
    with pytest.raises(PropertyNotImplementedError, match=message):
        calc.get_property(name)
    with pytest.raises(PropertyNotImplementedError, match="dipole property not implemented"):
        slab.get_dipole_moment()
    assert calc.statistics.evaluations == 1


def test_options_that_cannot_be(potential: ETNPotential, alloy: Atoms) -> None:
    with pytest.raises(BackendError, match="'abacus' is not a backend; those that can run here"):
        ETNCalculator(potential, backend="abacus")
    with pytest.raises(BackendError, match="dtype='int8' is not supported"):
        ETNCalculator(potential, dtype="int8")
    for skin in (-0.1, np.nan, np.inf, "wide", None):
        with pytest.raises(StructureError, match=r"skin = .*: expected a number of Angstrom, 0 or more"):
            ETNCalculator(potential, skin=skin)  # type: ignore[arg-type]
    alloy.calc = ETNCalculator(potential, skin=200.0)
    with pytest.raises(StructureError, match=r"cutoff = 204\.6: expected a radius above 0 and up to 100 Angstrom"):
        alloy.get_potential_energy()
    covariant = Architecture(("Al",), 4.0, 1.0, 2, (1, 1), 1, 1, ("1x0e+1x1o",), "1x1o")
    zeros = {name: np.zeros(shape) for name, shape in covariant.parameter_shapes.items()}
    with pytest.raises(NetworkError, match="covariant output 1x1o; a calculator needs an energy"):
        ETNCalculator(ETNPotential(covariant, zeros))


def test_options_that_change(potential: ETNPotential, alloy: Atoms) -> None:
    calc = alloy.calc = ETNCalculator(potential, backend="numpy")
    double = alloy.get_potential_energy()
    assert calc.set(skin=0.5) == {}
    assert calc.results
    assert calc.set(dtype="float32", skin=1) == {"dtype": "float32", "skin": 1}
    single = alloy.get_potential_energy()
    assert single != double
    assert single == pytest.approx(double, rel=1e-5)
    assert calc.statistics.neighbour_lists == 2
    with pytest.raises(
        TypeError, match=r"unknown parameters \['colour'\]; expected backend, dtype, grade, skin, threads, threshold"
    ):
        calc.set(colour="red")
    with pytest.raises(BackendError, match="is not a backend"):
        calc.set(backend="abacus")
    assert alloy.get_potential_energy() == single


def test_copies(
    backend: str, keeps_lists: bool, assert_fresh: Callable[[Atoms, str], None], potential: ETNPotential, alloy: Atoms
) -> None:
    alloy.calc = ETNCalculator(potential, backend=backend, threads=1, skin=0.7)
    forces = alloy.get_forces()
    for other in (pickle.loads(pickle.dumps(alloy)), copy.deepcopy(alloy)):
        assert other.calc is not alloy.calc
        assert other.calc.parameters == alloy.calc.parameters
        assert np.array_equal(other.get_forces(), forces)
        assert other.calc.statistics.evaluations == 1
        other.positions[0] += 0.05
        assert_fresh(other, backend)
        assert other.calc.statistics.neighbour_lists == (2 if keeps_lists else other.calc.statistics.evaluations)
    assert alloy.calc.statistics.neighbour_lists == 1
    # the list alone would be much more: about 60 edges of 52 bytes for each atom
    assert len(pickle.dumps(alloy.calc)) < len(pickle.dumps(potential)) + 20_000


def test_what_ase_stores(tmp_path: Path, potential: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(potential, threads=2)
    stored = json.loads(json.dumps(alloy.calc.todict()))
    assert stored == {"model": repr(potential), "threads": 2, "skin": 0.5, "threshold": 1.5}
    assert alloy.calc.name == "etn_gpu"
    forces, stress = alloy.get_forces(), alloy.get_stress()
    for name in ("relaxed.traj", "relaxed.extxyz"):
        write(tmp_path / name, alloy)
        back = read(tmp_path / name)
        assert isinstance(back, Atoms)
        np.testing.assert_allclose(back.get_forces(), forces, atol=1e-7)
        np.testing.assert_allclose(back.get_stress(), stress, atol=1e-7)


def test_extrapolation_is_told(potential: ETNPotential) -> None:
    limits = np.full((2, 2), 2.2)
    calc = ETNCalculator(ETNPotential(potential.architecture, potential.parameters, minimum_distances=limits))
    atoms = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 2.3]])
    atoms.calc = calc
    for distance, expected in ((2.3, False), (2.15, True), (2.25, False)):
        atoms.positions[1, 2] = distance
        atoms.get_potential_energy()
        assert calc.extrapolating is expected


def test_equation_of_state(backend: str, potential: ETNPotential) -> None:
    """Volume and bulk modulus from energies agree with zero and slope of the pressure."""
    calc = ETNCalculator(potential, backend=backend)

    def crystal(a: float) -> Atoms:
        atoms = bulk("Al", a=a)
        atoms.calc = calc
        return atoms

    def pressure(a: float) -> float:
        return -float(crystal(a).get_stress()[:3].mean())

    a0 = brentq(pressure, 3.8, 4.2, xtol=1e-10)
    crystals = [crystal(a0 * scale) for scale in np.linspace(0.995, 1.005, 9)]
    volumes = [atoms.get_volume() for atoms in crystals]
    eos = EquationOfState(volumes, [atoms.get_potential_energy() for atoms in crystals], eos="birchmurnaghan")
    v0, _, modulus = eos.fit()
    assert v0 == pytest.approx(a0**3 / 4, rel=1e-4)
    slope = (pressure(a0 * 1.0001) - pressure(a0 * 0.9999)) / (3 * 0.0002)
    assert modulus == pytest.approx(-slope, rel=0.02)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_relaxation_of_atoms_and_cell(
    backend: str, keeps_lists: bool, dtype: str, potential: ETNPotential, alloy: Atoms
) -> None:
    calc = alloy.calc = ETNCalculator(potential, backend=backend, dtype=dtype)
    before = alloy.get_potential_energy()
    optimizer = BFGS(FrechetCellFilter(alloy), logfile=None)  # type: ignore[arg-type]
    assert optimizer.run(fmax=0.005, steps=150)
    assert alloy.get_potential_energy() < before - 0.5
    assert np.abs(alloy.get_forces()).max() < 0.005
    assert np.abs(alloy.get_stress()).max() < 5e-4
    if keeps_lists:
        assert calc.statistics.neighbour_lists < 0.5 * calc.statistics.evaluations


def test_energy_is_conserved(backend: str, keeps_lists: bool, potential: ETNPotential, alloy: Atoms) -> None:
    """The fluctuation of velocity Verlet falls with the square of the time step, and nothing drifts."""
    alloy.calc = ETNCalculator(potential, backend=backend)
    BFGS(alloy, logfile=None).run(fmax=0.05, steps=50)
    speeds = np.sqrt(units.kB * 600 / alloy.get_masses())
    velocities = speeds[:, None] * np.random.default_rng(3).normal(size=(len(alloy), 3))
    alloy.set_velocities(velocities - velocities.mean(axis=0))

    def total_energies(timestep: float, steps: int) -> np.ndarray:
        atoms = alloy.copy()
        atoms.calc = ETNCalculator(potential, backend=backend)
        energies: list[float] = []
        dynamics = VelocityVerlet(atoms, timestep=timestep * units.fs)
        dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
        dynamics.run(steps)
        if keeps_lists:
            assert atoms.calc.statistics.neighbour_lists < 0.3 * atoms.calc.statistics.evaluations
        return np.array(energies) / len(atoms)

    coarse, fine = total_energies(4.0, 30), total_energies(1.0, 120)
    assert np.ptp(coarse) < 4e-3
    assert np.ptp(fine) < 0.15 * np.ptp(coarse)
    drift = np.polyfit(np.arange(len(fine)), fine, 1)[0] * len(fine)
    assert abs(drift) < 2e-5


def test_numerical_forces_and_stress(backend: str, potential: ETNPotential, alloy: Atoms, slab: Atoms) -> None:
    for atoms in (alloy, slab):
        atoms.calc = ETNCalculator(potential, backend=backend)
        numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 3])
        np.testing.assert_allclose(atoms.get_forces()[[0, 3]], numerical, rtol=0, atol=1e-6)
    numerical = calculate_numerical_stress(alloy, eps=1e-5)
    np.testing.assert_allclose(alloy.get_stress(), numerical, rtol=0, atol=1e-7)
