"""The time limit holds: in compilation, starts, iterations and the refit, and a run that it cut short says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import etn_gpu
from etn_gpu import backend as backends
from etn_gpu.errors import TimeLimitError, TrainingError
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.deadline import Deadline, TimeIsUp

Configure = Callable[..., TrainingConfig]


class Clock:
    """Counts the executions of Programs: the time of a run in which nothing else takes any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        run = backends.run

        def counted(*arguments: Any, **options: Any) -> Any:
            self.now += 1.0
            return run(*arguments, **options)

        # Rows are cut by the seconds that they really take
        monkeypatch.setattr("etn_gpu.training.jacobian.FIRST_RUN", 10**6)
        monkeypatch.setattr("etn_gpu.training.jacobian.RUN_SECONDS", np.inf)
        monkeypatch.setattr("etn_gpu.backend.run", counted)
        monkeypatch.setattr("etn_gpu.training.deadline.time.monotonic", lambda: self.now)
        monkeypatch.setattr("etn_gpu.training.run.time.monotonic", lambda: self.now)
        monkeypatch.setattr("etn_gpu.training.deadline.REPORT_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations of a few steps."""
    monkeypatch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_over_before_it_begins(configure: Configure, events: list[Event]) -> None:
    config = configure(time_limit=1e-6)
    with pytest.raises(TimeLimitError, match=r"the time limit of 1e-06 s was over after .* s, before anything was"):
        train(config, events.append)
    assert events == []  # not even the data were read
    assert not config.output.exists()


@pytest.mark.parametrize("limit", [15.0, 25.0, 40.0, 80.0])
def test_what_is_under_way_ends_and_the_last_step_is_kept(configure: Configure, clock: Clock, limit: float) -> None:
    config = configure(time_limit=limit, max_iterations=1000)
    report = train(config)
    assert report.ended == "time_limit"
    # an execution that began just before the end, the errors after a first iteration, and those, terms and grade of the
    # final model: each of them an execution or a few, which this clock takes for as long as any other
    assert clock.now <= limit + 8
    model = etn_gpu.load(config.output)
    assert model.metadata["training"]["ended"] == "time_limit"
    assert json.loads(config.output.with_suffix(".json").read_text())["ended"] == "time_limit"
    assert report.train["forces_mae"] is not None


def test_in_the_first_start(configure: Configure, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step of a start there is a model; before there is none."""
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 4)
    with pytest.raises(TimeLimitError, match="before anything was trained"):
        train(configure(time_limit=4.0))
    report = train(configure(time_limit=clock.now + 12.0))
    assert report.iterations == 0
    assert report.ended == "time_limit"
    assert report.history == []


def test_in_the_refit(configure: Configure, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(valid_file=None, valid_fraction=0.25, max_iterations=2, time_limit=1e6, overwrite=True)
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 0)
    train(config)
    needed = clock.now
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 3)
    clock.now = 0.0
    whole = train(config)
    assert (whole.ended, whole.refits) == ("max_iterations", 3)
    clock.now = 0.0
    cut = train(replace(config, time_limit=2.0 * needed))
    assert cut.ended == "time_limit"
    assert cut.refits < 3


def test_other_ends(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(configure(max_iterations=1, overwrite=True)).ended == "max_iterations"
    monkeypatch.setattr("etn_gpu.training.run.CONVERGED", 1.0)
    assert train(configure(max_iterations=50, overwrite=True)).ended == "converged"
    monkeypatch.setattr("etn_gpu.training.run.CONVERGED", 0.0)
    monkeypatch.setattr("etn_gpu.training.run.FRUITLESS", 1)
    scores = iter(np.arange(1.0, 60.0))
    monkeypatch.setattr("etn_gpu.training.run.score", lambda errors, weights: next(scores))
    assert train(configure(max_iterations=50, overwrite=True)).ended == "held_out"


def test_compilation_ends_with_the_time(configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With nothing compiled, a limit that is over while processes compile."""
    monkeypatch.setenv("ETN_GPU_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("etn_gpu.backend.cpu.compilation.WORTHWHILE", 0)
    asked = iter(range(10**6))

    def late(deadline: Deadline, share: float = 1.0) -> bool:
        return next(asked) > 10

    monkeypatch.setattr(Deadline, "late", late)
    with pytest.raises(TimeLimitError, match="before anything was trained"):
        train(configure(time_limit=1000.0, cutoff=3.71))


def test_deadline(clock: Clock) -> None:
    deadline = Deadline(10.0)
    deadline.earlier, deadline.final_errors = 2.0, 1.0
    clock.now = 4.0
    assert deadline.elapsed == 6.0
    assert deadline.late(0.5)
    assert not deadline.late()
    deadline.check()
    clock.now = 7.0
    with pytest.raises(TimeIsUp):
        deadline.check()
    with deadline.lifted():
        deadline.check()
        assert deadline.time_left()
    assert not deadline.time_left()
    deadline.final_errors = 1e6  # never more than a part of the limit is set aside
    clock.now = 4.9
    assert deadline.time_left()
    assert Deadline(None).time_left()


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(
    configure: Configure, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(progress: Any, path: Path) -> None:
        raise TrainingError(f"cannot write the checkpoint {path}: No space left on device")

    monkeypatch.setattr("etn_gpu.training.checkpoint.Progress.save", save)
    config = configure(max_iterations=3)
    assert train(config, events.append).iterations == 3
    [warning] = [event.text for event in events if event.kind == "message" and "checkpoint" in event.text]
    assert "No space left on device; the run goes on without" in warning
    assert config.output.exists()


@pytest.mark.parametrize("suffix", [".json", ".png"])
@pytest.mark.usefixtures("plots")
def test_the_model_is_kept_when_a_report_cannot_be_written(
    configure: Configure, events: list[Event], suffix: str
) -> None:
    config = configure(max_iterations=1)

    def tell(event: Event) -> None:
        events.append(event)
        if event.kind == "iteration":
            config.output.with_suffix(suffix).mkdir()

    report = train(config, tell)
    assert etn_gpu.load(config.output).n_parameters == report.n_parameters
    [fault] = [event.text for event in events if event.kind == "unwritten"]
    what = {".json": "the report ", ".png": "the plots "}[suffix]
    assert fault == f"cannot write {what}{config.output.with_suffix(suffix)}: Is a directory"
    assert events[-1].kind == "done"
    assert sorted(path.name for path in config.output.parent.iterdir()) == [
        "model.ckpt.npz", "model.etn", "model.json", "model.png",
    ]  # fmt: skip
