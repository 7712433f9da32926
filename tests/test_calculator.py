"""The ASE calculator, tested with ASE's own machinery on a potential fitted to EMT; the skin of its neighbour list."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

import etn_gpu
from etn_gpu.calculator import ETNCalculator, SkinList, Statistics
from etn_gpu.errors import BackendError, ModelFileError, NetworkError, StructureError
from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch

CUTOFF = 4.6


def training_structures(rng: np.random.Generator) -> list[Atoms]:
    """Strained and rattled fcc cells of Al, Ni and their alloys."""
    out = []
    for _ in range(250):
        atoms = bulk("Al", cubic=True, a=rng.uniform(3.3, 4.6))
        atoms.numbers[rng.random(4) < rng.choice([0.0, 0.5, 1.0])] = 28
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.uniform(0, 0.2) * rng.normal(size=(4, 3))
        out.append(atoms)
    return out


@pytest.fixture(scope="session")
def potential() -> ETNPotential:
    """Al-Ni: random cores, but for the last one and the references, in which the energy is linear: fitted to EMT."""
    rng = np.random.default_rng(0)
    architecture = Architecture(("Al", "Ni"), CUTOFF, 1.8, 6, (6, 4, 3), 2, 2, ("5x0e+3x1o+3x2e", "6x0e+4x1o+3x2e"))
    parameters = {name: 0.4 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    structures = training_structures(rng)
    batch = StructureBatch.build(structures, architecture.species, CUTOFF)
    energies = []
    for atoms in structures:
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    last = architecture.train.cores[-1].name
    kernel = Kernel(architecture, Execution("numpy"))
    ones = np.ones(batch.n_atoms)
    rows = kernel.parameter_gradient(parameters, Environments.of(batch), ones, None, batch.atom_offsets)
    matrix = np.hstack([rows[last], rows["E0"]])
    scale = np.sqrt(np.mean(matrix**2, axis=0))
    ridge = 1e-3 * np.eye(len(scale))
    target = np.concatenate([energies, np.zeros(len(scale))])
    solution = np.linalg.lstsq(np.vstack([matrix / scale, ridge]), target, rcond=None)[0] / scale
    parameters[last], parameters["E0"] = solution[:-2], solution[-2:]
    fitted = ETNPotential(architecture, parameters)
    found = [r["energy"] for r in fitted.evaluate(structures, forces=False, stress=False)]
    assert np.sqrt(np.mean(np.subtract(found, energies) ** 2)) < 0.1
    return fitted


@pytest.fixture
def alloy() -> Atoms:
    """A rattled and strained L1_2 Ni3Al crystal of 32 atoms."""
    atoms = bulk("Ni", cubic=True, a=3.7)
    atoms.numbers[0] = 13
    atoms = atoms * 2
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + 0.02 * np.array([[1, 1, 0], [0, -1, 1], [0, 0, 1]])), scale_atoms=True
    )
    atoms.rattle(0.08, seed=4)
    return atoms


@pytest.fixture
def slab() -> Atoms:
    """A surface, periodic in two directions, in a skewed cell smaller than the cutoff."""
    atoms = fcc111("Al", (1, 1, 4), a=4.0, vacuum=6.0)
    atoms.numbers[::2] = 28
    atoms.rattle(0.1, seed=1)
    return atoms


def fresh(atoms: Atoms, potential: ETNPotential, backend: str) -> dict[str, np.ndarray]:
    """The properties from a new evaluation, with no skin."""
    (result,) = potential.evaluate(atoms, backend=backend)
    return result


def assert_fresh(atoms: Atoms, backend: str) -> None:
    """The calculator of ``atoms`` gives what an evaluation without a skin gives."""
    expected = fresh(atoms, atoms.calc.model, backend)
    for name, values in expected.items():
        found = atoms.calc.get_property(name, atoms)
        np.testing.assert_allclose(found, values, rtol=0, atol=1e-12 * max(1, np.abs(values).max()), err_msg=name)


def test_all_properties(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(potential, backend=backend)
    expected = fresh(alloy, potential, backend)
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


def test_nothing_is_calculated_twice(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
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
    assert calc.statistics.neighbour_lists == 1
    alloy.positions[0, 0] += 1e-9
    assert calc.get_property("forces", alloy, allow_calculation=False) is None
    alloy.get_forces()
    assert (calc.statistics.evaluations, calc.statistics.neighbour_lists) == (3, 1)


@pytest.mark.parametrize("skin", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["alloy", "slab", "cluster", "primitive"])
def test_the_skin_does_not_change_results(
    backend: str, skin: float, name: str, potential: ETNPotential, alloy: Atoms, slab: Atoms
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
    assert built <= steps if skin == 0 else built < steps


def test_a_kept_list_gives_the_same_numbers_bit_for_bit(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
    calc = ETNCalculator(potential, backend=backend, skin=1.0)
    rng = np.random.default_rng(3)
    for _ in range(5):
        alloy.positions += 0.03 * rng.normal(size=alloy.positions.shape)
        alloy.set_cell(alloy.cell.array @ (np.eye(3) + 0.005 * rng.normal(size=(3, 3))), scale_atoms=True)
        for name, values in fresh(alloy, potential, backend).items():
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


def test_when_the_neighbour_list_is_built_again(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
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


def test_a_dimer_that_flies_together(backend: str, potential: ETNPotential) -> None:
    """A pair far outside the list at the build must be found when it comes in."""
    atoms = Atoms("AlNi", positions=[[0, 0, 0], [9.0, 0.3, 0.1]])
    atoms.calc = ETNCalculator(potential, backend=backend, skin=0.7)
    for distance in np.arange(9.0, 2.0, -0.2):
        atoms.positions[1, 0] = distance
        assert_fresh(atoms, backend)
    assert 2 < atoms.calc.statistics.neighbour_lists < 25


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
    with pytest.raises(TypeError, match=r"unknown parameters \['colour'\]; expected backend, dtype, threads or skin"):
        calc.set(colour="red")
    with pytest.raises(BackendError, match="is not a backend"):
        calc.set(backend="abacus")
    assert alloy.get_potential_energy() == single


def test_copies(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(potential, backend=backend, threads=1, skin=0.7)
    forces = alloy.get_forces()
    for other in (pickle.loads(pickle.dumps(alloy)), copy.deepcopy(alloy)):
        assert other.calc is not alloy.calc
        assert other.calc.parameters == alloy.calc.parameters
        assert np.array_equal(other.get_forces(), forces)
        assert other.calc.statistics.evaluations == 1
        other.positions[0] += 0.05
        assert_fresh(other, backend)
        assert other.calc.statistics.neighbour_lists == 2
    assert alloy.calc.statistics.neighbour_lists == 1
    # the list alone would be much more: about 60 edges of 52 bytes for each atom
    assert len(pickle.dumps(alloy.calc)) < len(pickle.dumps(potential)) + 20_000


def test_what_ase_stores(tmp_path: Path, potential: ETNPotential, alloy: Atoms) -> None:
    alloy.calc = ETNCalculator(potential, threads=2)
    stored = json.loads(json.dumps(alloy.calc.todict()))
    assert stored == {"model": repr(potential), "threads": 2, "skin": 0.5}
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
def test_relaxation_of_atoms_and_cell(backend: str, dtype: str, potential: ETNPotential, alloy: Atoms) -> None:
    calc = alloy.calc = ETNCalculator(potential, backend=backend, dtype=dtype)
    before = alloy.get_potential_energy()
    optimizer = BFGS(FrechetCellFilter(alloy), logfile=None)  # type: ignore[arg-type]
    assert optimizer.run(fmax=0.005, steps=150)
    assert alloy.get_potential_energy() < before - 0.5
    assert np.abs(alloy.get_forces()).max() < 0.005
    assert np.abs(alloy.get_stress()).max() < 5e-4
    assert calc.statistics.neighbour_lists < 0.5 * calc.statistics.evaluations


def test_energy_is_conserved(backend: str, potential: ETNPotential, alloy: Atoms) -> None:
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
