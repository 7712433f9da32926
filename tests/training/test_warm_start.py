"""Runs that begin with a model: where they begin, what they keep, and what a resumed one shares."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

import etn_gpu
from etn_gpu.cli.app import app
from etn_gpu.errors import TrainingError
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.evaluation import collect_errors, score
from etn_gpu.training.objective import Objective, in_proportion
from etn_gpu.training.setup import loss_weights, read_data

Configure = Callable[..., TrainingConfig]
Store = Callable[..., Path]


@pytest.fixture
def base(configure: Configure, tmp_path: Path) -> Path:
    """A model of Cu and Au after four iterations."""
    train(configure(output=tmp_path / "base.etn", max_iterations=4))
    return tmp_path / "base.etn"


@pytest.fixture
def warm(configure: Configure, base: Path) -> Configure:
    """As ``configure``, starting from ``base``, whose sizes and cutoff are left to it."""

    def make(**changes: Any) -> TrainingConfig:
        return configure(**{"init": base, "preset": None, "cutoff": None, **changes})

    return make


@pytest.fixture
def silver(make_alloy: Callable[..., Atoms], label: Callable[..., Atoms]) -> list[Atoms]:
    """Eight labelled alloys of copper and silver."""
    rng = np.random.default_rng(11)
    return [label(make_alloy(rng, ["Cu", "Ag"])) for _ in range(8)]


def of_species(model: etn_gpu.potential.ETNPotential, symbol: str) -> dict[str, Any]:
    """The columns of one element."""
    k = model.species.index(symbol)
    return {name: model.parameters[name][..., k] for name in ("U", "W", "A", "E0")}


@pytest.mark.usefixtures("two_pieces")
def test_it_begins_where_the_model_ended(warm: Configure, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss before the first iteration, on all of the data at once, is that of the model; it ends no worse."""
    monkeypatch.setattr("etn_gpu.training.problem.Problem.strength", lambda self, theta: 0.0)
    config = warm(max_iterations=3)
    report = train(config)
    first = report.history[0]
    assert first["structures"] == 20

    weights = loss_weights(config)
    data = read_data(config, weights, lambda event: None)
    before, after = etn_gpu.potential.load(base), etn_gpu.potential.load(config.output)
    assert data.architecture == before.architecture
    objective = Objective(Kernel(before.architecture, Execution()), weights)
    thetas = [objective.layout.pack(model.parameters) for model in (before, after)]
    errors = [objective.errors(thetas[0], piece) for piece in data.train]
    expected = objective.loss(data.train, errors)
    assert first["loss"] * 20 / (1 - first["decrease"]) == pytest.approx(expected, rel=1e-9)
    scores = [
        score(in_proportion(collect_errors(objective, theta, data.valid), data.valid), weights) for theta in thetas
    ]
    assert scores[1] <= scores[0]


