"""A run that goes on and is whole already: nothing is done; and what is checked before inputs are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.files.unfinished import UnfinishedOutputs
from etn_gpu.screening import Screening, demo_structures, sources


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "a.extxyz", list(demo_structures(12)))
    return tmp_path / "a.extxyz"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_nothing_is_done_again(tmp_path: Path, path: Path, model: Any, name: str) -> None:
    options: dict[str, Any] = {"resume": True, "structures": tmp_path / "out.extxyz"}
    assert not Screening(model, path, tmp_path / name, **options).run().done_before
    before = state(tmp_path)
    calls = len(model.batch_sizes)
    again = Screening(model, path, tmp_path / name, **options)
    assert list(again) == []
    assert again.report.done_before
    assert len(model.batch_sizes) == calls
    assert state(tmp_path) == before
    with pytest.raises(DataError, match=r"is of another run: hull of the run was true, is false"):
        Screening(model, path, tmp_path / name, hull_of_run=False, **options)
    with pytest.raises(DataError, match=r"out\.csv|out\.parquet.* exist already"):
        Screening(model, path, tmp_path / name, structures=tmp_path / "out.extxyz")
    with path.open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match=r"is of another run: inputs.* was .*a\.extxyz"):
        Screening(model, path, tmp_path / name, **options)
    assert state(tmp_path).keys() == before.keys()


def test_a_page_that_was_not_asked_for(tmp_path: Path, path: Path, model: Any) -> None:
    Screening(model, path, tmp_path / "out.csv", resume=True).run()
    with pytest.raises(DataError, match=r"out\.csv is whole, and .*page\.html is made together with it"):
        Screening(model, path, tmp_path / "out.csv", resume=True, report=tmp_path / "page.html")


def test_structures_in_memory_may_be_others(tmp_path: Path, model: Any) -> None:
    Screening(model, list(demo_structures(3)), tmp_path / "out.csv", resume=True).run()
    assert [*state(tmp_path)] == ["out.csv"]
    with pytest.raises(DataError, match=r"out\.csv exists already"):
        Screening(model, list(demo_structures(3)), tmp_path / "out.csv", resume=True)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_stopped_before_the_files_had_their_names(
    tmp_path: Path, path: Path, model: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UnfinishedOutputs, "_put_in_place", stopped)
        with pytest.raises(KeyboardInterrupt):
            Screening(model, path, tmp_path / name).run()
    assert not (tmp_path / name).exists()
    assert Screening(model, path, tmp_path / name, resume=True).run().done_before
    Screening(model, path, tmp_path / f"whole-{name}").run()
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


def test_inputs_are_read_last(tmp_path: Path, path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        pytest.fail(f"{path} was read")

    (tmp_path / "there.csv").touch()
    monkeypatch.setattr(sources, "_checksum", read)
    for output, options, message in (
        ("there.csv", {}, "exists already"),
        ("there.csv", {"resume": True}, "exists already"),
        ("there.csv", {"resume": True, "where": "nothing > 1"}, "nothing"),
        ("gone/out.csv", {}, "does not exist"),
        ("out.csv", {"rank": "beauty"}, "beauty"),
        (
            "out.csv",
            {"resume": True, "references": tmp_path / "none.extxyz"},
            r"no such file or folder: .*none\.extxyz",
        ),
    ):
        with pytest.raises((DataError, ValueError), match=message):
            Screening(model, path, tmp_path / output, **options)
    with pytest.raises(DataError, match="no such file or folder"):
        Screening(model, [path, tmp_path / "none.extxyz"], tmp_path / "out.csv")
    Screening(model, path, tmp_path / "out.csv")
    assert sorted(os.listdir(tmp_path)) == ["a.extxyz", "there.csv"]
