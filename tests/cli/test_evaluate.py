"""`etn-gpu evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from etn_gpu.screening import evaluate_each

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def labelled(model: Any, a: float, group: str | None, *, energy: float, forces: float, stress: float) -> Atoms:
    """A crystal whose labels are the model's values plus known errors: per atom, per component, per component."""
    atoms = Atoms("MoW", positions=[[0.0] * 3, [0.5 * a + 0.1] * 3], cell=[a] * 3, pbc=True)
    [outcome] = evaluate_each(model, [atoms])
    assert outcome.stress is not None
    atoms.info["REF_energy"] = outcome.energy + 2.0 * energy
    atoms.arrays["REF_forces"] = outcome.forces + forces
    atoms.info["REF_stress"] = outcome.stress + stress
    if group is not None:
        atoms.info["config_type"] = group
    return atoms


def test_errors_in_the_documented_units(run: Run, stand_in: Any) -> None:
    structures = [
        labelled(stand_in, 3.1, "bulk", energy=0.01, forces=0.1, stress=0.001),
        labelled(stand_in, 3.2, "bulk", energy=-0.03, forces=-0.3, stress=0.003),
        labelled(stand_in, 3.3, "other", energy=0.0, forces=0.2, stress=0.002),
        labelled(stand_in, 3.3, None, energy=0.0, forces=0.0, stress=0.0),
    ]
    write("a.extxyz", structures)
    finished = run("evaluate", "nbmotaw", "a.extxyz", "--json", "errors.json", "--batch-atoms", 4, "--backend", "numpy")
    assert finished.code == 0, finished.err
    report = json.loads(Path("errors.json").read_text())
    assert report["energy"]["mae"] == pytest.approx(0.01, abs=1e-7)
    assert report["energy"]["rmse"] == pytest.approx(np.sqrt(0.001 / 4), abs=1e-7)
    assert report["forces"]["mae"] == pytest.approx(0.15, abs=1e-7)
    assert report["forces"]["rmse"] == pytest.approx(np.sqrt(0.14 / 4), abs=1e-7)
    assert report["stress"]["mae"] == pytest.approx(0.0015, abs=1e-7)
    assert report["groups"]["bulk"]["energy"]["mae"] == pytest.approx(0.02, abs=1e-7)
    assert report["groups"]["bulk"]["n_structures"] == 2
    assert list(report["groups"]) == ["bulk", "other"]
    assert (report["n_structures"], report["n_atoms"]) == (4, 8)
    assert (report["backend"], report["dtype"]) == ("numpy", "float64")
    assert "backend numpy, float64" in finished.out
    assert report["seconds"] > 0.0
    assert report["failures"] == []
    [line] = [line for line in finished.out.splitlines() if line.startswith("bulk")]
    assert line.split() == ["bulk", "2", "4", "20.00", "22.36", "0.2000", "0.2236", "0.320", "0.358"]
    assert "meV/atom" in finished.out
    assert "\x1b" not in finished.out


def test_grades_have_a_line_of_their_own(run: Run, stand_in: Any) -> None:
    structures = [labelled(stand_in, a, None, energy=0.0, forces=0.0, stress=0.0) for a in (3.1, 2.3, 2.2, 3.0)]
    write("a.extxyz", structures)
    without = run("evaluate", "nbmotaw", "a.extxyz", "--json", "errors.json")
    assert "grade" not in without.out
    assert json.loads(Path("errors.json").read_text())["extrapolation_grade"] is None
    stand_in.grade = "given"
    finished = run("evaluate", "nbmotaw", "a.extxyz", "--json", "errors.json", "--overwrite")
    assert finished.code == 0, finished.err
    found = json.loads(Path("errors.json").read_text())["extrapolation_grade"]
    largest = 2.6**2 / min(np.square(atoms.get_distance(0, 1, mic=True)) for atoms in structures)
    assert found == {"threshold": 1.5, "above": 2, "largest": pytest.approx(largest)}
    line = f"extrapolation grade above 1.5: 2 of 4 structures; the largest is {largest:.4g} (a.extxyz [2])"
    assert line in finished.out.splitlines()


