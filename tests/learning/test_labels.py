"""The store of labels: nothing is lost, nothing is misread, whenever a run is killed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from etn_gpu.errors import LearningError
from etn_gpu.files import is_system_failure
from etn_gpu.learning.bare import bare, structure_key
from etn_gpu.learning.label_files import frame_text, read_frames
from etn_gpu.learning.labels import Failure, Label, LabelStore, Row
from etn_gpu.structures.labels import read_labelled
from tests.full_disk import at_most


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


numbers = st.floats(allow_nan=False, allow_infinity=False, width=64, min_value=-1e6, max_value=1e6)


def dimer(seed: int) -> Atoms:
    return Atoms("CuO", positions=np.random.default_rng(seed).normal(size=(2, 3)), cell=[4, 5, 6], pbc=True)


def label(seed: int) -> Label:
    rng = np.random.default_rng(seed)
    return Label(float(rng.normal()), rng.normal(size=(2, 3)), rng.normal(size=6), float(rng.uniform()))


def same(one: Label, other: Label) -> bool:
    """Whether two labels are the same bit for bit, but for signs of zero."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


@st.composite
def structures(draw: st.DrawFn) -> Atoms:
    n = draw(st.integers(1, 3))
    atoms = Atoms(
        numbers=draw(st.lists(st.integers(1, 94), min_size=n, max_size=n)),
        positions=draw(arrays(np.float64, (n, 3), elements=numbers)),
        pbc=draw(st.lists(st.booleans(), min_size=3, max_size=3)),
    )
    if draw(st.booleans()):
        atoms.cell = draw(arrays(np.float64, (3, 3), elements=numbers))
    if draw(st.booleans()):
        shape = (n, 3) if draw(st.booleans()) else (n,)
        atoms.set_initial_magnetic_moments(draw(arrays(np.float64, shape, elements=numbers)))
    if draw(st.booleans()):
        atoms.set_initial_charges(draw(arrays(np.float64, n, elements=numbers)))
    for name in ("charge", "spin"):
        if draw(st.booleans()):
            atoms.info[name] = draw(st.one_of(numbers, st.integers(-9, 9)))
    return atoms


@given(structures(), st.text(max_size=20), numbers, st.data())
def test_what_is_kept_is_what_was_given(
    tmp_path_factory: pytest.TempPathFactory, atoms: Atoms, origin: str, energy: float, data: st.DataObject
) -> None:
    forces = data.draw(arrays(np.float64, (len(atoms), 3), elements=numbers))
    stress = data.draw(st.one_of(st.none(), arrays(np.float64, 6, elements=numbers)))
    row = Row(structure_key(atoms), 3, origin, bare(atoms), Label(energy, forces, stress, 0.25))
    path = tmp_path_factory.getbasetemp() / "any.extxyz"
    text = frame_text(row).encode()
    path.write_bytes(2 * text)
    found, length = read_frames(path)
    assert length == 2 * len(text)
    for other in found:
        assert (other.key, other.round, other.origin) == (row.key, 3, origin)
        assert structure_key(other.atoms) == row.key
        assert same(other.label, row.label)


def test_what_was_added_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame before its row: a row without a frame would be taken for a structure that is still to be labelled."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(Path(os.readlink(f"/proc/self/fd/{file}")).name))
    with LabelStore(tmp_path) as store:
        store.add(dimer(1), label(1), round=1, origin="md")
        assert synced == ["labels.extxyz", "labels.csv"]
        store.add(dimer(2), Failure("no", 1.0), round=1, origin="md")
        assert synced == ["labels.extxyz", "labels.csv", "labels.csv"]


def test_failures_are_kept_and_may_become_labels(tmp_path: Path) -> None:
    one, other = dimer(1), dimer(2)
    failure = Failure('ValueError: no, "this" is =none', 1.5)
    with LabelStore(tmp_path / "new" / "folder") as store:
        assert store.find(store.key(one)) is None
        store.add(one, failure, round=1, origin="rattled")
        store.add(other, failure, round=1, origin="=rattled")
        assert store.find(store.key(one)) == failure
    with LabelStore(tmp_path / "new" / "folder") as store:
        assert store.find(store.key(one)) == store.find(store.key(other)) == failure
        store.add(one, label(1), round=2, origin="rattled")
        assert isinstance(store.find(store.key(one)), Label)
        with pytest.raises(LearningError, match="has a label already"):
            store.add(one, label(2), round=2, origin="rattled")
    with LabelStore(tmp_path / "new" / "folder") as store:
        assert list(store.failures) == [store.key(other)]
        assert [row.key for row in store.rows] == [store.key(one)]
    lines = (tmp_path / "new" / "folder" / "labels.csv").read_text().splitlines()
    assert [line.split(",")[5] for line in lines] == ["status", "failed", "failed", "ok"]
    assert ",'=rattled," in lines[2]


