"""Frames: what was evaluated is read back, whatever else the structures carry."""

from __future__ import annotations

import datetime
import math
import re
import string
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian
from ase.io import read
from ase.spacegroup import Spacegroup
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.frames import FrameWriter
from etn_gpu.screening.rows import Row
from etn_gpu.structures import read_structures

N = 3
GRADES = {"extrapolation_grade", "extrapolation_grades"}
REPLACED = {"energy", "free_energy", "stress", "energies", "forces", "stresses", *GRADES}
OWN = {"source", "source_index", "status"}
AWKWARD = string.ascii_letters + "019_ =:\"'{}[]\\,.+-\n\r\t\x0b\x1b\x85\u2028\ufeff\ud83d\ude00\udcffüſ٣"

# Names that mean something to a reader, those that collide with them, and pieces that end a name early.
MEANINGFUL = re.findall(
    r"\S+",
    """
    symbols species Z z pos positions numbers Lattice lattice LATTICE Properties properties pbc PBC cell energy Energy
    free_energy forces force stress Stress virial virials charges charge initial_charges initial_magmoms magmoms magmom
    dipole tags masses mass momenta move_mask uid UID source source_index status extrapolation_grade
    extrapolation_grades Extrapolation_grade pos0 forces2 species0 a a0 a1 input_a
    REF_energy REF_forces dft_virial config_type _JSON comment T nan 1 VEC1
    """,
)
NAMES = st.one_of(st.sampled_from(MEANINGFUL), st.text(AWKWARD, max_size=6))
TEXTS = st.one_of(
    st.text(AWKWARD, max_size=8),
    st.sampled_from(
        ["", " ", "T", "False", "1", "1 2", "1e5", "nan", "_JSON [1]", "_JSON ", "a b", " a", "a  b", "1_0"]
    ),
    st.sampled_from(['Lattice="1 0 0 0 1 0 0 0 1"', "a stress='1 2 3 4 5 6' b", 'x" energy=5 y="', "virial=[1 2]"]),
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.floats(width=32).map(np.float32),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), np.uint64(2**64 - 1), np.longdouble(1) / 3, np.float16(0.1)]),
)
LEAVES = st.one_of(
    st.none(), TEXTS, NUMBERS, st.complex_numbers(), st.binary(max_size=3), st.just(object()), st.datetimes()
)


def arrays(shapes: Any) -> Any:
    """Arrays of all kinds: numbers, dates, bytes, text, objects, masked."""
    plain = npst.arrays(st.one_of(npst.scalar_dtypes(), npst.byte_string_dtypes(max_len=2)), shapes)
    words = npst.arrays(np.dtype("U4"), shapes, elements=st.text("abT1 \n=", max_size=4))
    objects = npst.arrays(np.dtype(object), shapes, elements=st.sampled_from(["Fe", "a b", None, 1]))
    masked = plain.map(lambda a: np.ma.masked_array(a, mask=np.arange(a.size).reshape(a.shape) % 2 == 1))
    return st.one_of(plain, words, objects, masked)


VALUES = st.one_of(
    LEAVES,
    arrays(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.one_of(TEXTS, st.integers()), inner, max_size=2),
        ),
        max_leaves=5,
    ),
)
KEYS = st.one_of(NAMES, NAMES, st.sampled_from([5, None, (1, 2), b"a"]))
COLUMNS = arrays(st.one_of(st.just((N,)), st.tuples(st.just(N), st.integers(0, 4)), st.just((N, 2, 2)), st.just((2,))))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frames") / "out.extxyz"


def outcome(n_atoms: int = N, **more: Any) -> Outcome:
    rng = np.random.default_rng(1)
    return Outcome(
        energy=rng.normal(),
        forces=rng.normal(size=(n_atoms, 3)) * 10.0 ** rng.integers(-20, 20, (n_atoms, 3)),
        energies=rng.normal(size=n_atoms),
        **{"stress": rng.normal(size=6), **more},
    )


def structure(info: dict[Any, Any] | None = None, columns: dict[str, Any] | None = None) -> Atoms:
    rng = np.random.default_rng(2)
    atoms = Atoms("WMoW", positions=rng.normal(size=(N, 3)) * 3.0, cell=rng.normal(size=(3, 3)) * 4.0, pbc=[1, 0, 1])
    atoms.info.update(info or {})
    atoms.arrays.update(columns or {})
    return atoms


