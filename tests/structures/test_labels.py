"""Labels under every spelling and shape, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.structures import collect_labels, read_labelled

ENERGY = -1.25
FORCES = np.arange(12.0).reshape(4, 3) - 5.0
STRESS = np.array([0.1, 0.2, 0.3, 0.04, 0.05, 0.06])
MATRIX = np.array([[0.1, 0.06, 0.05], [0.06, 0.2, 0.04], [0.05, 0.04, 0.3]])


def labelled(prefix: str) -> Atoms:
    """fcc Al with all three labels under a prefix."""
    atoms = bulk("Al", cubic=True)
    atoms.info[f"{prefix}energy"] = ENERGY
    atoms.arrays[f"{prefix}forces"] = FORCES.copy()
    atoms.info[f"{prefix}stress"] = STRESS.copy()
    return atoms


def with_calculator(**results: object) -> Atoms:
    """fcc Al with results of a finished calculation."""
    atoms = bulk("Al", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.mark.parametrize("prefix", ["REF_", "", "dft_", "DFT_"])
def test_every_prefix(prefix: str) -> None:
    labels = collect_labels([labelled(prefix)])
    assert labels.energy.tolist() == [ENERGY]
    assert labels.forces[0] is not None
    assert np.array_equal(labels.forces[0], FORCES)
    assert np.array_equal(labels.stress, [STRESS])
    assert labels.keys == {name: {f"{prefix}{name}": 1} for name in ("energy", "forces", "stress")}


@pytest.mark.parametrize("prefix", ["REF_", "", "dft_", "DFT_"])
@pytest.mark.parametrize("name", ["a.extxyz", "a.extxyz.gz"])
def test_every_prefix_through_a_file(tmp_path: Path, prefix: str, name: str) -> None:
    atoms = labelled(prefix) if prefix else with_calculator(energy=ENERGY, forces=FORCES, stress=STRESS)
    atoms.info["config_type"] = "bulk"
    write(tmp_path / name, [atoms, molecule("H2O"), atoms])
    labels = read_labelled(tmp_path / name)
    assert len(labels) == 3
    assert labels.source == str(tmp_path / name)
    assert labels.energy[0] == pytest.approx(ENERGY)
    assert np.isnan(labels.energy[1])
    assert labels.forces[1] is None
    assert labels.forces[2] == pytest.approx(FORCES)
    assert labels.stress[2] == pytest.approx(STRESS)
    assert np.isnan(labels.stress[1]).all()
    assert labels.config_type == ["bulk", None, "bulk"]
    assert len(read_labelled(tmp_path / name, "1:")) == 2


def test_a_trajectory_with_a_calculator(tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.05)
    atoms.calc = EMT()
    expected = (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
    write(tmp_path / "a.traj", atoms)
    labels = read_labelled(tmp_path / "a.traj")
    assert labels.energy[0] == pytest.approx(expected[0])
    assert labels.forces[0] == pytest.approx(expected[1])
    assert labels.stress[0] == pytest.approx(expected[2])
    assert labels.keys["energy"] == {"calculator energy": 1}


def test_no_calculation_is_started() -> None:
    atoms = bulk("Al", cubic=True)
    atoms.calc = EMT()
    labels = collect_labels([atoms])
    assert np.isnan(labels.energy[0])
    assert atoms.calc.results == {}


def test_the_first_prefix_wins_property_by_property() -> None:
    atoms = with_calculator(energy=3.0, forces=np.ones((4, 3)), stress=np.ones(6))
    atoms.info["energy"] = 2.0
    atoms.info["REF_energy"] = 1.0
    atoms.arrays["dft_forces"] = FORCES
    labels = collect_labels([atoms])
    assert labels.energy[0] == 1.0
    assert labels.forces[0] is not None
    assert np.array_equal(labels.forces[0], FORCES)
    assert labels.stress[0].tolist() == [1.0] * 6
    assert labels.keys == {
        "energy": {"REF_energy": 1},
        "forces": {"dft_forces": 1},
        "stress": {"calculator stress": 1},
    }


@pytest.mark.parametrize(
    "stress", [STRESS, STRESS.tolist(), MATRIX, MATRIX.ravel(), MATRIX.tolist(), MATRIX + 1e-6 * np.eye(3, k=1)]
)
def test_every_shape_of_stress(stress: object) -> None:
    atoms = bulk("Al")
    atoms.info["REF_stress"] = stress
    assert collect_labels([atoms]).stress[0] == pytest.approx(STRESS, abs=1e-6)


@pytest.mark.parametrize("values", ["0.1 0.2 0.3 0.04 0.05 0.06", "0.1 0.06 0.05 0.06 0.2 0.04 0.05 0.04 0.3"])
@pytest.mark.parametrize("key", ["REF_stress", "stress", "dft_stress"])
def test_every_shape_of_stress_through_a_file(tmp_path: Path, key: str, values: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f'1\nLattice="3 0 0 0 3 0 0 0 3" {key}="{values}" energy=0.5\nAl 0 0 0\n')
    labels = read_labelled(path)
    assert labels.stress[0] == pytest.approx(STRESS)
    assert labels.energy[0] == 0.5


def test_seven_values_of_stress_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text('1\nLattice="3 0 0 0 3 0 0 0 3" stress="1 2 3 4 5 6 7" energy=0.5\nAl 0 0 0\n')
    with pytest.raises(DataError, match=r"a.xyz, frame 0 \(line 1\): not a valid XYZ frame .*stress"):
        read_labelled(path)


@pytest.mark.parametrize("energy", [-1.25, np.float64(-1.25), np.array(-1.25), [-1.25], "-1.25"])
def test_every_shape_of_energy(energy: object) -> None:
    atoms = bulk("Al")
    atoms.info["REF_energy"] = energy
    assert collect_labels([atoms]).energy.tolist() == [ENERGY]


def test_stress_without_full_periodicity_is_left_out() -> None:
    slab, crystal = labelled("REF_"), labelled("REF_")
    slab.pbc = (True, True, False)
    labels = collect_labels([slab, crystal])
    assert np.isnan(labels.stress[0]).all()
    assert np.array_equal(labels.stress[1], STRESS)
    assert labels.n_stress_ignored == 1
    assert labels.keys["stress"] == {"REF_stress": 1}


REFUSED: dict[str, tuple[str, Any, str]] = {
    "forces of too few atoms": ("REF_forces", FORCES[:3], r"has shape \(3, 3\): expected \(4, 3\)"),
    "forces as a flat list": ("REF_forces", FORCES.ravel(), r"has shape \(12,\): expected \(4, 3\)"),
    "forces in a plane": ("forces", FORCES[:, :2], r"has shape \(4, 2\): expected \(4, 3\)"),
    "infinite force": ("REF_forces", np.where(FORCES == 0, np.inf, FORCES), r"holds inf at \(1, 2\): expected forces"),
    "infinite energy": ("REF_energy", np.inf, "holds inf: expected one energy in eV, all finite"),
    "infinite energy as text": ("REF_energy", "-inf", "holds -inf: expected one energy"),
    "energy per atom": ("REF_energy", np.ones(4), r"has shape \(4,\): expected one total energy in eV"),
    "energy as a word": ("energy", "low", "is 'low': expected one energy in eV"),
    "stress of five": ("REF_stress", np.ones(5), r"has shape \(5,\): expected a stress .* 3x3, 9 or 6"),
    "stress of one": ("REF_stress", 0.3, r"has shape \(\): expected a stress"),
    "stress ragged": ("REF_stress", [[1.0, 2.0], [3.0]], r"is \[\[1.0, 2.0\], \[3.0\]\]: expected a stress"),
    "infinite stress": (
        "REF_stress",
        np.where(STRESS > 0.2, np.inf, STRESS),
        r"holds inf at \(2,\): expected a stress",
    ),
    "lopsided stress": ("REF_stress", MATRIX + np.eye(3, k=1), "is not symmetric"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    key, value, message = REFUSED[case]
    atoms = bulk("Al", cubic=True)
    store = atoms.arrays if "forces" in key and len(value) == len(atoms) else atoms.info
    store[key] = value
    with pytest.raises(DataError, match=f"train.xyz, frame 1: {key} {message}"):
        collect_labels([labelled("REF_"), atoms], source="train.xyz")


def test_a_broken_frame_stops_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\nenergy=1\nAl 0 0 0\n1\nenergy=1\nAl 0 0\n")
    with pytest.raises(DataError, match=r"a.xyz, frame 1 \(line 4\): not a valid XYZ frame"):
        read_labelled(path)


def test_the_frame_number_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\nenergy=1\nAl 0 0 0\n" * 3 + "1\nREF_energy=low\nAl 0 0 0\n")
    with pytest.raises(DataError, match=r"a\.xyz, frame 3: REF_energy is 'low'"):
        read_labelled(path, "2:")


@pytest.mark.skipif("ETN_GPU_DATA" not in os.environ, reason="ETN_GPU_DATA names no folder with the public data sets")
def test_a_public_data_set() -> None:
    labels = read_labelled(Path(os.environ["ETN_GPU_DATA"]) / "nbmotaw" / "test.extxyz.gz")
    audit = labels.audit()
    assert len(labels) == 376
    assert audit.n_atoms == 10448
    assert audit.energy.minimum == pytest.approx(-12.9246, abs=1e-4)
    assert audit.energy.maximum == pytest.approx(-9.6115, abs=1e-4)
    assert audit.forces.rms == pytest.approx(1.172, abs=1e-3)
    assert audit.stress.n_structures == 376
    assert [element.symbol for element in audit.elements] == ["Nb", "Mo", "Ta", "W"]
