"""Whole training runs on EMT alloys: what they reach, say and leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase.io import iread, read

import etn_gpu
from etn_gpu.potential.metrics import Metrics
from etn_gpu.structures import read_labelled
from etn_gpu.training import Event, TrainingConfig, train

Configure = Callable[..., TrainingConfig]


def first_loss(history: list[dict[str, float]]) -> float:
    """The loss before the first iteration."""
    return history[0]["loss"] / (1 - history[0]["decrease"])


def metrics(model: etn_gpu.potential.ETNPotential, path: Path) -> Metrics:
    labels = read_labelled(path)
    found = Metrics()
    for s, result in enumerate(model.evaluate(labels.atoms)):
        forces, n_atoms = labels.forces[s], len(labels.atoms[s])
        found.add(result, n_atoms=n_atoms, energy=labels.energy[s], forces=forces, stress=labels.stress[s])
    return found


@pytest.mark.usefixtures("plots", "whole_iterations")
def test_a_run_from_data_to_model(configure: Configure, alloys: tuple[Path, Path], events: list[Event]) -> None:
    config = configure(max_iterations=8, metadata={"licence": "BSD-3-Clause"})
    report = train(config, events.append)

    # it learns
    assert report.iterations == 8
    assert report.history[-1]["loss"] < 0.01 * first_loss(report.history)
    spread = np.std(read_labelled(alloys[1]).energy / 8)
    assert report.valid["energy_mae"] is not None
    assert report.valid["energy_mae"] < 0.2 * spread

    # the model is the one that the report is about
    model = etn_gpu.potential.load(config.output)
    assert model.species == ("Cu", "Au")
    assert model.n_parameters == report.n_parameters
    for path, errors in zip(alloys, (report.train, report.valid), strict=True):
        found = metrics(model, path)
        for name in ("energy", "forces", "stress"):
            assert errors[f"{name}_mae"] == pytest.approx(getattr(found, name).mae, rel=1e-9)
            assert errors[f"{name}_rmse"] == pytest.approx(getattr(found, name).rmse, rel=1e-9)

    # what it says of itself
    assert model.metadata["errors"]["valid"] == report.valid
    assert model.metadata["licence"] == "BSD-3-Clause"
    assert model.metadata["training_data"]["structures"] == 20
    assert model.metadata["training"]["options"]["train_file"] == "train.extxyz"
    assert str(alloys[0].parent) not in json.dumps(model.metadata)

    # the files beside it
    assert json.loads(config.output.with_suffix(".json").read_text()) == json.loads(json.dumps(report.to_dict()))
    assert config.output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert config.checkpoint.is_file()
    assert not list(config.output.parent.glob(".*"))

    # and what it told on the way
    assert [event.kind for event in events] == ["audit", "audit", "message", *["iteration"] * 8, "done"]
    assert "20 structures, 160 atoms" in events[0].text
    assert "6 structures, 48 atoms" in events[1].text
    parameters = report.n_parameters
    sizes = f"{parameters} parameters, cutoff {config.cutoff:g} A"
    assert events[2].text == f"training on 20 structures (160 atoms), validating on 6; {sizes}"
    iterations = events[3:-1]
    assert [event.iteration for event in iterations] == list(range(1, 9))
    assert all(earlier.elapsed < later.elapsed for earlier, later in pairwise(iterations))
    assert [event.loss for event in iterations] == [entry["loss"] for entry in report.history]
    assert set(iterations[0].valid) == {
        f"{name}_{kind}" for name in ("energy", "forces", "stress") for kind in ("mae", "rmse")
    }
    assert events[-1].report == report.to_dict()


def test_closest_pairs_and_formation_references(
    configure: Configure, store: Callable[..., Path], label: Callable[..., object], alloys: tuple[Path, Path]
) -> None:
    frames = list(iread(alloys[0], ":10"))
    copper = frames[0].copy()
    copper.symbols[:] = "Cu"
    train(configure(train_file=store([*frames, label(copper)]), valid_file=None, valid_fraction=0, max_iterations=1))
    model = etn_gpu.potential.load(configure().output)
    distances = {"CuCu": np.inf, "CuAu": np.inf, "AuAu": np.inf}
    for atoms in [*frames, copper]:
        d = atoms.get_all_distances(mic=True)
        for i, j in zip(*np.triu_indices(len(atoms), 1), strict=True):
            pair = "".join(sorted((atoms.symbols[i], atoms.symbols[j]), reverse=True))
            distances[pair] = min(distances[pair], d[i, j])
    expected = [[distances["CuCu"], distances["CuAu"]], [distances["CuAu"], distances["AuAu"]]]
    np.testing.assert_allclose(model.minimum_distances, expected, rtol=1e-9)
    [reference] = model.metadata["formation_references"].items()
    assert reference == ("Cu", pytest.approx(copper.info["REF_energy"] / 8))


def test_the_same_run_gives_the_same_model(configure: Configure, tmp_path: Path) -> None:
    first, again, other = (configure(output=tmp_path / f"{k}.etn", seed=k // 2, max_iterations=2) for k in range(3))
    for config in (first, again, other):
        train(config)
    models = [etn_gpu.potential.load(config.output) for config in (first, again, other)]
    for name, expected in models[0].parameters.items():
        np.testing.assert_array_equal(models[1].parameters[name], expected)
    assert not np.array_equal(models[2].parameters["B1"], models[0].parameters["B1"])


def test_backend_numpy(
    configure: Configure, tmp_path: Path, store: Callable[..., Path], alloys: tuple[Path, Path]
) -> None:
    """The oracle trains too, and the same way."""
    few = store(read(alloys[0], ":4"))
    reports = []
    for backend in ("numpy", "numba"):
        config = configure(
            train_file=few, valid_file=None, valid_fraction=0.0, backend=backend,
            output=tmp_path / f"{backend}.etn", max_iterations=1,
        )  # fmt: skip
        reports.append(train(config))
    assert reports[0].history[0]["loss"] == pytest.approx(reports[1].history[0]["loss"], rel=0.05)
    assert first_loss(reports[0].history) == pytest.approx(first_loss(reports[1].history), rel=1e-8)


def test_held_out_part(configure: Configure, events: list[Event]) -> None:
    report = train(configure(valid_file=None, valid_fraction=0.25, max_iterations=1), events.append)
    assert "training on 15 structures (120 atoms), validating on 5" in events[1].text
    assert report.valid["energy_mae"] is not None


def test_the_best_of_several_starts_is_taken(
    configure: Configure, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four starts the better half goes on; the run begins where the best of the two has come."""
    # The loss is that of the last iteration before only where the strength of the prior stays.
    monkeypatch.setattr("etn_gpu.training.problem.Problem.strength", lambda self, theta: 1.0)
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 4)
    monkeypatch.setattr("etn_gpu.training.run.START_ITERATIONS", 2)
    several = train(configure(max_iterations=1), events.append)
    texts = [event.text for event in events if event.text.startswith("start ")]
    assert [text.split(":")[0] for text in texts] == [f"start {k} of 4" for k in (1, 2, 3, 4)]
    first = sorted(float(text.split("loss ")[1]) for text in texts)
    [round_two] = [event.text for event in events if event.text.startswith("the best 2 of them: loss ")]
    second = [float(loss) for loss in round_two.split("loss ")[1].split(", ")]
    assert all(after < before for before, after in zip(first, second, strict=False))
    lowest = min(second)
    n_structures = several.history[0]["structures"]
    assert first_loss(several.history) * n_structures == pytest.approx(lowest, rel=1e-3)


