"""The commands one after the other on a real potential: train, plan, evaluate, screen, doctor."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

import etn_gpu
from etn_gpu.cli.training_display import TrainingDisplay
from etn_gpu.structures import read_structures

Run = Callable[..., Any]

# A few seconds of training: NumPy needs no compilation, and the numbers need not be good.
QUICK = ["--preset", "small", "--cutoff", "3.5", "--backend", "numpy", "--valid-fraction", "0.2"]


def alloys(count: int) -> list[Atoms]:
    """Small fcc cells of Al and Cu with labels of ASE's EMT."""
    random = np.random.default_rng(0)
    structures = []
    for number in range(count):
        atoms = bulk("Cu", cubic=True, a=3.6 + random.uniform(-0.1, 0.4))
        atoms.symbols[random.integers(0, 2, len(atoms)) == 1] = "Al"
        if number < 2:
            atoms.symbols[:] = ("Al", "Cu")[number]
        atoms.rattle(0.1, seed=number)
        labelled = atoms.copy()
        atoms.calc = EMT()
        labelled.info |= {"REF_energy": atoms.get_potential_energy(), "REF_stress": atoms.get_stress()}
        labelled.arrays["REF_forces"] = atoms.get_forces()
        structures.append(labelled)
    return structures


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `train.extxyz` in it; trainings go on from their first start, and soon end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 1)
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 1)
    write("train.extxyz", alloys(6))
    return tmp_path


@pytest.mark.slow
def test_train_then_use(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = run("train", "train.extxyz", "-o", "m.etn", *QUICK, "--max-iterations", 1)
    assert trained.code == 0, trained.err
    assert "6 structures" in trained.out
    assert "validation MAE" in trained.out
    for name in ("m.etn", "m.json", "m.png"):
        assert (data / name).is_file()
        assert name in trained.out

    planned = run("plan", "m.etn")
    assert planned.code == 0
    for words in ("m.etn: Al Cu, cutoff 3.5 A", "flops per atom", "bytes per atom", "largest intermediate"):
        assert words in planned.out

    evaluated = run("evaluate", "m.etn", "train.extxyz", "--json", "errors.json", "--backend", "numpy")
    assert evaluated.code == 0
    report = json.loads(Path("errors.json").read_text())
    atoms = [frame.atoms for frame in read_structures("train.extxyz") if frame.atoms is not None]
    model = etn_gpu.load("m.etn")
    errors = [
        result["forces"] - a.arrays["REF_forces"]
        for a, result in zip(atoms, model.evaluate(atoms, backend="numpy"), strict=True)
    ]
    assert report["forces"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
    assert report["stress"]["count"] == 36

    nickel, close = atoms[0].copy(), atoms[0].copy()
    nickel.symbols[0] = "Ni"
    close.positions[0] = close.positions[1] + [0.8, 0.0, 0.0]
    write("candidates.extxyz", [*atoms, nickel, close])
    screened = run("screen", "m.etn", "candidates.extxyz", "--structures", "out.extxyz", "--backend", "numpy")
    assert screened.code == 1
    with Path("results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    statuses = [row["status"] for row in rows]
    assert statuses[6:] == ["failed", "extrapolating"]
    assert statuses.count("ok") >= 4
    assert statuses.count("failed") == 1
    assert "Ni" in rows[6]["message"]
    energies = [a.get_potential_energy() for a in read("out.extxyz", ":")]
    assert energies == pytest.approx([r["energy"] for r in model.evaluate([*atoms, close], backend="numpy")], abs=1e-6)
    references = model.metadata["formation_references"]
    symbols = atoms[3].get_chemical_symbols()
    expected = (energies[3] - sum(references[symbol] for symbol in symbols)) / len(symbols)
    assert float(rows[3]["formation_energy"]) == pytest.approx(expected, abs=1e-7)

    # numba compiles for many seconds; its agreement with NumPy has its own tests.
    monkeypatch.setattr(etn_gpu.backend, "available", lambda: {"numpy": None})
    assert run("doctor", "--model", "m.etn").code == 0


@pytest.mark.slow
def test_ctrl_c_names_a_checkpoint_to_go_on_from(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = TrainingDisplay.show

    def stop_at_one(self: TrainingDisplay, event: Any) -> None:
        show(self, event)
        if event.kind == "iteration" and event.iteration == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "show", stop_at_one)
        stopped = run("train", "train.extxyz", "-o", "m.etn", *QUICK)
    assert stopped.code == 130
    [line] = [line for line in stopped.out.splitlines() if line.startswith("interrupted: ")]
    checkpoint = line.rpartition(" ")[2]
    resumed = run("train", "train.extxyz", "-o", "m.etn", *QUICK, "--max-iterations", 1, "--resume", checkpoint)
    assert resumed.code == 0, resumed.err
    assert "after iteration 1" in resumed.out
    assert (data / "m.etn").is_file()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "missing.extxyz", "-o", "m.etn"], "missing.extxyz"),
        (["train", "bare.extxyz", "-o", "m.etn"], "bare.extxyz"),
        (["train", "train.extxyz", "-o", "m.etn", "--cutoff", "0"], "cutoff"),
        (["train", "train.extxyz", "-o", "missing/m.etn"], "missing"),
        (["train", "train.extxyz", "-o", "m.etn", "--backend", "abacus"], "abacus"),
        (["train", "train.extxyz", "-o", "m.etn", "--resume", "missing.npz"], "missing.npz"),
        (["evaluate", "train.extxyz", "train.extxyz"], "train.extxyz"),
        (["plan", "missing.etn"], "missing.etn"),
        (["screen", "train.extxyz"], "train.extxyz"),
    ],
)
def test_wrong_use(run: Run, data: Path, arguments: list[str], complaint: str) -> None:
    write("bare.extxyz", bulk("Cu"))
    finished = run(*arguments)
    assert finished.code == 2
    assert finished.err.startswith("Error: ")
    assert complaint in finished.err
    assert "Traceback" not in finished.err
