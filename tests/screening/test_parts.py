"""A folder of Parquet files as the output: one table to its readers, exactly once, and nothing of others is touched."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from pyarrow import parquet

from etn_gpu.errors import DataError
from etn_gpu.files import unfinished
from etn_gpu.files.folders import parts_in, put_folder
from etn_gpu.screening import BatchLimits, MemorySource, Screening, demo_structures, screen

from .conftest import LennardJones


@pytest.fixture
def structures() -> list[Atoms]:
    found = list(demo_structures(25))
    for number, atoms in enumerate(found):
        atoms.info |= {"late": None if number < 20 else 0.5, "number": number, "large": 2**53 + 1 if number else 0.5}
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("rows", [1, 7, 25, 100])
def test_a_folder_is_one_table(tmp_path: Path, model: Any, structures: list[Atoms], rows: int) -> None:
    options: dict[str, Any] = {"keep": ["late", "number", "large"]}
    screen(model, structures, tmp_path / "one.parquet", **options)
    screen(model, structures, tmp_path / "parts.parquet", parts=rows, **options)
    names = sorted(path.name for path in (tmp_path / "parts.parquet").iterdir())
    assert names == [f"part-{number:05d}.parquet" for number in range(-(-25 // rows))]
    one, whole = (parquet.read_table(tmp_path / name) for name in ("one.parquet", "parts.parquet"))
    assert whole.equals(one)
    schemas = [parquet.read_schema(tmp_path / "parts.parquet" / name) for name in names]
    assert all(schema.equals(one.schema) for schema in schemas)  # also where all fields of a file are empty
    assert {str(schema.field("late").type) for schema in schemas} == {"double"}
    assert {schema.field("energy").metadata[b"unit"] for schema in schemas} == {b"eV"}
    assert [parquet.read_metadata(tmp_path / "parts.parquet" / name).num_rows for name in names][:-1] == [rows] * (
        len(names) - 1
    )
    assert whole["large"].to_pylist() == ["0.5"] + ["9007199254740993"] * 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "parts.parquet"]


def test_pandas_reads_a_folder(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    pandas = pytest.importorskip("pandas")
    screen(model, structures, tmp_path / "parts.parquet", parts=4, keep=["number"])
    frame = pandas.read_parquet(tmp_path / "parts.parquet")
    assert frame["number"].tolist() == list(range(25))


def test_no_rows_are_one_part(tmp_path: Path, model: Any) -> None:
    screen(model, [], tmp_path / "parts.parquet", parts=4)
    assert parquet.read_table(tmp_path / "parts.parquet").num_rows == 0
    assert parts_in(tmp_path / "parts.parquet") == ["part-00000.parquet"]


@pytest.mark.parametrize(
    ("kinds", "column", "expected"),
    [
        ([1, 2**53 + 1], "int64", [1, 2**53 + 1]),
        ([1, 0.5], "double", [1.0, 0.5]),
        ([0.5, 2**53], "double", [0.5, 2.0**53]),
        ([0.5, -(2**53) - 1], "string", ["0.5", "-9007199254740993"]),
        ([1, 2**70], "string", ["1", str(2**70)]),
    ],
)
def test_integers_are_never_rounded(
    tmp_path: Path, model: Any, kinds: list[Any], column: str, expected: list[Any]
) -> None:
    given = [Atoms("W", info={"own": value}) for value in kinds]
    screen(model, [MemorySource("m", given)], tmp_path / "out.parquet", keep=["own"])
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("own").type) == column
    assert table["own"].to_pylist() == expected


def test_what_is_there_is_replaced_only_if_it_is_ours(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    output = tmp_path / "parts.parquet"
    screen(model, structures, output, parts=2)
    assert len(parts_in(output)) == 13
    with pytest.raises(DataError, match=r"parts\.parquet exists already"):
        screen(model, structures, output, parts=10)
    with pytest.raises(DataError, match="it is a folder"):
        screen(model, structures, output, overwrite=True)
    (output / ".hidden").write_text("mine")
    screen(model, structures, output, parts=10, overwrite=True)
    assert parts_in(output) == [f"part-0000{number}.parquet" for number in range(3)]
    assert parquet.read_table(output)["index"].to_pylist() == list(range(25))
    assert (output / ".hidden").read_text() == "mine"
    before = contents(output)
    for name in ("notes.txt", "other.parquet", "part-00007.parquet"):
        (output / name).write_text("mine")
        with pytest.raises(DataError, match=rf"parts\.parquet.*{name}.*choose another name"):
            screen(model, structures, output, parts=10, overwrite=True)
        assert (output / name).read_text() == "mine"
        (output / name).unlink()
    assert contents(output) == before


def test_a_folder_in_the_place_of_a_file(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    screen(model, structures, tmp_path / "out.parquet")
    with pytest.raises(DataError, match="exists already"):
        screen(model, structures, tmp_path / "out.parquet", parts=10)
    screen(model, structures, tmp_path / "out.parquet", parts=10, overwrite=True)
    assert len(parts_in(tmp_path / "out.parquet")) == 3


@pytest.mark.parametrize(
    ("output", "parts", "message"),
    [
        ("out.csv", 10, "only Parquet has parts, name the output like results.parquet"),
        ("out.parquet", 0, "parts = 0: expected the rows of a part, 1 or more"),
        ("out.parquet", 2.5, "parts = 2.5: expected the rows of a part"),
        ("out.parquet", True, "parts = True: expected the rows of a part"),
    ],
)
def test_parts_that_mean_nothing(tmp_path: Path, model: Any, output: str, parts: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Screening(model, [], tmp_path / output, parts=parts)
    assert list(tmp_path.iterdir()) == []


def test_a_move_that_was_stopped_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, made = tmp_path / "place", tmp_path / "made"
    for folder, count in ((place, 9), (made, 4)):
        folder.mkdir()
        for number in range(count):
            (folder / f"part-{number:05d}.parquet").write_text(folder.name)
    (place / ".mine").write_text("mine")
    replaced, left = os.replace, [2]

    def failing(one: str, other: str) -> None:
        if not left[0]:
            raise OSError("stopped")
        left[0] -= 1
        replaced(one, other)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="stopped"):
        put_folder(made, place)
    left[0] = 100
    put_folder(made, place)
    assert {name: text.decode() for name, text in contents(place).items()} == {
        ".mine": "mine", **{f"part-{number:05d}.parquet": "made" for number in range(4)},
    }  # fmt: skip
    assert not made.exists()


def run(folder: Path, structures: list[Atoms], **options: Any) -> None:
    folder.mkdir(exist_ok=True)
    model: Any = LennardJones()
    screen(
        model, [MemorySource("m", structures)], folder / "out.parquet", parts=6, keep=["late", "large"], unique=0.02,
        limits=BatchLimits.for_atoms(150), **options,
    )  # fmt: skip


def test_killed_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, structures: list[Atoms]) -> None:
    monkeypatch.setattr(unfinished, "_INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "_SHARE", 0.0)
    run(tmp_path / "undisturbed", structures)
    begin = time.monotonic()
    run(tmp_path / "timed", structures)
    length = time.monotonic() - begin
    rng = np.random.default_rng(1)
    for attempt in range(3):
        folder = tmp_path / f"stopped-{attempt}"
        while not (folder / "out.parquet").exists() or any(folder.glob("*.run")):
            process = os.fork()
            if process == 0:
                try:
                    run(folder, structures, resume=True)
                except BaseException:
                    os._exit(1)
                os._exit(0)
            time.sleep(rng.uniform(0.3, 1.2) * length)
            os.kill(process, signal.SIGKILL)
            assert os.waitpid(process, 0)[1] in (0, signal.SIGKILL)
        assert contents(folder / "out.parquet") == contents(tmp_path / "undisturbed" / "out.parquet")
        assert {path.name for path in folder.iterdir() if not path.name.endswith(".lock")} == {"out.parquet"}
