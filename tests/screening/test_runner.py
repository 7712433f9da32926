"""The run as a whole: order, streaming, bad input, interrupts."""

from __future__ import annotations

import csv
import gzip
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from etn_gpu import load
from etn_gpu.errors import BackendError, DataError, NetworkError
from etn_gpu.screening import BatchLimits, MemorySource, RankBy, Screening, demo_structures, screen

Crystal = Callable[..., Atoms]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_of_several_formats(tmp_path: Path, model: Any, crystal: Crystal) -> None:
    write(tmp_path / "a.extxyz", [crystal("W", 3.1), crystal("MoW", 3.2)])
    write(tmp_path / "b.cif", crystal("W", 3.3))
    write(tmp_path / "c.traj", [crystal("Nb", 3.4)] * 2)
    write(tmp_path / "POSCAR", crystal("Ta", 3.3))
    with gzip.open(tmp_path / "d.xyz.gz", "wt") as file:
        write(file, crystal("Mo", 3.1), format="extxyz")
    files = [tmp_path / name for name in ("a.extxyz", "b.cif", "c.traj", "POSCAR", "d.xyz.gz")]
    report = screen(model, files, tmp_path / "out.csv", limits=BatchLimits.for_atoms(5))
    rows = rows_of(tmp_path / "out.csv")
    assert [(Path(row["source"]).name, row["index"]) for row in rows] == [
        ("a.extxyz", "0"),
        ("a.extxyz", "1"),
        ("b.cif", "0"),
        ("c.traj", "0"),
        ("c.traj", "1"),
        ("POSCAR", "0"),
        ("d.xyz.gz", "0"),
    ]
    assert [row["formula"] for row in rows] == ["W2", "MoW", "W2", "Nb2", "Nb2", "Ta2", "Mo2"]
    assert all(row["status"] == "ok" for row in rows)
    assert rows[5]["formation_energy"] == ""
    assert (report.n_rows, report.n_ok, report.n_failed, report.n_atoms) == (7, 7, 0, 14)


