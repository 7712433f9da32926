"""A label that is there is used, or a warning names it: in `evaluate`, `train` and `screen --structures`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import units

from etn_gpu.structures import read_labelled

from .conftest import MODEL, Evaluate, Evaluation, Labelled
from .xyz_text import Entries, matrix, write_dialect

UNUSED: dict[str, tuple[Entries, str]] = {
    "Energy_total": (lambda x: {"Energy_total": x.energy}, "Energy_total (3 structures)"),
    "mace_energy": (lambda x: {"mace_energy": x.energy}, "mace_energy"),
    "TotEnergy": (lambda x: {"TotEnergy": x.energy}, "TotEnergy"),
    "E": (lambda x: {"E": x.energy}, "E (3 structures)"),
    "E0": (lambda x: {"E0": x.energy}, "E0"),
    "atomization_energy": (lambda x: {"atomization_energy": x.energy}, "atomization_energy"),
    "my-virial": (lambda x: {"my-virial": x.virial}, "my-virial"),
    "stress_dft": (lambda x: {"stress_dft": matrix(x)}, "stress_dft"),
}
UNUSED_COLUMNS: dict[str, tuple[Entries, str]] = {
    "forces_dft": (lambda x: {"forces_dft": x.forces}, "forces_dft"),
    "gradient": (lambda x: {"gradient": x.forces}, "gradient"),
    "energies": (lambda x: {"energies": x.forces[:, 0]}, "energies"),
    "energy of the atoms": (lambda x: {"energy": x.forces[:, 0]}, "energy"),
    "stresses": (lambda x: {"stresses": x.forces.repeat(2, axis=1)}, "stresses"),
}


def warnings_of(result: Evaluation) -> str:
    """All warnings; those on the screen are those in the JSON file."""
    messages = [warning["message"] for warning in result.numbers["warnings"]]
    assert all(f"{warning['source']}: warning: {warning['message']}" in result.out
               for warning in result.numbers["warnings"])  # fmt: skip
    return "\n".join(messages)


@pytest.mark.parametrize("name", UNUSED)
def test_entries_that_look_like_labels(name: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    entries, named = UNUSED[name]
    forces = None if name == "forces_dft" else lambda x: {"REF_forces": x.forces}
    result = evaluate(write_dialect(tmp_path / "a.xyz", alloys, entries, forces))
    assert result.code == 0
    assert f"not used, though named like labels: {named}" in warnings_of(result)
    assert "--energy-key" in result.out


@pytest.mark.parametrize("name", UNUSED_COLUMNS)
def test_columns_that_look_like_labels(name: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    columns, named = UNUSED_COLUMNS[name]
    result = evaluate(write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"REF_energy": x.energy}, columns))
    assert result.code == 0, result.err
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)
    assert f"not used, though named like labels: {named} (3 structures)" in warnings_of(result)


def test_what_is_no_label_is_not_named(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    about = {
        "energy_weight": 1.0, "config_forces_weight": 2.0, "energy_sigma": 0.1, "force_field": "none", "temperature": 3,
        "forces_source": "DFT", "unit_cell": "primitive", "formula_units": 2, "max_force": 0.3, "dipole": [1.0, 0, 0],
    }  # fmt: skip
    share = {name: (lambda x: {"energies": x.forces[:, 0] * 0 + x.energy / len(x.atoms)}) for name in ("energies",)}
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy, **about}, share["energies"])
    assert warnings_of(evaluate(path)) == ""


def test_comments_in_words_are_no_labels(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {}, lambda x: {"forces": x.forces})
    path.write_text(path.read_text().replace(" Properties", " energy: -42.1 energy Properties"))
    result = evaluate(path)
    assert result.error("energy") is None
    assert "energy" in warnings_of(result)


CONTRADICTIONS: dict[str, tuple[Entries, str]] = {
    "case": (
        lambda x: {"energy": x.energy, "Energy": x.energy + 16},
        "energy was taken as the energy; Energy is there as well and differs by up to 1 eV/atom in 3 structures",
    ),
    "prefix": (lambda x: {"REF_energy": x.energy, "energy": 0.0}, "REF_energy was taken as the energy; energy is"),
    "free energy": (lambda x: {"energy": x.energy, "free_energy": x.energy - 8}, "free_energy is there as well"),
    "stress and virial": (
        lambda x: {"energy": x.energy, "stress": matrix(x), "virial": -x.virial},
        "stress was taken as the stress; virial is there as well and differs by up to",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions(name: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    entries, message = CONTRADICTIONS[name]
    result = evaluate(write_dialect(tmp_path / "a.xyz", alloys, entries))
    assert message in warnings_of(result)
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)
    assert result.error("stress") in (None, pytest.approx(0.0, abs=1e-7))


def test_agreement_needs_no_word(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(
        tmp_path / "a.xyz",
        alloys,
        lambda x: {"energy": x.energy, "free_energy": x.energy, "stress": matrix(x), "virial": x.virial},
        lambda x: {"forces": x.forces, "force": x.forces},
    )
    assert warnings_of(evaluate(path)) == ""


def test_units_for_some_labels_only(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(
        tmp_path / "a.xyz",
        alloys,
        lambda x: {"energy": x.energy / units.Hartree, "energy-unit": "hartree"},
        lambda x: {"forces": x.forces},
    )
    result = evaluate(path)
    assert result.error("forces") == pytest.approx(0.0, abs=1e-7)
    assert "units are stated (energy), but none for the forces in 3 structures: read as eV/A" in warnings_of(result)


def test_a_unit_for_the_stress_alone_is_usual(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(
        tmp_path / "a.xyz",
        alloys,
        lambda x: {"energy": x.energy, "stress": matrix(x) / units.GPa, "stress-unit": "GPa"},
        lambda x: {"forces": x.forces},
    )
    result = evaluate(path)
    assert result.error("stress") == pytest.approx(0.0, abs=1e-7)
    assert warnings_of(result) == ""


REFUSED: dict[str, tuple[Entries, list[str], list[str]]] = {
    "unit": (lambda x: {"energy": x.energy, "energy-unit": "parsec"}, [], ["frame 0", "energy-unit=parsec", "hartree"]),
    "wrong kind": (lambda x: {"energy": x.energy, "energy_unit": "GPa"}, [], ["energy_unit=GPa is no unit of energy"]),
    "lopsided stress": (
        lambda x: {"energy": x.energy, "stress": matrix(x) + 0.1 * np.eye(3, k=1)},
        [],
        ["stress is not symmetric"],
    ),
    "lopsided virial": (
        lambda x: {"energy": x.energy, "virial": x.virial + 30 * np.eye(3, k=1)},
        [],
        ["virial is not symmetric"],
    ),
    "infinite": (lambda x: {"energy": "inf"}, [], ["energy holds inf"]),
    "key that is nowhere": (
        lambda x: {"energy": x.energy, "Etot": x.energy},
        ["--energy-key", "total"],
        ["'total', asked for as energy, is in none of 3 structures", "Etot"],
    ),
    "virial key that is nowhere": (
        lambda x: {"energy": x.energy},
        ["--virial-key", "virial"],
        ["'virial', asked for as virial", "results of a calculator ['energy']"],
    ),
    "nothing but NaN": (lambda x: {"energy": "nan"}, [], ["all that is there is NaN"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    entries, options, messages = REFUSED[name]
    result = evaluate(write_dialect(tmp_path / "a.xyz", alloys, entries), *options)
    assert result.code == 2
    for message in messages:
        assert message in result.err


@pytest.mark.parametrize("unit", ["parsec", "fathom"])
def test_lengths_in_unknown_units_fail(unit: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy})
    lines = path.read_text().replace("Properties", f"position_unit={unit} Properties", 1)
    path.write_text(lines)
    result = evaluate(path)
    assert result.code == 1
    assert f"position_unit={unit} states no unit that is known" in result.out
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)


def test_positions_alone_in_bohr_are_refused(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy})
    path.write_text(path.read_text().replace("Properties", "position_unit=bohr Properties", 1))
    result = evaluate(path)
    assert result.code == 1
    assert "position_unit=bohr gives no unit of the cell" in result.out


def test_an_empty_entry_does_not_take_the_next_one(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"comment": "", "energy": x.energy})
    assert evaluate(path).error("energy") == pytest.approx(0.0, abs=1e-7)
    path.write_text(path.read_text().replace('comment=""', "comment="))
    assert evaluate(path).error("energy") == pytest.approx(0.0, abs=1e-7)


def test_evaluate_has_the_warnings_of_the_audit(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(
        tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy, "stress": -matrix(x) / (0.1 * units.GPa)}
    )
    assert "are the labels in GPa or kbar?" in warnings_of(evaluate(path))
    path.write_text(path.read_text().replace("Properties", 'pbc="T T F" Properties'))
    assert "stress ignored in 3 structures" in warnings_of(evaluate(path))


def test_train_names_them_too(alloys: list[Labelled], run: Callable[..., Any], tmp_path: Path) -> None:
    path = write_dialect(
        tmp_path / "a.xyz",
        alloys,
        lambda x: {"Energy_total": x.energy, "Etot": x.energy, "virial": x.virial},
        lambda x: {"force": x.forces},
    )
    # Without its validation file the run ends after the audit.
    arguments = ("train", path, "-o", tmp_path / "m.etn", "--valid", tmp_path / "none.xyz")
    finished = run(*arguments)
    assert finished.code == 2
    assert "warning: not used, though named like labels: Energy_total (3 structures), Etot (3" in finished.out
    assert "force (3)" in finished.out
    assert "virial (3)" in finished.out
    finished = run(*arguments, "--energy-key", "Etot", "--forces-key", "force", "--virial-key", "virial")
    assert "Etot (3)" in finished.out
    assert "warning" not in finished.out
    assert "asked for as stress, is in none" in run(*arguments, "--stress-key", "sigma").err


def test_screening_tells_what_became_of_labels(
    alloys: list[Labelled], run: Callable[..., Any], tmp_path: Path, evaluate: Evaluate
) -> None:
    path = write_dialect(
        tmp_path / "a.xyz",
        alloys,
        lambda x: {"energy": x.energy, "REF_energy": x.energy, "Virial": x.virial},
        lambda x: {"force": x.forces},
    )
    written = tmp_path / "out.xyz"
    finished = run("screen", MODEL, path, "-o", tmp_path / "o.csv", "--structures", written)
    assert finished.code == 0
    assert "labels in the input were not used: energy (replaced by the results of this run); " in finished.out
    assert "REF_energy, Virial, force (of the input, not compared)" in finished.out
    assert "not used" not in run("screen", MODEL, path, "-o", tmp_path / "p.csv").out
    assert evaluate(written).error("forces") == pytest.approx(0.0, abs=1e-7)


def test_written_structures_have_no_units_of_the_input(
    alloys: list[Labelled], run: Callable[..., Any], tmp_path: Path, evaluate: Evaluate
) -> None:
    path = write_dialect(
        tmp_path / "a.xyz",
        alloys,
        lambda x: {"REF_energy": x.energy / units.Hartree, "units": "atomic", "position_unit": "bohr",
                   "lattice_unit": "bohr"},
        length=units.Bohr,
    )  # fmt: skip
    written = tmp_path / "out.xyz"
    assert run("screen", MODEL, path, "-o", tmp_path / "o.csv", "--structures", written).code == 0
    result = evaluate(written)
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)
    assert result.error("forces") == pytest.approx(0.0, abs=1e-7)
    assert read_labelled(written).atoms[0].positions == pytest.approx(alloys[0].atoms.positions, abs=1e-7)
