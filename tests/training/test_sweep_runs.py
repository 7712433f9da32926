"""Training runs that sweep: events, history, checkpoints and models whose ranks are not those of the preset."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import etn_gpu
from etn_gpu.cli.training_display import TrainingDisplay
from etn_gpu.potential import Architecture
from etn_gpu.structures import read_labelled
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.schedule import SweepEvent, halved, sweep_due, sweeps_end

Configure = Callable[..., TrainingConfig]


@pytest.fixture
def sweeping(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """As ``configure``, with a sweep at every second iteration."""
    monkeypatch.setattr("etn_gpu.training.schedule.BETWEEN", 1)

    def make(**changes: Any) -> TrainingConfig:
        return configure(**{"method": "sweeps", "max_iterations": 4, **changes})

    return make


def progress_of(config: TrainingConfig) -> dict[str, Any]:
    with np.load(config.checkpoint, allow_pickle=False) as file:
        fields = json.loads(str(file["header"])) | {name: file[name].tobytes() for name in ("theta", "best_theta")}
    for entry in (fields, *fields["history"]):
        del entry["elapsed"]
    return dict(fields)


def test_a_run_with_sweeps(sweeping: Configure, events: list[Event], alloys: tuple[Path, Path]) -> None:
    config = sweeping()
    report = train(config, events.append)
    steps = [event for event in events if event.kind in ("iteration", "sweep")]
    assert [(event.kind, event.iteration) for event in steps] == [
        ("iteration", 1), ("sweep", 2), ("iteration", 3), ("sweep", 4)
    ]  # fmt: skip

    swept = [event for event in steps if isinstance(event, SweepEvent)]
    entries = [entry for entry in report.history if "sweep" in entry]
    for number, (event, entry) in enumerate(zip(swept, entries, strict=True), start=1):
        assert event.sweep == entry["sweep"] == number
        assert event.bonds == tuple(entry["bonds"])
        assert event.discarded_weights == tuple(entry["discarded_weights"])
        assert len(event.discarded_weights) == len(event.bonds) == 2
        assert all(weight >= 0 for weight in event.discarded_weights)
        assert event.loss == entry["loss"]
    assert entries[0]["loss"] < report.history[0]["loss"]

    # the model has the ranks that were found, and predicts with them what the report says
    model = etn_gpu.potential.load(config.output)
    assert model.architecture.to_dict() == Architecture.from_dict(report.architecture).to_dict()
    assert model.n_parameters == report.n_parameters
    best = min(report.history, key=lambda entry: entry["score"])
    assert report.valid == best["valid"]
    last = [entry["bonds"] for entry in entries if entry["iteration"] <= best["iteration"]][-1]
    assert list(model.architecture.bonds) == last
    labels = read_labelled(alloys[1])
    energies = [result["energy"] for result in model.evaluate(labels.atoms)]
    errors = np.abs(np.array(energies) - labels.energy) / 8
    assert errors.mean() == pytest.approx(report.valid["energy_mae"], rel=1e-6)
    assert json.loads(config.output.with_suffix(".json").read_text()) == json.loads(json.dumps(report.to_dict()))


def test_resumed_run_is_the_uninterrupted_one(sweeping: Configure, tmp_path: Path) -> None:
    """Stopped before a sweep, and after one."""
    whole = sweeping(output=tmp_path / "whole.etn")
    train(whole)
    expected = progress_of(whole)
    assert expected["architecture"] != expected["preset"]
    config = sweeping(max_iterations=1)
    train(config)
    for most in (2, 4):
        train(sweeping(max_iterations=most, resume=config.checkpoint))
    assert progress_of(config) == expected
    first, second = (etn_gpu.potential.load(path) for path in (whole.output, config.output))
    for name, array in first.parameters.items():
        np.testing.assert_array_equal(second.parameters[name], array)


def test_the_best_model_keeps_its_ranks(sweeping: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores as if the iteration before the sweep, which changes the ranks, were the best."""
    scores = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("etn_gpu.training.run.score", lambda errors, weights: next(scores))
    config = sweeping(max_iterations=3)
    report = train(config)
    assert report.architecture["bonds"] == ("1x0e+1x1o", "1x0e+1x1o")
    assert report.valid == report.history[0]["valid"]
    progress = progress_of(config)
    assert progress["best_architecture"] != progress["architecture"]
    assert etn_gpu.potential.load(config.output).architecture.bonds == ("1x0e+1x1o", "1x0e+1x1o")


def test_no_sweep_when_time_is_short(sweeping: Configure, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etn_gpu.training.run.SWEEP_SHARE", 0.0)
    report = train(sweeping(time_limit=1e3, max_iterations=5), events.append)
    assert report.iterations == 5
    assert not any(event.kind == "sweep" for event in events)


def test_ranks_stay_with_the_gradient_method(sweeping: Configure, events: list[Event]) -> None:
    report = train(sweeping(method="gradient"), events.append)
    assert not any(event.kind == "sweep" for event in events)
    assert report.architecture["bonds"] == ("2x0e+1x1o", "2x0e+1x1o")


def test_display() -> None:
    stream = StringIO()
    with TrainingDisplay(Console(file=stream, width=100)) as display:
        errors: dict[str, float | None] = {"energy_mae": 0.001, "forces_mae": 0.1, "stress_mae": None}
        ranks: dict[str, Any] = {"bonds": ("2x0e+1x1o", "3x0e"), "discarded_weights": (1.25e-5, 0.0)}
        display.show(SweepEvent("sweep", "", 4, 2.5, errors, errors, 70.0, sweep=2, **ranks))
    lines = stream.getvalue().splitlines()
    assert lines[-3].split()[:3] == ["4", "0:01:10", "2.500e+00"]
    assert lines[-2].strip() == "sweep 2: bond 1 2x0e+1x1o, discarded weight 1.3e-05"
    assert lines[-1].strip() == "bond 2 3x0e, discarded weight 0"


def test_schedule(architecture: Architecture) -> None:
    assert halved(architecture).bonds == ("1x0e+1x1o", "1x0e+1x1o+1x2e")
    step: dict[str, Any] = {"decrease": 0.5}
    good, poor = {"decrease": 0.2, "sweep": 1}, {"decrease": -0.1, "sweep": 2}
    assert [sweep_due([step] * k) for k in (0, 1, 2, 3)] == [False, False, False, True]
    assert not sweep_due([step, step, step, good, step, step])
    assert sweep_due([good, step, step, step])
    assert not sweeps_end([poor])
    assert not sweeps_end([poor, step, good, step, poor])
    assert sweeps_end([good, step, poor, step, poor])
