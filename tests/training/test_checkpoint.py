"""Checkpoint files: complete, exact, and replaced in one piece."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture
from etn_gpu.training.checkpoint import FORMAT_VERSION, Progress

IDENTITY = {"train_file": "train.xyz", "cutoff": 5.0, "weights": None}
PRESET = Architecture(("Cu", "Au"), 5.0, 0.1 + 0.2, 2, (2, 1), 1, 1, ("2x0e",))
ARCHITECTURE = PRESET.to_dict()
BEST = replace(PRESET, bonds=("1x0e",))


def progress(**changes: Any) -> Progress:
    rng = np.random.default_rng(7)
    fields: dict[str, Any] = {
        "identity": IDENTITY,
        "preset": ARCHITECTURE,
        "architecture": ARCHITECTURE,
        "theta": rng.normal(size=PRESET.n_parameters),
        "best_architecture": BEST.to_dict(),
        "best_theta": rng.normal(size=BEST.n_parameters),
        "best_score": 1 / 3,
        "damping": 1e-3,
        "active": 4,
        "iteration": 2,
        "elapsed": 12.5,
        "random_state": dict(rng.bit_generator.state),
    }
    fields |= changes
    fields.setdefault("history", [entry(i + 1) for i in range(fields["iteration"])])
    return Progress(**fields)


def entry(iteration: int) -> dict[str, Any]:
    """What the history holds of an iteration."""
    return {
        "iteration": iteration,
        "elapsed": 6.25 * iteration,
        "loss": 0.1,
        "decrease": 1 / 3,
        "structures": 7,
        "complete": False,
        "score": np.inf,
        "train": {"energy_mae": 0.1, "stress_mae": None},
        "valid": {},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.ckpt.npz"


def test_round_trip_is_exact(path: Path) -> None:
    saved = progress(best_score=np.inf)
    saved.save(path)
    loaded = Progress.load(path, IDENTITY, ARCHITECTURE)
    for name in ("theta", "best_theta"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    for name in ("identity", "best_score", "damping", "active", "iteration", "elapsed", "random_state", "history"):
        assert getattr(loaded, name) == getattr(saved, name)
    for name in ("preset", "architecture", "best_architecture"):
        assert getattr(loaded, name) == json.loads(json.dumps(getattr(saved, name)))
    first, second = np.random.default_rng(), np.random.default_rng()
    first.bit_generator.state, second.bit_generator.state = saved.random_state, loaded.random_state
    assert first.random() == second.random()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_interrupted_write_leaves_the_earlier_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    progress().save(path)

    def fsync(file: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(type(error)):
        progress(iteration=3).save(path)
    assert Progress.load(path, IDENTITY, ARCHITECTURE).iteration == 2
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress().save(path)

    def fsync(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TrainingError, match=r"cannot write the checkpoint .*: No space left on device"):
        progress(iteration=3).save(path)
    assert Progress.load(path, IDENTITY, ARCHITECTURE).iteration == 2
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot write the checkpoint"):
        progress().save(tmp_path / "gone" / "model.ckpt.npz")


def test_missing_file(path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no checkpoint .*a run writes MODEL\.ckpt\.npz beside its model"):
        Progress.load(path, IDENTITY, ARCHITECTURE)


def write_foreign(path: Path, kind: str) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("a checkpoint, promised")
    elif kind == "truncated":
        progress().save(path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "flipped":
        progress().save(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(bytes(content))
    elif kind == "single array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "pickle":
        np.savez(path, header=np.array([object()], dtype=object), theta=np.zeros(1), best_theta=np.zeros(1))
    else:
        headers = {"foreign npz": "3", "no version": "{}", "no fields": json.dumps({"format_version": FORMAT_VERSION})}
        np.savez(path, header=np.array(headers[kind]), theta=np.zeros(1), best_theta=np.zeros(1))


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "text",
        "truncated",
        "flipped",
        "single array",
        "pickle",
        "foreign npz",
        "no version",
        "no fields",
    ],
)
def test_a_file_that_is_no_checkpoint(path: Path, kind: str) -> None:
    write_foreign(path, kind)
    with pytest.raises(TrainingError, match="is not a readable checkpoint"):
        Progress.load(path, IDENTITY, ARCHITECTURE)


def test_newer_format(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etn_gpu.training.checkpoint.FORMAT_VERSION", 99)
    progress().save(path)
    monkeypatch.undo()
    with pytest.raises(TrainingError, match=f"has format version 99, this version reads {FORMAT_VERSION}"):
        Progress.load(path, IDENTITY, ARCHITECTURE)


def test_other_options(path: Path) -> None:
    progress().save(path)
    complaint = r"another run: cutoff was 5\.0, is 4\.0; weights was None, is \{'energy': 2\.0\}\. Resume with"
    with pytest.raises(TrainingError, match=complaint):
        Progress.load(path, IDENTITY | {"cutoff": 4.0, "weights": {"energy": 2.0}}, ARCHITECTURE)


def test_other_architecture(path: Path) -> None:
    """A preset that changed between versions."""
    progress().save(path)
    with pytest.raises(TrainingError, match="belongs to another architecture"):
        Progress.load(path, IDENTITY, ARCHITECTURE | {"inner": 0.4})
