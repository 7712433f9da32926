"""`etn-gpu train`: what reaches the training, and what is shown of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import etn_gpu.training
from etn_gpu.cli.training_display import TrainingDisplay, format_duration
from etn_gpu.errors import TimeLimitError

Run = Callable[..., Any]

EVENTS = [
    SimpleNamespace(kind="audit", text="energy: 10 of 10 structures [eV]"),
    SimpleNamespace(
        kind="iteration",
        iteration=1,
        loss=0.5,
        train={"energy_mae": 0.012, "forces_mae": 0.2, "stress_mae": 0.01},
        valid={"energy_mae": 0.015, "forces_mae": 0.25, "stress_mae": float("nan")},
        elapsed=61.2,
        remaining=3600.0,
    ),
    SimpleNamespace(kind="message", text="checkpoint [1] written"),
    SimpleNamespace(kind="iteration", iteration=2, loss=0.25, train={}, valid=None, elapsed=70.0, remaining=None),
    SimpleNamespace(
        kind="done",
        report={
            "n_parameters": 683,
            "iterations": 2,
            "seconds": 71.0,
            "train": {
                "energy_mae": 0.01,
                "energy_rmse": 0.02,
                "forces_mae": 0.1,
                "forces_rmse": 0.2,
                "stress_mae": None,
            },
            "valid": {},
            "groups": {},
            "ended": "max_iterations",
            "refits": 0,
        },
    ),
]


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that training was started with; training itself only tells of :data:`EVENTS`."""
    seen = []

    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        seen.append(config)
        for event in EVENTS:
            on_event(event)

    monkeypatch.setattr(etn_gpu.training, "train", train)
    return seen


def test_defaults(run: Run, configs: list[Any]) -> None:
    finished = run("train", "train.xyz", "--output", "m.etn")
    assert finished.code == 0, finished.err
    [config] = configs
    expected: dict[str, Any] = {
        "train_file": Path("train.xyz"),
        "output": Path("m.etn"),
        "valid_file": None,
        "valid_fraction": 0.1,
        "init": None,
        "preset": None,
        "group_weights": {},
        "reference_energies": "fit",
        "repulsion": "zbl",
        "repulsion_reach": 1.0,
        "method": "gradient",
        "cutoff": None,
        "weights": None,
        "time_limit": None,
        "seed": 0,
        "resume": None,
        "backend": None,
        "threads": None,
        "max_iterations": None,
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_all_options(run: Run, configs: list[Any]) -> None:
    options = ["--valid-fraction", 0.2, "--preset", "small", "--cutoff", 4.5, "--weights", "energy=1,forces=0.1"]
    options += ["--time-limit", "1h30m", "--seed", 3, "--resume", "a.ckpt", "--backend", "numpy", "--threads", 2]
    options += ["--method", "sweeps", "--max-iterations", 7]
    assert run("train", "train.xyz", "-o", "m.etn", *options).code == 0
    [config] = configs
    assert (config.valid_fraction, config.preset, config.method, config.cutoff) == (0.2, "small", "sweeps", 4.5)
    assert config.weights == {"energy": 1.0, "forces": 0.1}
    assert (config.time_limit, config.seed, config.resume) == (5400.0, 3, Path("a.ckpt"))
    assert (config.backend, config.threads, config.max_iterations) == ("numpy", 2, 7)


def test_options_of_warm_starts_groups_and_reference_energies(run: Run, configs: list[Any]) -> None:
    options = ["--init", "mo", "--group-weight", "a=2", "--group-weight", "b=0", "--reference-energies", "Mo=-4.6"]
    assert run("train", "a.xyz", "b.xyz", "-o", "m.etn", *options).code == 0
    [config] = configs
    assert config.train_file == (Path("a.xyz"), Path("b.xyz"))
    assert (config.init, config.group_weights, config.reference_energies) == ("mo", {"a": 2.0, "b": 0.0}, {"Mo": -4.6})


def test_options_of_repulsion(run: Run, configs: list[Any]) -> None:
    assert run("train", "a.xyz", "-o", "m.etn", "--repulsion", "none").code == 0
    assert run("train", "a.xyz", "-o", "m.etn", "--repulsion-reach", 1.2).code == 0
    assert [(config.repulsion, config.repulsion_reach) for config in configs] == [("none", 1.0), ("zbl", 1.2)]
    assert run("train", "a.xyz", "-o", "m.etn", "--repulsion-reach", 0.5).code == 2


def test_output_in_a_pipe_is_plain_lines(run: Run, configs: list[Any]) -> None:
    lines = run("train", "train.xyz", "-o", "m [1].etn").out.splitlines()
    assert lines[0] == "energy: 10 of 10 structures [eV]"
    assert "validation MAE" in lines[1]
    assert lines[2].split()[:3] == ["iter", "elapsed", "loss"]
    cells = ["1", "0:01:01", "5.000e-01", "12", "0.2", "1.6", "15", "0.25", "-", "1:00:00"]
    assert lines[3].split() == cells
    assert len(lines[3]) < 80
    assert lines[4] == "checkpoint [1] written"
    assert lines[5].split() == ["2", "0:01:10", "2.500e-01", "-", "-", "-", "-", "-", "-"]
    assert lines[6] == "683 parameters after 2 iterations, 0:01:11; as many as were asked for"
    assert lines[10].split() == ["training", "10", "20", "0.1", "0.2", "-", "-"]
    assert lines[-2:] == ["model: m [1].etn", "report: m [1].json; plots: m [1].png"]


def test_a_terminal_shows_a_live_line_as_well() -> None:
    console = Console(force_terminal=True, width=120, markup=False, highlight=False, record=True)
    with TrainingDisplay(console, time_limit=100.0) as display:
        for event in EVENTS:
            display.show(event)
    text = console.export_text()
    assert "checkpoint [1] written" in text
    assert "0:01:01" in text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--valid", "v.xyz", "--valid-fraction", "0.2"], "--valid and --valid-fraction exclude each other"),
        (["--time-limit", "soon"], "is no duration above zero"),
        (["--weights", "charge=1"], "'charge=1' is not understood"),
        (["--weights", "energy=0,forces=0,stress=0"], "all weights are zero"),
        (["--group-weight", "liquid"], "'liquid' is not understood; write NAME=FACTOR"),
        (["--reference-energies", "Xx=1"], "by chemical symbol, and there is no Xx"),
        (["train.xyz"], "train.xyz is given twice to train on"),
    ],
)
def test_wrong_use(run: Run, configs: list[Any], options: list[str], complaint: str) -> None:
    finished = run("train", "train.xyz", "-o", "m.etn", *options)
    assert finished.code == 2
    assert complaint in finished.err
    assert configs == []