def test_training_reads_the_labels_and_nothing_else(tmp_path: Path) -> None:
    atoms = dimer(1)
    atoms.set_constraint(FixAtoms([0]))
    atoms.info |= {"DFT_energy": 17.0, "charge": 1}
    with LabelStore(tmp_path) as store:
        store.add(atoms, label(1), round=1, origin="md")
    assert len(atoms.constraints) == 1
    read = read_labelled(tmp_path / "labels.extxyz")
    assert {name: dict(keys) for name, keys in read.keys.items()} == {
        "energy": {"REF_energy": 1},
        "forces": {"REF_forces": 1},
        "stress": {"REF_stress": 1},
    }
    assert not read.unused
    assert read.config_type == ["md"]
    assert read.energy[0] == label(1).energy
    assert read.stress[0].tolist() == np.asarray(label(1).stress).tolist()
    assert not read.atoms[0].constraints


def filled(folder: Path) -> None:
    """Labels of four structures and the failures of two, in turn."""
    with LabelStore(folder) as store:
        for seed in range(6):
            outcome = Failure("took longer than 5 s", 5.0) if seed in (1, 5) else label(seed)
            if store.find(store.key(dimer(seed))) is None:
                store.add(dimer(seed), outcome, round=seed, origin="rattled, strained")


def test_a_run_that_is_killed_at_any_byte_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    filled(tmp_path / "whole")
    frames, table = ((tmp_path / "whole" / name).read_bytes() for name in ("labels.extxyz", "labels.csv"))
    heading, *rows = table.splitlines(keepends=True)
    cuts = [k for k in range(len(frames)) if frames.startswith(b"2\nLattice", k)] + [len(frames)]
    writes = [("labels.csv", heading)]
    for row in rows:
        if b",ok," in row:
            writes.append(("labels.extxyz", frames[cuts[0] : cuts[1]]))
            del cuts[0]
        writes.append(("labels.csv", row))
    done = {"labels.csv": b"", "labels.extxyz": b""}
    labels = failures = 0
    for name, content in writes:
        for length in {0, 1, *range(2, len(content) - 2, 37), len(content) - 2, len(content) - 1}:
            folder = tmp_path / f"{name}-{len(done[name])}-{length}"
            folder.mkdir()
            for other, before in done.items():
                (folder / other).write_bytes(before + content[:length] if other == name else before)
            with LabelStore(folder) as store:
                assert (len(store.rows), len(store.failures)) == (labels, failures)
                assert all(same(row.label, label(row.round)) for row in store.rows)
            filled(folder)
            assert [(folder / other).read_bytes() for other in ("labels.extxyz", "labels.csv")] == [frames, table]
        done[name] += content
        labels += name == "labels.extxyz"
        failures += b",failed," in content
    assert done == {"labels.csv": table, "labels.extxyz": frames}


@pytest.mark.parametrize("name", ["labels.extxyz", "labels.csv"])
def test_power_that_fails_leaves_zeros_or_nothing(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    with (tmp_path / name).open("ab") as file:
        file.write(bytes(5000))
    with LabelStore(tmp_path) as store:
        assert (len(store.rows), len(store.failures)) == (4, 2)
    assert b"\0" not in (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"")
    with LabelStore(tmp_path) as store:
        assert (len(store.rows), len(store.failures)) == ((4, 0) if name == "labels.csv" else (0, 0))
    filled(tmp_path)
    with LabelStore(tmp_path) as store:
        assert (len(store.rows), len(store.failures)) == (4, 2)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("labels.extxyz", "2\nLattice", "3\nLattice", "frame 0 .*expected 3 atom lines.*whole structures follow it"),
        ("labels.extxyz", "Cu 0", "Cu 1", "frame 0 .*its numbers were changed; whole structures follow it"),
        ("labels.extxyz", "REF_energy=", "energy=", "frame 0 .*no label that was written here"),
        ("labels.csv", ",ok,", ",fine,", "line 2: no row of labels, and whole rows follow"),
        ("labels.csv", "key,", "name,", "is no table of labels"),
    ],
)
def test_what_somebody_changed_is_not_cut_off(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    filled(tmp_path)
    _edit(tmp_path / name, old, new)
    before = [path.read_bytes() for path in sorted(tmp_path.glob("labels.*"))]
    with pytest.raises(LearningError, match=message):
        LabelStore(tmp_path)
    assert [path.read_bytes() for path in sorted(tmp_path.glob("labels.*"))] == before


def test_a_frame_that_is_there_twice(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "labels.extxyz"
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(LearningError, match="is there twice"):
        LabelStore(tmp_path)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with LabelStore(tmp_path), pytest.raises(LearningError, match="another run is writing"):
        LabelStore(tmp_path)
    with LabelStore(tmp_path):
        pass


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LearningError, match="cannot make the folder"):
        LabelStore(tmp_path / "file")


def test_a_full_disk(tmp_path: Path) -> None:
    with at_most(2000), pytest.raises(LearningError, match=r"cannot write .*labels\.extxyz") as found:
        filled(tmp_path)
    assert is_system_failure(found.value)
    filled(tmp_path)
    with LabelStore(tmp_path) as store:
        assert (len(store.rows), len(store.failures)) == (4, 2)
        assert all(structure_key(row.atoms) == row.key for row in store.rows)