def written(
    path: Path, atoms: Atoms, found: Outcome | None = None, source: str = "in.xyz"
) -> tuple[Atoms, FrameWriter]:
    """The structure as both readers give it, from the middle of a file."""
    frames = FrameWriter()
    found = found or outcome(len(atoms))
    row = Row(source, 7, status="ok")
    (text,) = frames.texts([row], [atoms], [found])
    path.write_text(text + text + text, encoding="utf-8", newline="")
    again = [frame.atoms for frame in read_structures(path)]
    by_ase = cast("list[Atoms]", read(path, ":", format="extxyz"))
    assert len(again) == len(by_ase) == 3
    for other in (again[1], by_ase[1], by_ase[2]):
        assert other is not None
        for name in ("numbers", "positions"):
            np.testing.assert_array_equal(other.arrays[name], atoms.arrays[name])
        np.testing.assert_array_equal(other.cell, atoms.cell)
        np.testing.assert_array_equal(other.pbc, atoms.pbc)
        results = {"energy", "free_energy", "energies", "forces", *(() if found.stress is None else ("stress",))}
        assert other.calc.results.keys() == results
        for name in results:
            np.testing.assert_array_equal(other.calc.results[name], found.results()[name])
        assert other.info.keys() >= OWN
        assert other.info["source_index"] == 7
    assert again[1] is not None
    return again[1], frames


def same(found: Any, value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return np.shape(found) == value.shape and same(found, value.tolist())
    found = found.tolist() if isinstance(found, np.ndarray) else found
    if isinstance(value, dict):
        return isinstance(found, dict) and found.keys() == value.keys() and all(same(found[k], value[k]) for k in value)
    if isinstance(value, list | tuple):
        return isinstance(found, list) and len(found) == len(value) and all(map(same, found, value))
    if isinstance(value, float | np.floating) and math.isnan(value):
        return isinstance(found, float) and math.isnan(found)
    return np.ndim(found) == np.ndim(value) and bool(found == value)


def left_out(frames: FrameWriter, what: str) -> int:
    return sum(count for note, count in frames.notes.items() if note.startswith(what) and " left out" in note)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_info_is_read_back_or_noted(path: Path, info: dict[Any, Any]) -> None:
    again, frames = written(path, structure(info))
    found = {name: value for name, value in again.info.items() if name not in OWN}
    assert len(found) + left_out(frames, "info entry") == len(info.keys() - REPLACED)
    for name, value in found.items():
        originals = [info[name]] if name in info else list(info.values())
        assert name in info or name.startswith("input_")
        assert any(same(value, original) for original in originals)
    # Names that mean nothing to a reader stay.
    harmless = [name for name in info if name in ("a", "tags", "config_type", "REF_energy", "dft_virial")]
    assert all(name in found or left_out(frames, "info entry") for name in harmless)


@given(st.dictionaries(NAMES, COLUMNS, max_size=4))
def test_arrays_are_read_back_or_noted(path: Path, columns: dict[str, Any]) -> None:
    for name in ("numbers", "positions"):
        columns.pop(name, None)
    again, frames = written(path, structure(columns=columns))
    found = {name: array for name, array in again.arrays.items() if name not in ("numbers", "positions")}
    assert len(found) + left_out(frames, "array") == len(columns.keys() - REPLACED)
    for name, array in found.items():
        originals = [columns[name]] if name in columns else list(columns.values())
        assert name in columns or name.startswith("input_")
        assert any(same(array, original) for original in originals)
    assert not again.constraints


@pytest.mark.parametrize(
    "name", ["symbols", "Z", "pos", "species", "Lattice", "properties", "a b", "a:R:1", "a\nb", "\udcff", "pos1"]
)
def test_arrays_of_such_names_are_renamed(path: Path, name: str) -> None:
    again, frames = written(path, structure(columns={name: np.arange(1.0, N + 1)}))
    [new] = again.arrays.keys() - {"numbers", "positions"}
    assert new == "input_" + re.sub(r"[ :\n\udcff]", "_", name)
    np.testing.assert_array_equal(again.arrays[new], np.arange(1.0, N + 1))
    [note] = frames.notes
    assert note.endswith(f"written as {new}")
    assert note.isprintable()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", True),
        ("line\nbreak \\ \"quoted\" 'both' = {[", True),
        ("123", True),
        ("T", True),
        ("\udcff", True),
        (None, True),
        (10**30, True),
        (np.array([5]), True),
        (np.empty(0), True),
        (np.array([np.nan, 1.0]), True),
        (np.array([True, False]), True),
        ({"nested": {"x": [1, 2, {"y": None}]}}, True),
        (["a b", ""], True),
        ({1: 2}, False),
        ([[1], [2, 3]], False),
        (np.empty((0, 3)), False),
        (1j, False),
        (datetime.date(2020, 1, 1), False),
        (b"bytes", False),
        (object(), False),
    ],
)
def test_values_are_kept_as_they_are_or_left_out(path: Path, value: Any, kept: bool) -> None:
    again, frames = written(path, structure({"note": value}))
    assert ("note" in again.info) is kept
    assert not kept or same(again.info["note"], value)
    assert bool(frames.notes) is not kept