def test_the_model_comes_back_if_nothing_is_better(
    warm: Configure, base: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("etn_gpu.training.run.score", lambda errors, weights: next(scores))
    config = warm()
    train(config, events.append)
    before, after = etn_gpu.potential.load(base), etn_gpu.potential.load(config.output)
    for name, array in before.parameters.items():
        np.testing.assert_array_equal(after.parameters[name], array)
    assert any(event.text.startswith("no iteration made errors smaller") for event in events)


def test_a_run_with_a_new_element(
    warm: Configure, base: Path, store: Store, silver: list[Atoms], alloys: tuple[Path, Path], events: list[Event]
) -> None:
    config = warm(train_file=(alloys[0], store(silver, "silver.extxyz")), max_iterations=4)
    report = train(config, events.append)
    model = etn_gpu.potential.load(config.output)
    assert model.species == ("Cu", "Ag", "Au")
    assert report.architecture["neighbour_rank"] == 2
    assert report.history[-1]["loss"] < 0.5 * report.history[0]["loss"]
    texts = [event.text for event in events]
    assert any(text.startswith("Ag: unknown to ") for text in texts)
    assert not any(text.startswith("start ") for text in texts)
    assert model.metadata["initial_model"]["species"] == ["Cu", "Au"]
    assert model.metadata["training"]["options"]["init"] == "base.etn"
    assert str(base.parent) not in json.dumps(model.metadata)


@pytest.mark.parametrize("method", ["gradient", "sweeps"])
def test_an_element_that_the_data_lack_is_kept(
    method: str,
    warm: Configure,
    base: Path,
    store: Store,
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit what is its own, and with the closest distances that the model was trained on."""
    monkeypatch.setattr("etn_gpu.training.schedule.BETWEEN", 1)
    rng = np.random.default_rng(12)
    copper = store([label(make_alloy(rng, ["Cu"])) for _ in range(6)])
    nothing_held_out = {"valid_file": None, "valid_fraction": 0.0}
    config = warm(train_file=copper, method=method, max_iterations=3, **nothing_held_out)
    report = train(config)
    before, after = etn_gpu.potential.load(base), etn_gpu.potential.load(config.output)
    assert after.species == ("Cu", "Au")
    for name, array in of_species(before, "Au").items():
        np.testing.assert_array_equal(of_species(after, "Au")[name], array)
        assert not np.array_equal(of_species(after, "Cu")[name], of_species(before, "Cu")[name])
    np.testing.assert_array_equal(after.minimum_distances[1], before.minimum_distances[1])
    assert after.minimum_distances[0, 0] <= before.minimum_distances[0, 0]
    assert any(text.startswith("Au: known to ") for text in report.warnings)


def test_sweeps_begin_with_the_ranks_of_the_model(warm: Configure, base: Path) -> None:
    config = warm(method="sweeps", max_iterations=1)
    assert train(config).architecture["bonds"] == etn_gpu.potential.load(base).architecture.bonds


def test_held_out_structures_that_the_model_may_have_seen(
    warm: Configure, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 0)
    train(warm(valid_file=None, valid_fraction=0.2, max_iterations=1), events.append)
    assert any("may have been trained on structures that are held out now" in event.text for event in events)


class TestResume:
    def test_goes_on_exactly(self, warm: Configure, tmp_path: Path) -> None:
        whole = warm(output=tmp_path / "whole.etn", max_iterations=2)
        train(whole)
        train(warm(max_iterations=1))
        config = warm(max_iterations=2)
        train(warm(max_iterations=2, resume=config.checkpoint))
        expected, found = etn_gpu.potential.load(whole.output), etn_gpu.potential.load(config.output)
        for name, array in expected.parameters.items():
            np.testing.assert_array_equal(found.parameters[name], array)

    def test_the_model_may_move_and_not_change(self, warm: Configure, base: Path, tmp_path: Path) -> None:
        config = warm(max_iterations=1)
        train(config)
        (tmp_path / "elsewhere.etn").write_bytes(base.read_bytes())
        assert train(warm(init=tmp_path / "elsewhere.etn", resume=config.checkpoint)).iterations == 2
        with pytest.raises(TrainingError, match=r"belongs to another run: init was '[0-9a-f]{16}', is '[0-9a-f]{16}'"):
            train(warm(init=config.output, output=tmp_path / "other.etn", resume=config.checkpoint))

    def test_not_without_the_model(self, warm: Configure, configure: Configure) -> None:
        config = warm(max_iterations=1)
        train(config)
        with pytest.raises(TrainingError, match=r"init was '[0-9a-f]{16}', is None"):
            train(configure(resume=config.checkpoint))


def test_the_model_is_not_overwritten(warm: Configure, base: Path) -> None:
    content = base.read_bytes()
    with pytest.raises(TrainingError, match=r"cannot write .*base\.etn: it is the input file .*base\.etn"):
        train(warm(output=base))
    assert base.read_bytes() == content


def test_no_time(warm: Configure) -> None:
    with pytest.raises(etn_gpu.errors.TimeLimitError, match="before anything was trained"):
        train(warm(time_limit=1e-6))


def test_on_the_command_line(
    base: Path, alloys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 0)
    output = tmp_path / "cli.etn"
    arguments = ["train", *alloys, "--init", base, "-o", output, "--max-iterations", 1, "--valid-fraction", 0.2]
    finished = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert finished.exit_code == 0, finished.output
    assert f"starting from {base} (Cu Au), with its sizes and its cutoff" in finished.stdout
    assert etn_gpu.potential.load(output).metadata["training_data"]["file"] == "train.extxyz, valid.extxyz"