def test_every_bad_structure_becomes_a_row(tmp_path: Path, model: Any, crystal: Crystal) -> None:
    good = crystal("W")
    foreign, overlapping, flat, close = (good.copy() for _ in range(4))
    foreign.symbols = ["Cu", "W"]
    overlapping.positions[1] = overlapping.positions[0]
    flat.cell[2] = 0.0
    close.positions[1] = [1.0, 1.0, 1.0]
    nan = good.copy()
    nan.positions[0, 1] = np.nan
    bad = [foreign, overlapping, flat, nan, Atoms(cell=[3.0] * 3, pbc=True)]
    structures = [good, *bad, close, good]
    report = screen(model, [MemorySource("memory", structures)], tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    assert [row["status"] for row in rows] == ["ok"] + ["failed"] * 5 + ["extrapolating", "ok"]
    for row, reason in zip(rows[1:6], ("Cu", "one place", "volume", "finite", "no atoms"), strict=True):
        assert reason in row["message"]
        assert row["energy"] == row["max_force"] == row["pressure"] == ""
    assert "W-W pair at 1.732 A" in rows[6]["message"]
    assert rows[6]["energy"] != ""
    assert rows[0]["energy"] == rows[7]["energy"]
    assert (report.n_ok, report.n_extrapolating, report.n_failed) == (2, 1, 5)
    assert [row.index for row in report.failures] == [1, 2, 3, 4, 5]
    assert {row.index for row in report.ranking.rows()} == {0, 6, 7}


def test_broken_frame_and_unreadable_files(tmp_path: Path, model: Any, crystal: Crystal) -> None:
    path = tmp_path / "in.extxyz"
    write(path, [crystal("W", 3.0), crystal("W", 3.1), crystal("W", 3.2)])
    lines = path.read_text().splitlines(keepends=True)
    lines[6] = "W not a number\n"
    path.write_text("".join(lines))
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "prose.txt").write_text("This is no structure.\n" * 3)
    (tmp_path / "damaged.cif").write_text("data_x\n_cell_length_a oops\n")
    files = [tmp_path / "damaged.cif", path, tmp_path / "empty.xyz", tmp_path / "prose.txt", tmp_path]
    report = screen(model, files, tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    assert [(row["index"], row["status"]) for row in rows] == [
        ("", "failed"),
        ("0", "ok"),
        ("1", "failed"),
        ("2", "ok"),
        ("", "failed"),
        ("", "failed"),
        ("", "failed"),
    ]
    assert (rows[2]["index"], rows[2]["message"].count(rows[2]["source"])) == ("1", 0)
    assert "empty" in rows[4]["message"]
    assert (report.n_rows, report.n_failed) == (7, 5)


def test_files_that_there_are_not_are_refused_before_anything_is_written(tmp_path: Path, model: Any) -> None:
    (tmp_path / "there.xyz").write_text("1\n\nW 0 0 0\n")
    given = [tmp_path / "there.xyz", *(tmp_path / f"missing-{k}.xyz" for k in range(7))]
    with pytest.raises(
        DataError, match=r"no such file or folder: .*missing-0\.xyz, .* and 2 more; nothing was written"
    ):
        screen(model, given, tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"no such file or folder: .*refs\.cif; nothing"):
        screen(model, given[:1], tmp_path / "out.csv", references=tmp_path / "refs.cif")
    assert [path.name for path in tmp_path.iterdir()] == ["there.xyz"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_batches_do_not_change_a_digit(tmp_path: Path, dtype: str) -> None:
    model, structures = load("nbmotaw"), list(demo_structures(12))
    rows = []
    for atoms in (1, 100, 4096):
        limits, output = BatchLimits.for_atoms(atoms), tmp_path / f"{atoms}.csv"
        screen(model, [MemorySource("demo", structures)], output, limits=limits, dtype=dtype)
        rows.append(output.read_text())
    assert len(rows[0].splitlines()) == 13
    assert rows[0] == rows[1] == rows[2]


def test_rows_are_written_as_they_come(tmp_path: Path, model: Any, crystal: Crystal) -> None:
    read_so_far = 0

    def stream() -> Iterator[Atoms]:
        nonlocal read_so_far
        for _ in range(100):
            read_so_far += 1
            yield crystal("W")

    steps = iter(
        Screening(model, [MemorySource("s", stream())], tmp_path / "out.csv", limits=BatchLimits.for_atoms(20))
    )
    assert len(next(steps)) == 10
    assert len(rows_of(tmp_path / "out.csv.part")) == 10
    assert read_so_far == 11


def test_memory_does_not_grow_with_the_stream(
    tmp_path: Path, model: Any, crystal: Crystal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows are read again in blocks of some thousand.
    monkeypatch.setattr("etn_gpu.screening.table._BLOCK", 4096)

    def peak(count: int) -> int:
        source = MemorySource("s", (crystal("W") for _ in range(count)))
        tracemalloc.start()
        screen(model, [source], tmp_path / "out.csv", overwrite=True, limits=BatchLimits.for_atoms(20))
        _, largest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return largest

    peak(50)  # fills caches
    assert peak(800) < 1.5 * peak(100)


def test_interrupt_leaves_whole_rows(tmp_path: Path, model: Any, crystal: Crystal) -> None:
    def stream() -> Iterator[Atoms]:
        for _ in range(25):
            yield crystal("W")
        raise KeyboardInterrupt

    screening = Screening(
        model,
        [MemorySource("s", stream())],
        tmp_path / "out.csv",
        structures=tmp_path / "out.extxyz",
        limits=BatchLimits.for_atoms(20),
    )
    with pytest.raises(KeyboardInterrupt):
        screening.run()
    rows = rows_of(tmp_path / "out.csv.part")
    assert len(rows) == screening.report.n_rows == 20
    assert None not in rows[-1].values()
    assert len(read(tmp_path / "out.extxyz.part", ":", format="extxyz")) == 20


@pytest.mark.parametrize("rank", RankBy.offered(under_pressure=False))
def test_ranking_agrees_with_the_rows(tmp_path: Path, model: Any, rank: RankBy) -> None:
    source = MemorySource("demo", demo_structures(30))
    report = screen(model, [source], tmp_path / "out.csv", rank=rank, top=5, limits=BatchLimits.for_atoms(300))
    rows = [row for row in rows_of(tmp_path / "out.csv") if row[rank.value]]
    numbers = {int(row["index"]): float(row[rank.value]) for row in rows}
    size = abs if rank is RankBy.pressure else float
    assert [row.index for row in report.ranking.rows()] == sorted(numbers, key=lambda index: size(numbers[index]))[:5]


def test_unknown_backend(tmp_path: Path, model: Any) -> None:
    with pytest.raises(BackendError, match="abacus"):
        screen(model, [], tmp_path / "out.csv", backend="abacus")
    assert not (tmp_path / "out.csv").exists()


def test_unwritable_output_is_refused_before_any_work(tmp_path: Path, model: Any) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Screening(model, [tmp_path / "in.xyz"], tmp_path / "missing" / "out.csv")


def test_no_sources_gives_an_empty_table(tmp_path: Path, model: Any) -> None:
    report = screen(model, [], tmp_path / "out.csv")
    assert report.n_rows == 0
    assert rows_of(tmp_path / "out.csv") == []


def test_backend_is_reported_and_passed_on(tmp_path: Path, model: Any, crystal: Crystal) -> None:
    report = screen(
        model, [MemorySource("s", [crystal()])], tmp_path / "out.csv", backend="numpy", dtype="float32", threads=1
    )
    assert report.backend == "numpy"
    # twice to see what compilation takes, then the batch
    options = {"backend": "numpy", "dtype": "float32", "threads": 1}
    assert model.options == [options, options, options | {"threshold": 1.5}]


def test_status_and_ranking_by_the_grade(tmp_path: Path, graded_model: Any, crystal: Crystal) -> None:
    structures = [crystal("W", a) for a in (2.3, 2.9, 2.5, 3.0)]
    broken = Atoms("Cu", cell=[3.0] * 3, pbc=True)
    options: dict[str, Any] = {"rank": "energy_per_atom", "overwrite": True, "structures": tmp_path / "out.extxyz"}

    def run(**more: Any) -> tuple[list[dict[str, str]], Any]:
        source = MemorySource("s", [*structures, broken])
        report = screen(graded_model, [source], tmp_path / "out.csv", **options, **more)
        return rows_of(tmp_path / "out.csv"), report

    rows, report = run()
    assert [row["status"] for row in rows] == ["extrapolating", "ok", "ok", "ok", "failed"]
    grades = [2.6**2 / (0.75 * a**2) for a in (2.3, 2.9, 2.5, 3.0)]
    assert [float(row["extrapolation_grade"]) for row in rows[:4]] == pytest.approx(grades)
    assert rows[4]["extrapolation_grade"] == ""
    assert rows[0]["message"] == "extrapolation grade 1.704 at atom 0 (W), above 1.5"
    assert (report.n_ok, report.n_extrapolating, report.n_failed) == (3, 1, 1)
    order = sorted(range(4), key=lambda k: float(rows[k]["energy_per_atom"]))
    assert order[-1] == 0
    assert [row.index for row in report.ranking.rows()] == order
    for atoms, grade in zip(read(tmp_path / "out.extxyz", ":"), grades, strict=True):
        assert atoms.info["extrapolation_grade"] == pytest.approx(grade)
        np.testing.assert_allclose(atoms.arrays["extrapolation_grades"], [grade] * 2)

    rows, report = run(grade_threshold=1.4, drop_extrapolating=True)
    assert [row["status"] for row in rows] == ["extrapolating", "ok", "extrapolating", "ok", "failed"]
    assert {row.index for row in report.ranking.rows()} == {1, 3}
    assert (report.ranking.n_ranked, report.ranking.n_dropped, report.n_extrapolating) == (2, 2, 2)


@pytest.mark.parametrize("threshold", [0.99, 0.0, -1.0, np.nan])
def test_a_threshold_below_1(tmp_path: Path, graded_model: Any, threshold: float) -> None:
    with pytest.raises(NetworkError, match=r"the threshold of the extrapolation grade must be 1 or more, got"):
        screen(graded_model, [], tmp_path / "out.csv", grade_threshold=threshold)
    assert not (tmp_path / "out.csv").exists()
