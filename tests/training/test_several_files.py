"""Several files to train on: one set, whose structures are still those of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread

import etn_gpu
from etn_gpu.errors import DataError, StructureError, TrainingError
from etn_gpu.structures import read_labelled
from etn_gpu.structures.joined import copies_between, join_labelled
from etn_gpu.training import Event, TrainingConfig, train

Configure = Callable[..., TrainingConfig]
Store = Callable[..., Path]


@pytest.fixture
def parts(store: Store, alloys: tuple[Path, Path]) -> tuple[Path, Path]:
    """The training set in two files, of 12 and 8 structures."""
    frames = list(iread(alloys[0]))
    return store(frames[:12], "a.extxyz"), store(frames[12:], "b.extxyz")


def test_two_files_are_one_set(configure: Configure, parts: tuple[Path, Path], events: list[Event]) -> None:
    whole = configure(max_iterations=1)
    train(whole)
    expected = etn_gpu.load(whole.output)
    report = train(configure(max_iterations=1, train_file=parts), events.append)
    found = etn_gpu.load(whole.output)
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array)
    audits = [event.text.splitlines()[0] for event in events if event.kind == "audit"]
    assert [text.split(":")[1].split(",")[0] for text in audits] == [" 12 structures", " 8 structures", " 6 structures"]
    data = found.metadata["training_data"]
    assert (data["file"], data["structures"]) == ("a.extxyz, b.extxyz", 20)
    assert data["label_keys"] == expected.metadata["training_data"]["label_keys"]
    assert found.metadata["training"]["options"]["train_file"] == ["a.extxyz", "b.extxyz"]
    assert {name: group["structures"] for name, group in report.groups["train"].items()} == {
        "a.extxyz": 12, "b.extxyz": 8
    }  # fmt: skip


def test_part_of_each_is_held_out(
    configure: Configure, parts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 0)
    report = train(configure(max_iterations=1, train_file=parts, valid_file=None, valid_fraction=0.25))
    assert {name: group["structures"] for name, group in report.groups["valid"].items()} == {
        "a.extxyz": 3, "b.extxyz": 2
    }  # fmt: skip


def test_a_bad_structure_is_named_by_its_file(configure: Configure, store: Store, parts: tuple[Path, Path]) -> None:
    frames = list(iread(parts[1]))
    frames[3].positions[0] = frames[3].positions[1]
    spoilt = store(frames, "c.extxyz")
    with pytest.raises(StructureError, match=r"c\.extxyz, structure 3 \(counted from 0\): .*at one place"):
        train(configure(train_file=(parts[0], spoilt)))


def test_a_file_without_labels(configure: Configure, store: Store, parts: tuple[Path, Path]) -> None:
    bare = store([Atoms(f.numbers, f.positions, cell=f.cell, pbc=f.pbc) for f in iread(parts[1])], "bare.extxyz")
    with pytest.raises(DataError, match=r"bare\.extxyz: no energy and no forces in any of 8 structures"):
        train(configure(train_file=(parts[0], bare)))


def test_copies_of_structures_in_another_file(
    configure: Configure, store: Store, parts: tuple[Path, Path], events: list[Event]
) -> None:
    again = store([*iread(parts[0], ":2"), *iread(parts[1])], "c.extxyz")
    report = train(configure(train_file=(parts[0], again), max_iterations=1), events.append)
    [text] = [text for text in report.warnings if "copies of structures in files before it" in text]
    assert text.startswith("2 of 10 structures in ")
    assert any(event.text == f"warning: {text}" for event in events)


def test_joined_labels(parts: tuple[Path, Path], alloys: tuple[Path, Path]) -> None:
    first, second, whole = map(read_labelled, (*parts, alloys[0]))
    assert join_labelled([first]) is first
    joined = join_labelled([first, second])
    np.testing.assert_array_equal(joined.energy, whole.energy)
    np.testing.assert_array_equal(joined.stress, whole.stress)
    for forces, expected in zip(joined.forces, whole.forces, strict=True):
        assert forces is not None
        assert expected is not None
        np.testing.assert_array_equal(forces, expected)
    assert joined.keys == whole.keys
    assert joined.config_type == ["a.extxyz"] * 12 + ["b.extxyz"] * 8
    assert joined.where(11) == f"{parts[0]}, structure 11 (counted from 0)"
    assert joined.where(12) == f"{parts[1]}, structure 0 (counted from 0)"
    assert whole.where(12) == f"{alloys[0]}, structure 12 (counted from 0)"
    assert [(labels.source, n) for labels, n in copies_between([whole, first, second])] == [
        (str(parts[0]), 12), (str(parts[1]), 8)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "complaint"),
    [((), "there is no file to train on"), (("a.xyz", "b.xyz", "a.xyz"), r"a\.xyz is given twice to train on")],
)
def test_refused(files: Any, complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        TrainingConfig(files, Path("m.etn"))


def test_identity_of_one_file_is_that_of_old_checkpoints() -> None:
    one = TrainingConfig((Path("a.xyz"),), Path("m.etn"))
    assert one.train_file == Path("a.xyz")
    assert one.identity()["train_file"] == "a.xyz"
    several = TrainingConfig((Path("a.xyz"), Path("b.xyz")), Path("m.etn"))
    assert several.identity()["train_file"] == ["a.xyz", "b.xyz"]
    assert several.train_files == (Path("a.xyz"), Path("b.xyz"))
