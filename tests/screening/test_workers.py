"""Several processes: the same bytes as of one, whatever dies."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.screening import BatchLimits, MemorySource, Screening, demo_structures, screen
from etn_gpu.structures import StructureBatch

from .conftest import LennardJones

LIMITS = BatchLimits.for_atoms(200)


def deadly(batch: StructureBatch) -> Exception | None:
    """Ends the process, as running out of memory does, where a structure has five atoms."""
    if 5 in (batch.atom_offsets[1:] - batch.atom_offsets[:-1]):
        os._exit(9)
    return None


@pytest.fixture
def structures(tmp_path: Path) -> list[Path]:
    found = list(demo_structures(40))
    for number, atoms in enumerate(found):
        atoms.info |= {"name": f"s{number}", "energy": 1.0, "odd key": number}
    found[11].symbols[0] = "Cu"
    write(tmp_path / "a.extxyz", found[:30])
    (tmp_path / "prose.txt").write_text("This is no structure.\n")
    write(tmp_path / "b.traj", found[30:])
    return [tmp_path / "a.extxyz", tmp_path / "prose.txt", tmp_path / "b.traj"]


def run(folder: Path, sources: Any, model: Any, **options: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return screen(
        model, sources, folder / "out.csv", structures=folder / "out.extxyz.gz", keep=["odd key"], id="name",
        limits=LIMITS, **options,
    )  # fmt: skip


def test_several_processes_have_the_bytes_of_one(tmp_path: Path, structures: list[Path]) -> None:
    whole = run(tmp_path / "one", structures, LennardJones())
    report = run(tmp_path / "two", structures, LennardJones(), workers=2)
    for name in ("out.csv", "out.extxyz.gz"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    for name in ("counts", "n_atoms", "failures", "untried", "notes"):
        assert getattr(report, name) == getattr(whole, name), name
    assert report.labels.note() == whole.labels.note()
    assert report.ranking.rows() == whole.ranking.rows()


@pytest.mark.slow
def test_what_kills_a_process_becomes_a_row(tmp_path: Path) -> None:
    given = [Atoms("W2", positions=[[0.0] * 3, [0.0, 0.0, 2.7]]) for _ in range(3)]
    given[2] = Atoms("W5", positions=[[0.0, 0.0, 2.7 * k] for k in range(5)])
    model: Any = LennardJones(deadly)
    report = screen(model, given, tmp_path / "out.csv", workers=1)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert rows[2]["message"] == "each process that worked on it died, 3 times"
    assert report.n_failed == 1


@pytest.mark.slow
def test_a_generator_that_fails_keeps_what_came_before(tmp_path: Path) -> None:
    def made() -> Iterator[Atoms]:
        yield from demo_structures(5)
        raise ValueError("no more")

    model: Any = LennardJones()
    with pytest.raises(DataError, match=r"structure 5 \(counted from 0\): .*no more"):
        screen(model, [MemorySource("m", made())], tmp_path / "out.csv", workers=1, limits=LIMITS)
    with (tmp_path / "out.csv.part").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "0 workers: expected 1 or more"),
        ({"workers": 2, "scheduler": "tcp://x:1"}, "workers and a scheduler were given: expected one of them"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Screening(model, [], tmp_path / "out.csv", **options)


def test_a_scheduler_that_cannot_be_reached(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etn_gpu.screening.workers._PATIENCE", 0.3)
    with pytest.raises(DataError, match=r"no scheduler with a worker answers at tcp://127\.0\.0\.1:9 within 0\.3 s"):
        screen(model, list(demo_structures(2)), tmp_path / "out.csv", scheduler="tcp://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_without_dask(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"dask\.distributed, which is not installed: pip install 'etn_gpu\[cluster\]'"):
        Screening(model, [], tmp_path / "out.csv", workers=2)
