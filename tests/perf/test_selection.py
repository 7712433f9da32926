"""perf/selection.py and perf/linear_selection.py: what belongs to which part, fits, gains for an atom, tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from etn_gpu.selection.information import Information
from tests.selection.conftest import make_case

Perf = Callable[[str], ModuleType]


def test_a_linear_law_is_found_and_noise_is_not(perf: Perf) -> None:
    """Structures of one to nine atoms of two species; energies in eV."""
    linear, rng = perf("linear_selection"), np.random.default_rng(0)
    atoms = rng.integers(1, 10, size=(120, 2)).astype(np.float64)
    rows = rng.normal(size=(120, 30)) * atoms.sum(axis=1, keepdims=True)
    energies = rows @ rng.normal(size=30) + atoms @ [-5.0, -9.0]
    fitted, held = range(90), range(90, 120)
    assert linear.errors(rows, atoms, energies, fitted, held)[0] < 10.0
    noise = rng.normal(size=120) * atoms.sum(axis=1)
    mae, rmse = linear.errors(rows, atoms, noise, fitted, held)
    assert mae < rmse < 1500.0  # of noise of 1 eV/atom: no law is made up


def test_gains_for_an_atom(perf: Perf) -> None:
    grade = make_case().model.grade
    assert grade is not None
    surroundings = {0: np.ones((4, grade.factors.shape[-1]))}
    whole = Information(grade).gain(surroundings)
    assert perf("linear_selection").PerAtom(grade).gain(surroundings) == pytest.approx(5.0 * whole)


def test_table_of_the_linear_potential(perf: Perf) -> None:
    runs = [
        {"arm": arm, "added": added, "structures": 300 + added, "atoms": 5000 + seed, "energy_mae": 1.0 + seed,
         "energy_rmse": 2.0}
        for seed in (0, 2) for arm, added in (("start", 0), ("random", 100))
    ]  # fmt: skip
    assert list(perf("linear_selection").rows(runs)) == [
        ("start", "300", "5001", "2.00 (1.00 to 3.00)", "2.00 (2.00 to 2.00)"),
        ("100 random", "400", "5001", "2.00 (1.00 to 3.00)", "2.00 (2.00 to 2.00)"),
    ]


def test_table_of_networks(perf: Perf) -> None:
    runs = [
        {"arm": arm, "added": added, "structures": 50 + added, "atoms": 900,
         "errors": {"energy_mae": 1.0 + seed, "forces_mae": 0.1}}
        for arm, added, seed in (("start", 0, 0), ("chosen", 50, 0), ("random 0", 50, 1), ("random 1", 50, 2))
    ]  # fmt: skip
    assert [row[0] for row in perf("selection").rows(runs)] == ["start", "50 chosen more", "50 at random more"]
    assert list(perf("selection").rows(runs))[-1][3] == "2.50 (2.00 to 3.00)"


def test_parts_do_not_overlap(perf: Perf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody chooses from what is held out, and nothing is in two parts."""
    selection = perf("selection")
    (tmp_path / "acac").mkdir()
    for file, shift in (("train.extxyz.gz", 0.0), ("train_600K.extxyz.gz", 0.5)):
        frames = [Atoms("H2", [[0.0] * 3, [0.0, 0.0, 0.7 + shift + 0.001 * k]], info={"REF_energy": -1.0 * k})
                  for k in range(60)]  # fmt: skip
        write(tmp_path / "acac" / file, frames)
    monkeypatch.setenv("ETN_GPU_DATA", str(tmp_path))
    options = argparse.Namespace(models=tmp_path, preset="small", iterations=1, added=None)
    study = selection.study("acac", options)
    parts = [
        [round(float(atoms.positions[1, 2]), 4) for atoms in part]
        for part in (study.base, study.pool, study.held.atoms)
    ]
    assert [len(part) for part in parts] == [50, 40, 30]
    assert len({length for part in parts for length in part}) == 120
    assert max(parts[0]) < 1.0 < min(parts[2])