@pytest.mark.parametrize(
    "options", [["--preset", "huge"], ["--method", "dmrg"], ["--valid-fraction", "1.5"], ["--max-iterations", "0"], []]
)
def test_wrong_options(run: Run, configs: list[Any], options: list[str]) -> None:
    arguments = ["train", "train.xyz", "-o", "m.etn", *options] if options else ["train", "train.xyz"]
    assert run(*arguments).code == 2
    assert configs == []


def test_a_run_that_was_cut_short_says_so_and_which_model_each_line_is_of(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {**EVENTS[-1].report, "ended": "time_limit", "refits": 2}
    report["valid"] = report["train"]

    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        on_event(SimpleNamespace(kind="done", report=report))

    monkeypatch.setattr(etn_gpu.training, "train", train)
    finished = run("train", "train.xyz", "-o", "m.etn", "--time-limit", "5s")
    assert finished.code == 4
    assert "cut short by the time limit" in finished.out
    assert "The time limit ended this run before it had converged" in finished.out
    assert "training, after 2 more on all structures" in finished.out
    assert "validation, before these" in finished.out
    assert "model: m.etn" in finished.out


def test_errors_by_group_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the errors of their set, the largest group first, up to a dozen of them."""
    groups = {f"group {k}": {"structures": k, "energy_mae": 0.001 * k, "forces_mae": 0.5} for k in range(1, 15)}
    left_out = {"gas\x1b": {"structures": 3, "energy_mae": 0.7}}
    report = {**EVENTS[-1].report, "groups": {"train": groups, "left_out": left_out}}

    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        on_event(SimpleNamespace(kind="done", report=report))

    monkeypatch.setattr(etn_gpu.training, "train", train)
    lines = [line.rstrip() for line in run("train", "train.xyz", "-o", "m.etn").out.splitlines()]
    at = next(k for k, line in enumerate(lines) if line.startswith("training "))
    assert re.match(r"  group 14, 14 structures +14 +- +0\.5 +- +- +-$", lines[at + 1])
    assert lines[at + 12].startswith("  group 3, 3 structures")
    assert lines[at + 13].strip() == "and 2 more groups in the report"
    assert lines[at + 14] == "left out of the training"
    assert re.match(r"  gas\\x1b, 3 structures +700 ", lines[at + 15])


def test_no_time_for_anything(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        raise TimeLimitError("the time limit of 1 s was over")

    monkeypatch.setattr(etn_gpu.training, "train", train)
    finished = run("train", "train.xyz", "-o", "m.etn", "--time-limit", "1s")
    assert finished.code == 4
    assert finished.err == "Error: the time limit of 1 s was over\n"
    assert "model:" not in finished.out


def test_a_report_that_cannot_be_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        on_event(SimpleNamespace(kind="unwritten", text="cannot write m.png: no space left"))
        on_event(EVENTS[-1])

    monkeypatch.setattr(etn_gpu.training, "train", train)
    finished = run("train", "train.xyz", "-o", "m.etn")
    assert finished.code == 3
    assert "cannot write m.png: no space left; the model is written" in finished.err
    assert "model: m.etn" in finished.out


def test_ctrl_c_before_the_first_checkpoint(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: Any, on_event: Callable[[Any], None]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(etn_gpu.training, "train", train)
    finished = run("train", "train.xyz", "-o", tmp_path / "m.etn")
    assert finished.code == 130
    assert "interrupted: there is no checkpoint yet" in finished.out


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00:00"), (90, "0:01:30"), (7261, "2:01:01"), (-3, "0:00:00")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