def test_starts_are_not_tried_when_time_is_short(
    configure: Configure, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 3)
    monkeypatch.setattr("etn_gpu.training.run.START_SHARE", 0.0)
    assert train(configure(time_limit=100.0), events.append).iterations == 2
    assert not any(event.text.startswith("start ") for event in events)


def test_held_out_structures_are_trained_on_in_the_end(
    configure: Configure, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model fits them better afterwards; the reported errors are those of the model that had not seen them."""
    config = configure(valid_file=None, valid_fraction=0.25, max_iterations=4)
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 0)
    before = train(config)
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 3)
    after = train(config, events.append)
    assert [e.text for e in events if e.text.startswith("refit")] == [
        f"refit {k} of 3 on all structures" for k in (1, 2, 3)
    ]
    assert after.valid == before.valid
    assert after.history[-1]["loss"] == before.history[-1]["loss"]
    model = metrics(etn_gpu.potential.load(config.output), config.train_files[0])
    held_out = after.valid["forces_rmse"]
    assert held_out is not None
    assert model.as_dict()["forces"]["rmse"] < held_out


def test_a_file_to_validate_on_is_never_trained_on(configure: Configure, events: list[Event]) -> None:
    train(configure(max_iterations=1), events.append)
    assert not any(event.text.startswith("refit") for event in events)


def test_a_part_of_the_time_limit_is_left_to_the_refit(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations end before the limit only where something was held out."""
    clock = iter(range(10**6))
    monkeypatch.setattr("etn_gpu.training.deadline.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 0)
    monkeypatch.setattr("etn_gpu.training.run.REFIT_SHARE", 0.9)
    long = train(configure(time_limit=500.0, max_iterations=30))
    clock = iter(range(10**6))
    short = train(configure(time_limit=500.0, max_iterations=30, valid_file=None, valid_fraction=0.25))
    assert short.iterations < long.iterations < 30


def test_without_validation(configure: Configure, events: list[Event]) -> None:
    report = train(configure(valid_file=None, valid_fraction=0.0, max_iterations=2), events.append)
    assert "validating on 0" in events[1].text
    assert report.valid == {}
    assert [event.valid for event in events if event.kind == "iteration"] == [{}, {}]
    assert etn_gpu.potential.load(configure().output).metadata["errors"]["valid"] == {}


def test_the_best_of_all_iterations_is_kept(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores as if the second of three iterations were the best on the validation data."""
    scores = iter([3.0, 1.0, 2.0])
    kept = []
    monkeypatch.setattr("etn_gpu.training.run.score", lambda errors, weights: next(scores))
    config = configure(max_iterations=3, repulsion="none")
    report = train(config, lambda event: kept.append(event.valid.get("energy_mae")))
    iterations = [value for value in kept if value is not None]
    assert report.valid["energy_mae"] == iterations[1]
    assert len(set(iterations)) == 3


def test_remaining_time(configure: Configure, events: list[Event]) -> None:
    train(configure(time_limit=3600.0, max_iterations=2), events.append)
    for event in events:
        if event.kind == "iteration":
            assert event.remaining == pytest.approx(3600.0 - event.elapsed)


def test_no_time_limit_no_estimate(configure: Configure, events: list[Event]) -> None:
    train(configure(max_iterations=1), events.append)
    assert [event.remaining for event in events if event.kind == "iteration"] == [None]


def test_it_stops_when_nothing_improves(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etn_gpu.training.run.CONVERGED", 1.0)
    report = train(configure(max_iterations=50))
    assert report.iterations == 4


@pytest.mark.parametrize(("best", "fruitless", "iterations"), [(1, 2, 3), (3, 2, 6), (2, 4, 6)])
def test_it_stops_when_only_the_training_errors_fall(
    best: int, fruitless: int, iterations: int, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the ``best`` iteration, as many as had led to it, and at least ``fruitless``."""
    scores = iter([1.0 + abs(best - k) for k in range(1, 60)])
    monkeypatch.setattr("etn_gpu.training.run.score", lambda errors, weights: next(scores))
    monkeypatch.setattr("etn_gpu.training.run.FRUITLESS", fruitless)
    monkeypatch.setattr("etn_gpu.training.run.CONVERGED", 0.0)
    assert train(configure(max_iterations=50)).iterations == iterations


@pytest.mark.usefixtures("two_pieces")
def test_more_data_are_used_when_progress_slows(configure: Configure) -> None:
    report = train(configure())
    assert [entry["structures"] for entry in report.history] == [10, 20]
    assert [entry["complete"] for entry in report.history] == [False, True]
