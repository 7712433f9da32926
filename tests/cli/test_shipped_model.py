"""The commands of the README on the model that ships with the package."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[..., Any]

# Mean absolute errors of the published SNAP (doi 10.1038/s41524-020-0339-0) on the same structures.
SNAP_ENERGY_MAE = 5.06e-3
SNAP_FORCES_MAE = 0.109


def test_demo_screens_2000_alloys(run: Run, tmp_path: Path) -> None:
    finished = run("screen", "--demo", "--output", tmp_path / "results.csv")
    assert finished.code == 0, finished.out
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000
    assert {row["status"] for row in rows} == {"ok", "extrapolating"}
    # In unrelaxed alloys pairs of large atoms come closer than in the relaxed binary alloys of the training set.
    assert sum(row["status"] == "ok" for row in rows) > 1000
    formation = np.array([float(row["formation_energy"]) for row in rows])
    # Mo-Ta alloys gain most by mixing, some 0.1 eV/atom; expansion by 3 % costs about as much.
    assert -0.25 < formation.min() < -0.05
    assert formation.max() < 0.4
    assert max(float(row["max_force"]) for row in rows) < 5.0


def test_errors_on_the_test_set(run: Run, tmp_path: Path, data_dir: Path) -> None:
    finished = run("evaluate", "nbmotaw", data_dir / "nbmotaw" / "test.extxyz.gz", "--json", tmp_path / "errors.json")
    assert finished.code == 0, finished.out
    report = json.loads((tmp_path / "errors.json").read_text())
    assert (report["n_structures"], report["n_atoms"]) == (376, 10448)
    assert _mae(report, "energy") < 1.5 * SNAP_ENERGY_MAE
    assert _mae(report, "forces") < SNAP_FORCES_MAE


def _mae(report: dict[str, Any], quantity: str) -> float:
    """Mean absolute error without Multinary_Test, which nothing in the training set resembles."""
    errors = [group[quantity] for name, group in report["groups"].items() if name != "Multinary_Test"]
    return float(sum(e["mae"] * e["count"] for e in errors) / sum(e["count"] for e in errors))


def test_every_backend_agrees(run: Run) -> None:
    finished = run("doctor")
    assert finished.code == 0, finished.out
    assert "FAILED" not in finished.out


def test_plan(run: Run) -> None:
    finished = run("plan", "nbmotaw")
    assert finished.code == 0
    for word in ("flops", "bytes", "largest intermediate", "bonds", "BSD-3-Clause", "doi 10.", "materialsvirtuallab"):
        assert word in finished.out
