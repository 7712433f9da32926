"""`etn-gpu train --target` and what the other commands make of such a model, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read, write

import etn_gpu
from etn_gpu.potential import PRESETS
from tests.training.charged_molecules import CUTOFF, TINY, molecules

OPTIONS = ("--preset", "small", "--cutoff", CUTOFF, "--max-iterations", 1, "--valid", "valid.xyz")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs of a moment on molecules in the files train.xyz, valid.xyz and test.xyz of this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "small", TINY)
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 1)
    monkeypatch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 20)
    monkeypatch.setattr("etn_gpu.training.report._plot", lambda *arguments: None)
    for name, number, seed in (("train.xyz", 40, 1), ("valid.xyz", 10, 2), ("test.xyz", 20, 3)):
        structures = molecules(number, seed)
        for k, atoms in enumerate(structures):
            atoms.info["config_type"] = "odd" if k % 2 else "even"
        write(name, structures, format="extxyz")


def test_dipoles_from_the_labels_to_the_errors(run: Callable[..., Any]) -> None:
    trained = run("train", "train.xyz", "-o", "m.etn", "--target", "dipole", *OPTIONS)
    assert trained.code == 0, trained.err
    lines = trained.out.splitlines()
    assert "training dipole (a vector for each structure, e*A) on 40 structures" in trained.out
    (header,) = (line for line in lines if line.startswith("iter"))
    assert header.split() == ["iter", "elapsed", "loss", "target", "length", "target", "length", "left"]
    (row,) = (line for line in lines if line.strip().startswith("1 0:"))
    assert len(row.split()) == 7
    assert "dipole MAE" in trained.out
    assert "length MAE" in trained.out
    evaluated = run("evaluate", "m.etn", "test.xyz", "--json", "errors.json")
    assert evaluated.code == 0, evaluated.err
    assert "dipole MAE" in evaluated.out
    report = json.loads(Path("errors.json").read_text())
    assert report["quantity"] == {"name": "dipole", "irreps": "1x1o", "of": "structure", "unit": "e*A"}
    model = etn_gpu.load("m.etn")
    structures = read("test.xyz", ":")
    labels = np.array([atoms.get_dipole_moment() for atoms in structures])
    found = np.array([result["dipole"] for result in model.evaluate(structures)])
    lengths = np.linalg.norm(found, axis=1) - np.linalg.norm(labels, axis=1)
    for name, errors in (("target", found - labels), ("target_length", lengths)):
        assert report[name]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
        assert report[name]["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-9)
        assert report[name]["count"] == errors.size
    assert report["groups"]["odd"]["n_structures"] == 10
    odd = np.abs((found - labels)[1::2]).mean()
    assert report["groups"]["odd"]["target"]["mae"] == pytest.approx(odd, rel=1e-9)
    write("cut.xyz.gz", molecules(200, 4), format="extxyz")
    Path("cut.xyz.gz").write_bytes(Path("cut.xyz.gz").read_bytes()[:-2000])
    cut = run("evaluate", "m.etn", "cut.xyz.gz")
    assert cut.code == 1
    assert "failed: cut.xyz.gz [" in cut.out
    assert "not read: cut.xyz.gz: what comes after its last failed frame" in cut.out
    refused = run("screen", "m.etn", "test.xyz", "-o", "rows.csv")
    assert refused.code == 2
    assert "this potential has the output dipole (a vector for each structure, e*A); screening needs an" in refused.err
    assert not Path("rows.csv").exists()
    planned = run("plan", "m.etn")
    assert "output                dipole (a vector for each structure, e*A)" in planned.out
    refused = run("grade", "m.etn", "train.xyz", "-o", "graded.etn")
    assert (refused.code, "grades are of energies, and m.etn has the output dipole" in refused.err) == (2, True)


def test_numbers_of_atoms(run: Callable[..., Any]) -> None:
    structures = read("train.xyz", ":")
    for atoms in structures:
        atoms.info["shifts_unit"] = "ppm"
    write("train.xyz", structures, format="extxyz")
    target = ("--target", "atomic:zeta", "--target-key", "shifts")
    trained = run("train", "train.xyz", "-o", "m.etn", *target, *OPTIONS)
    assert trained.code == 0, trained.err
    assert "training zeta (a number for each atom, ppm) on 40 structures" in trained.out
    evaluated = run("evaluate", "m.etn", "m.etn", "test.xyz", "--target-key", "shifts", "--json", "e.json")
    assert evaluated.code == 0, evaluated.err
    assert "no unit of zeta is stated: read as ppm" in evaluated.out
    for report in json.loads(Path("e.json").read_text())["models"]:
        assert report["target_length"] is None
        assert report["target"]["count"] == sum(map(len, read("test.xyz", ":")))
    missing = run("evaluate", "m.etn", "test.xyz")
    assert missing.code == 2
    assert "no atomic:zeta in any of 20 structures. Looked for zeta among the arrays" in missing.err
    mixed = run("evaluate", "m.etn", "nbmotaw", "test.xyz")
    assert mixed.code == 2
    assert "m.etn and nbmotaw give zeta (a number for each atom, ppm) and an energy" in mixed.err
    wrong = run("evaluate", "m.etn", "test.xyz", "--energy-key", "e")
    assert (wrong.code, "keys of energy are of no use here" in wrong.err) == (2, True)
    wrong = run("evaluate", "m.etn", "test.xyz", "--target-key", "vectors")
    assert wrong.code == 2
    assert (
        "test.xyz has zeta (a vector for each atom), and the model gives zeta (a number for each atom, ppm)"
        in wrong.err
    )


def test_structures_that_fail_are_listed(run: Callable[..., Any]) -> None:
    assert run("train", "train.xyz", "-o", "m.etn", "--target", "atomic:vectors", *OPTIONS).code == 0
    structures: Any = read("test.xyz", ":3")
    structures[1].numbers[0] = 92
    write("test.xyz", structures, format="extxyz")
    evaluated = run("evaluate", "m.etn", "test.xyz")
    assert evaluated.code == 1
    assert "failed: test.xyz [1]: " in evaluated.out
    assert "2 structures" in evaluated.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "mu"), "'mu' is no target: expected dipole, or atomic:NAME"),
        (("--target", "atomic:mu"), "no atomic:mu in any of 40 structures"),
        (("--target", "dipole", "--target-key", "mu"), "Looked for mu among the info"),
        (("--target-key", "mu"), "--target-key only with --target"),
        (("--target", "dipole", "--weights", "energy=2"), "the target is dipole, no energy: leave out weights"),
        (("--target", "dipole", "--energy-key", "e"), "leave out keys of energies, forces or stresses"),
        (("--target", "dipole", "--init", "nbmotaw"), "leave out an initial model"),
    ],
)
def test_wrong_use(run: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    refused = run("train", "train.xyz", "-o", "m.etn", *arguments)
    assert refused.code == 2
    assert message in refused.err
    assert not Path("m.etn").exists()


def test_the_target_key_of_a_model_of_energies(run: Callable[..., Any]) -> None:
    refused = run("evaluate", "nbmotaw", "test.xyz", "--target-key", "mu")
    assert refused.code == 2
    assert "--target-key is of a model that was trained with --target" in refused.err