def test_structures_of_all_kinds_of_cells(path: Path) -> None:
    cluster = Atoms("W", positions=[[0.1 + 0.2, -0.0, 1e-300]])
    written(path, cluster, outcome(1, stress=None))
    wire = Atoms(
        "W2", positions=[[0.0] * 3, [1.0] * 3], cell=[[0.0] * 3, [0.0] * 3, [0.0, 1.0 / 3.0, 3.0]], pbc=[0, 0, 1]
    )
    written(path, wire, outcome(2, stress=None))


def test_provenance_of_an_earlier_run_is_kept_apart(path: Path) -> None:
    once, _ = written(path, structure({"source": "old.xyz", "status": "ok"}), source="a [1].xyz")
    assert once.info["source"] == "a [1].xyz"
    assert once.info["input_source"] == "old.xyz"
    twice, frames = written(path, once, source="=b\udcff.xyz")
    assert twice.info["source"] == "./=b\\udcff.xyz"
    assert twice.info["input_source"] == "old.xyz"
    assert twice.info["input_source_"] == "a [1].xyz"
    assert frames.notes["info entry 'source' written as input_source_"] == 1


def test_results_that_would_be_read_instead_are_renamed(path: Path) -> None:
    again, _ = written(path, structure({"Energy": 1.0, "virial": np.eye(3)}, {"force": np.ones((N, 3))}))
    assert again.info["input_Energy"] == 1.0
    np.testing.assert_array_equal(again.info["input_virial"], np.eye(3))
    np.testing.assert_array_equal(again.arrays["input_force"], np.ones((N, 3)))


def test_grades_stand_beside_the_results(path: Path) -> None:
    grades = np.array([0.1 + 0.2, 1e3, 1.0 / 3.0])
    old = structure({"extrapolation_grade": 7.0, "Extrapolation_Grade": 8.0}, {"extrapolation_grades": np.ones(N)})
    again, _ = written(path, old, outcome(grades=grades))
    assert again.info["extrapolation_grade"] == 1e3
    assert again.info["input_Extrapolation_Grade"] == 8.0
    np.testing.assert_array_equal(again.arrays["extrapolation_grades"], grades)


def test_grades_of_another_model_are_not_kept(path: Path) -> None:
    old = structure({"extrapolation_grade": 7.0}, {"extrapolation_grades": np.ones(N)})
    again, frames = written(path, old)
    assert not GRADES & (again.info.keys() | again.arrays.keys())
    assert not frames.notes


def test_constraints_are_what_the_format_knows(path: Path) -> None:
    fixed = structure()
    fixed.set_constraint([FixAtoms([1]), FixBondLengths([(0, 2)])])
    again, frames = written(path, fixed)
    assert again.constraints[0].index.tolist() == [1]
    assert frames.notes == {"constraint FixBondLengths left out": 1}
    fixed.set_constraint([FixAtoms([1]), FixCartesian([0], mask=(True, False, True))])
    again, _ = written(path, fixed)
    assert [constraint.mask.tolist() for constraint in again.constraints] == [
        [True, False, True],
        [True] * 3,
        [False] * 3,
    ]


def test_space_groups_are_their_symbols(path: Path) -> None:
    again, _ = written(path, structure({"spacegroup": Spacegroup(229)}))
    assert again.info["spacegroup"] == "I m -3 m"


def test_notes_count_frames_and_are_bounded() -> None:
    frames = FrameWriter()
    for number in range(300):
        frames.texts([Row("a", 0)], [structure({f"odd name {number}": 1, "gone": 1j})], [outcome()])
    assert max(frames.notes.values()) == 300
    assert sum(frames.notes.values()) == 600
    assert len(frames.notes) == 101


def test_what_fails_when_it_is_looked_at_does_not_cost_the_results(path: Path) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    _, frames = written(path, structure({Odd(): 1, "a": 2}))
    assert frames.notes == {"everything but structure and results left out (RuntimeError)": 1}
