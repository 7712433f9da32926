"""Options: what is taken, and what is refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etn_gpu.errors import TrainingError
from etn_gpu.potential import PRESETS
from etn_gpu.structures import LabelKeys
from etn_gpu.training import TrainingConfig


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(**({"train_file": Path("train.xyz"), "output": Path("model.etn")} | options))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"cutoff": 0.0}, r"cutoff must be a positive number of A, got 0\.0"),
        ({"cutoff": -1.0}, "cutoff must be a positive number"),
        ({"cutoff": float("nan")}, "cutoff must be a positive number"),
        ({"weights": {"charge": 1.0}}, r"unknown weights \['charge'\]: choose from energy, forces, stress"),
        ({"weights": {"energy": -1.0}}, "weights must be numbers >= 0"),
        ({"weights": {"forces": float("inf")}}, "weights must be numbers >= 0"),
        ({"weights": {"energy": 0.0, "forces": 0.0, "stress": 0.0}}, "all weights are zero"),
        ({"time_limit": 0.0}, "time limit must be positive"),
        ({"time_limit": float("nan")}, "time limit must be positive"),
        ({"valid_fraction": 1.0}, r"validation fraction must be in \[0, 1\), got 1\.0"),
        ({"valid_fraction": -0.1}, "validation fraction"),
        ({"valid_fraction": float("nan")}, "validation fraction"),
        ({"preset": "huge"}, "'huge' is not a preset; choose one of small, standard, large"),
        ({"preset": ("small",)}, r"\('small',\) is not a preset; .*or give a Preset with sizes of your own"),
        ({"method": "dmrg"}, "'dmrg' is not a method of training; choose one of sweeps, gradient"),
        ({"init": 3}, "the initial model must be the name of a shipped model or a file, got 3"),
        ({"group_weights": {"a": -1.0}}, r"weights of groups must be numbers >= 0, got {'a': -1\.0}"),
        ({"group_weights": {"a": float("inf")}}, "weights of groups must be numbers >= 0"),
        ({"reference_energies": "guess"}, "'guess' is no source of reference energies; choose 'fit' or 'isolated'"),
        ({"reference_energies": {"Xx": 1.0}}, "by chemical symbol, and there is no Xx"),
        ({"reference_energies": {"Mo": float("nan")}}, r"must be finite numbers \(eV\), got {'Mo': nan}"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"metadata": {"when": object()}}, "metadata cannot be written as JSON"),
        ({"metadata": {"x": float("nan")}}, "metadata cannot be written as JSON"),
    ],
)
def test_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        config(**options)


def test_paths_may_be_strings() -> None:
    given = config(train_file="a.xyz", output="m.etn", valid_file="b.xyz", resume="m.ckpt.npz")
    assert (given.train_file, given.valid_file, given.resume) == (Path("a.xyz"), Path("b.xyz"), Path("m.ckpt.npz"))
    assert given.written == (Path("m.etn"), Path("m.json"), Path("m.png"), Path("m.ckpt.npz"))
    assert given.checkpoint == Path("m.ckpt.npz")


def test_identity_holds_what_decides_the_result() -> None:
    """Neither where the model goes, nor how long or on what the run goes on."""
    same = {"output": "other.etn", "time_limit": 5.0, "max_iterations": 3, "backend": "numpy", "threads": 2}
    assert config().identity() == config(**same, resume="x.npz", metadata={"a": 1}).identity()
    for option in (
        {"train_file": "b.xyz"},
        {"valid_file": "b.xyz"},
        {"valid_fraction": 0.2},
        {"preset": "small"},
        {"preset": PRESETS["small"]},
        {"method": "sweeps"},
        {"cutoff": 4.0},
        {"weights": {"energy": 2.0}},
        {"seed": 1},
        {"init": "mo"},
        {"group_weights": {"a": 2.0}},
        {"reference_energies": "isolated"},
        {"reference_energies": {"Mo": -4.6}},
    ):
        assert config().identity() != config(**option).identity()


def test_sizes_are_those_of_the_initial_model_whether_they_are_given_or_not() -> None:
    assert config(init="mo").identity() == config(init="mo", preset="standard", cutoff=5.0).identity()
    assert config().identity() == config(preset="standard").identity()


def test_new_options_belong_to_the_identity_only_when_given() -> None:
    """Checkpoints of runs without any go on as before."""
    assert not {"init", "group_weights", "reference_energies"} & set(config().identity())


def test_label_keys_belong_to_the_identity_only_when_given() -> None:
    """Checkpoints of runs without any go on as before."""
    assert "label_keys" not in config().identity()
    assert config(label_keys=LabelKeys(forces="F")).identity()["label_keys"] == {"forces": "F"}
