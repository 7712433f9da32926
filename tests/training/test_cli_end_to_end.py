"""`etn-gpu train` as a user runs it: from a file of labelled structures to a model that evaluates and screens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import etn_gpu
from etn_gpu.cli.app import app
from etn_gpu.errors import DataError, TrainingError
from etn_gpu.potential import PRESETS
from etn_gpu.training.curvature import gauss_newton_matrix

Invoke = Callable[..., Any]
OPTIONS = ("--preset", "small", "--cutoff", "3.6")


@pytest.fixture
def invoke() -> Invoke:
    """`invoke("train", ...)` in this process."""

    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.mark.usefixtures("plots", "whole_iterations")
@pytest.mark.parametrize("preset", ["tiny", pytest.param("as it is shipped", marks=pytest.mark.slow)])
def test_train_and_use_the_model(
    invoke: Invoke,
    alloys: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_preset: str,
    preset: str,
) -> None:
    if preset == tiny_preset:
        monkeypatch.setitem(PRESETS, "small", PRESETS[tiny_preset])
    train_file, valid_file = alloys
    output = tmp_path / "model.etn"
    options = (*OPTIONS, "--valid", valid_file, "--max-iterations", 3, "--time-limit", "10m")
    trained = invoke("train", train_file, "--output", output, *options)
    assert trained.exit_code == 0, trained.output
    assert "20 structures, 160 atoms (8 each)" in trained.stdout
    assert "found as" in trained.stdout
    lines = trained.stdout.splitlines()
    iterations = [line.split() for line in lines if line.strip()[:1].isdigit() and len(line.split()) == 10]
    assert [cells[0] for cells in iterations] == ["1", "2", "3"]
    assert all(cells[-1].startswith(("0:09:", "0:10:")) for cells in iterations)
    assert lines[-2:] == [
        f"model: {output}",
        f"report: {output.with_suffix('.json')}; plots: {output.with_suffix('.png')}",
    ]
    for suffix in (".etn", ".json", ".png", ".ckpt.npz"):
        assert output.with_suffix(suffix).is_file()

    report = json.loads(output.with_suffix(".json").read_text())
    history = report["history"]
    assert history[-1]["loss"] < 0.1 * history[0]["loss"] / (1 - history[0]["decrease"])
    evaluated = invoke("evaluate", output, valid_file, "--json", tmp_path / "errors.json")
    assert evaluated.exit_code == 0, evaluated.output
    errors = json.loads((tmp_path / "errors.json").read_text())
    for name in ("energy", "forces", "stress"):
        for kind in ("mae", "rmse"):
            assert errors[name][kind] == pytest.approx(report["valid"][f"{name}_{kind}"], rel=1e-9)

    screened = invoke("screen", output, valid_file, "--output", tmp_path / "results.csv")
    assert screened.exit_code == 0, screened.output
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 7

    resumed = invoke("train", train_file, "-o", output, *options, "--resume", output.with_suffix(".ckpt.npz"))
    assert resumed.exit_code == 0, resumed.output
    assert "after iteration 3" in resumed.stdout


def test_ctrl_c_says_how_to_go_on(
    invoke: Invoke, alloys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_preset: str
) -> None:
    monkeypatch.setitem(PRESETS, "small", PRESETS[tiny_preset])
    calls = []

    def matrix(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return gauss_newton_matrix(*arguments, **options)

    monkeypatch.setattr("etn_gpu.training.problem.gauss_newton_matrix", matrix)
    output = tmp_path / "model.etn"
    arguments = ("train", alloys[0], "-o", output, *OPTIONS, "--max-iterations", 2)
    stopped = invoke(*arguments)
    checkpoint = output.with_suffix(".ckpt.npz")
    assert stopped.exit_code == 130
    assert f"interrupted: go on with --resume {checkpoint}" in stopped.stdout
    assert not output.exists()
    resumed = invoke(*arguments, "--resume", checkpoint)
    assert resumed.exit_code == 0, resumed.output
    assert "after iteration 1" in resumed.stdout
    assert etn_gpu.load(output).species == ("Cu", "Au")


def test_labels_missing_everywhere(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "bare.xyz").write_text("1\n\nCu 0 0 0\n")
    finished = invoke("train", tmp_path / "bare.xyz", "-o", tmp_path / "m.etn")
    assert isinstance(finished.exception, DataError)
    assert "no energy and no forces in any of 1 structures" in str(finished.exception)


def test_missing_folder(invoke: Invoke, alloys: tuple[Path, Path], tmp_path: Path) -> None:
    finished = invoke("train", alloys[0], "-o", tmp_path / "nowhere" / "m.etn")
    assert isinstance(finished.exception, TrainingError)
    assert "create it first" in str(finished.exception)
