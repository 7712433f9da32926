"""Stopping and going on: bit for bit the run that was never stopped, however it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import etn_gpu
from etn_gpu.errors import TrainingError
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training import problem as training_problem
from etn_gpu.training.checkpoint import Progress
from etn_gpu.training.curvature import gauss_newton_matrix

Configure = Callable[..., TrainingConfig]

PROGRAM = """
import sys
from dataclasses import replace
from etn_gpu.backend.cpu import jit
from etn_gpu.potential import PRESETS
from etn_gpu.training import TrainingConfig, run, train

jit.OPTIMISATION = 0  # the machine code of the other tests
run.STARTS = 1
PRESETS["tiny"] = replace(PRESETS["small"], n_radial=4, channels=(2, 2, 1), bonds=("2x0e+1x1o",) * 2)
train_file, valid_file, output, cutoff = sys.argv[1:]
config = TrainingConfig(train_file, output, valid_file, preset="tiny", cutoff=float(cutoff), repulsion="none")
train(config, lambda event: print(event.kind, event.iteration, flush=True))
"""


def progress_of(config: TrainingConfig) -> dict[str, Any]:
    """Everything in the checkpoint of a run but the seconds it took."""
    with np.load(config.checkpoint, allow_pickle=False) as file:
        fields = json.loads(str(file["header"]))
        arrays = {name: file[name].tobytes() for name in ("theta", "best_theta")}
    del fields["elapsed"]
    for entry in fields["history"]:
        del entry["elapsed"]
    return fields | arrays


@pytest.fixture
def uninterrupted(configure: Configure, tmp_path: Path) -> Callable[[int], dict[str, Any]]:
    """The progress of a run of so many iterations that nothing disturbed."""

    def run(iterations: int) -> dict[str, Any]:
        config = configure(output=tmp_path / "undisturbed.etn", max_iterations=iterations)
        train(config)
        return progress_of(config)

    return run


@pytest.mark.usefixtures("two_pieces")
def test_resumed_run_is_the_uninterrupted_one(
    configure: Configure, uninterrupted: Callable[[int], dict[str, Any]], tmp_path: Path
) -> None:
    """Also while the part of the data in use grows, and although the model is written in between."""
    expected = uninterrupted(3)
    config = configure(max_iterations=1)
    train(config)
    again = configure(max_iterations=3, resume=config.checkpoint)
    events: list[Event] = []
    report = train(again, events.append)
    assert progress_of(again) == expected
    assert expected["active"] == 2
    assert [event.iteration for event in events if event.kind == "iteration"] == [2, 3]
    assert [entry["iteration"] for entry in report.history] == [1, 2, 3]
    assert f"resuming {config.checkpoint} after iteration 1" in [event.text for event in events]
    first, second = (etn_gpu.load(path) for path in (tmp_path / "undisturbed.etn", again.output))
    for name, array in first.parameters.items():
        np.testing.assert_array_equal(second.parameters[name], array)


def test_elapsed_time_goes_on(configure: Configure) -> None:
    config = configure(max_iterations=1)
    train(config)
    with np.load(config.checkpoint, allow_pickle=False) as file:
        fields = json.loads(str(file["header"])) | {"theta": file["theta"], "best_theta": file["best_theta"]}
    del fields["format_version"]
    Progress(**(fields | {"elapsed": 1000.0})).save(config.checkpoint)
    events: list[Event] = []
    report = train(configure(resume=config.checkpoint, time_limit=1500.0), events.append)
    [event] = [event for event in events if event.kind == "iteration"]
    assert 1000.0 < event.elapsed < 1400.0
    assert event.remaining == pytest.approx(1500.0 - event.elapsed)
    assert report.seconds > 1000.0


@pytest.mark.parametrize("limit", [{"max_iterations": 1}, {"time_limit": 1e-6}])
def test_nothing_left_to_do_writes_the_model_again(configure: Configure, limit: dict[str, Any]) -> None:
    config = configure(max_iterations=1)
    train(config)
    expected = config.output.read_bytes()
    config.output.unlink()
    report = train(configure(resume=config.checkpoint, **limit))
    assert report.iterations == 1
    model = etn_gpu.load(config.output)
    assert len(config.output.read_bytes()) == pytest.approx(len(expected), rel=0.01)
    assert model.metadata["errors"]["valid"] == report.valid


@pytest.mark.usefixtures("whole_iterations")
def test_killed_run_resumes(
    configure: Configure, uninterrupted: Callable[[int], dict[str, Any]], alloys: tuple[Path, Path]
) -> None:
    """kill -9 in the middle of an iteration."""
    config = configure()
    arguments = [sys.executable, "-c", PROGRAM, *map(str, (*alloys, config.output, config.cutoff))]
    root = str(Path(etn_gpu.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split() == ["iteration", "2"]:
                process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not config.output.exists()
    reached = progress_of(config)["iteration"]
    assert reached >= 2
    train(configure(resume=config.checkpoint, max_iterations=reached + 1))
    assert progress_of(config) == uninterrupted(reached + 1)


def test_ctrl_c_leaves_the_last_iteration(
    configure: Configure, uninterrupted: Callable[[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def matrix(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return gauss_newton_matrix(*arguments, **options)

    monkeypatch.setattr(training_problem, "gauss_newton_matrix", matrix)
    config = configure(max_iterations=9)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    assert progress_of(config)["iteration"] == 2
    train(configure(resume=config.checkpoint, max_iterations=3))
    assert progress_of(config) == uninterrupted(3)


def test_whoever_stops_at_an_iteration_finds_it_in_the_checkpoint(configure: Configure) -> None:
    def stop(event: Event) -> None:
        if event.kind == "iteration":
            raise KeyboardInterrupt

    config = configure()
    with pytest.raises(KeyboardInterrupt):
        train(config, stop)
    assert progress_of(config)["iteration"] == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 3}, r"another run: seed was 0, is 3; .* Resume with the same options and data"),
        ({"weights": {"energy": 2.0}}, "weights was None"),
        ({"cutoff": 3.2}, "cutoff was 3.6, is 3.2"),
        ({"valid_file": None}, "valid_file was"),
    ],
)
def test_other_options(configure: Configure, checkpoint: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        train(configure(resume=checkpoint, **change))


@pytest.fixture
def checkpoint(configure: Configure) -> Path:
    """A checkpoint after one iteration."""
    config = configure(max_iterations=1)
    train(config)
    return config.checkpoint


def test_other_structures_in_the_same_file(
    configure: Configure, store: Callable[..., Path], alloys: tuple[Path, Path]
) -> None:
    from ase.io import read

    frames = read(alloys[0], ":")
    config = configure(train_file=store(frames[:8]), max_iterations=1)
    train(config)
    store(frames[8:])
    with pytest.raises(TrainingError, match="another run: checksum of the data was"):
        train(configure(train_file=config.train_file, resume=config.checkpoint))


def test_no_such_checkpoint(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        train(configure(resume=tmp_path / "none.ckpt.npz"))


def test_broken_checkpoint(configure: Configure, checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="is not a readable checkpoint"):
        train(configure(resume=checkpoint))