def test_partial_labels_and_clusters(run: Run, stand_in: Any) -> None:
    cluster = Atoms("W2", positions=[[0.0] * 3, [2.5, 0.0, 0.0]], info={"REF_energy": -0.4})
    bare = Atoms("W", cell=[3.0] * 3, pbc=True)
    write("a.extxyz", [cluster, bare])
    finished = run("evaluate", "nbmotaw", "a.extxyz", "--json", "errors.json")
    assert finished.code == 0, finished.err
    report = json.loads(Path("errors.json").read_text())
    assert report["energy"]["count"] == 1
    assert report["forces"] == report["stress"] == {"mae": None, "rmse": None, "count": 0}
    assert report["n_structures"] == 2
    assert report["groups"] == {}


def test_structures_that_fail_are_listed(run: Run, stand_in: Any) -> None:
    good = labelled(stand_in, 3.2, None, energy=0.01, forces=0.1, stress=0.0)
    foreign = good.copy()
    foreign.symbols = ["Cu", "W"]
    write("a.extxyz", [good, foreign, good, good])
    lines = Path("a.extxyz").read_text().splitlines(keepends=True)
    lines[2] = "Mo broken\n"
    Path("a.extxyz").write_text("".join(lines))
    finished = run("evaluate", "nbmotaw", "a.extxyz", "--json", "errors.json")
    assert finished.code == 1
    assert "failed: a.extxyz [0]: " in finished.out
    assert "failed: a.extxyz [1]: " in finished.out
    report = json.loads(Path("errors.json").read_text())
    assert [failure["index"] for failure in report["failures"]] == [0, 1]
    assert report["n_structures"] == 2
    assert report["energy"]["mae"] == pytest.approx(0.01, abs=1e-7)


def test_several_files(run: Run, stand_in: Any) -> None:
    write("a.extxyz", labelled(stand_in, 3.2, "x", energy=0.01, forces=0.0, stress=0.0))
    write("b.extxyz", labelled(stand_in, 3.2, "x", energy=0.03, forces=0.0, stress=0.0))
    assert run("evaluate", "nbmotaw", "a.extxyz", "b.extxyz", "--json", "errors.json").code == 0
    report = json.loads(Path("errors.json").read_text())
    assert report["files"] == ["a.extxyz", "b.extxyz"]
    assert report["groups"]["x"]["energy"]["mae"] == pytest.approx(0.02, abs=1e-7)


@pytest.mark.parametrize("what", ["missing", "empty", "unlabelled", "misshapen"])
def test_files_that_cannot_be_compared(run: Run, stand_in: Any, what: str) -> None:
    atoms = Atoms("W2", positions=[[0.0] * 3, [2.5, 0.0, 0.0]])
    if what == "empty":
        Path("a.extxyz").touch()
    elif what == "unlabelled":
        write("a.extxyz", atoms)
    elif what == "misshapen":
        atoms.arrays["REF_forces"] = np.zeros((2, 2))
        write("a.extxyz", atoms)
    finished = run("evaluate", "nbmotaw", "a.extxyz")
    assert finished.code == 2
    assert finished.err.startswith("Error: ")
    assert "a.extxyz" in finished.err


def test_misshapen_label_after_a_broken_frame_names_the_right_frame(run: Run, stand_in: Any) -> None:
    atoms = Atoms("W2", positions=[[0.0] * 3, [2.5, 0.0, 0.0]], info={"REF_energy": 1.0})
    bad = atoms.copy()
    bad.arrays["REF_forces"] = np.zeros((2, 2))
    write("a.extxyz", [atoms, bad])
    lines = Path("a.extxyz").read_text().splitlines(keepends=True)
    lines[2] = "W broken\n"
    Path("a.extxyz").write_text("".join(lines))
    finished = run("evaluate", "nbmotaw", "a.extxyz")
    assert finished.code == 2
    assert "frame 1" in finished.err


@pytest.mark.parametrize("target", ["missing/errors.json", "."])
def test_json_that_cannot_be_written(run: Run, stand_in: Any, target: str) -> None:
    finished = run("evaluate", "nbmotaw", "a.extxyz", "--json", target)
    assert finished.code == 2
    assert f"cannot write {target}: " in finished.err
