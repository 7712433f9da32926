"""A run that is stopped, however it is, goes on: no row is lost, none is there twice, and every byte is the same."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.files import unfinished
from etn_gpu.screening import BatchLimits, MemorySource, Screening, ScreeningReport, demo_structures

from .conftest import LennardJones

COUNT = 120


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    structures = list(demo_structures(COUNT))
    for number, atoms in enumerate(structures):
        atoms.info |= {"uid_text": f"00{number}", "number": number if number % 7 else 0.5}
    structures[50].symbols[0] = "Cu"  # fails
    paths = [tmp_path / "a.extxyz", tmp_path / "prose.txt", tmp_path / "b.traj", tmp_path / "c.extxyz.gz"]
    write(paths[0], structures[:60])
    paths[1].write_text("This is no structure.\n")
    write(paths[2], structures[60:90])
    write(paths[3], structures[90:])
    with paths[0].open("a") as file:
        file.write("3\nno lattice\nW 0 0 0\n")  # a frame that ends early
    return paths


def run(folder: Path, inputs: list[Path], suffix: str = "", **options: Any) -> ScreeningReport:
    folder.mkdir(exist_ok=True)
    model: Any = LennardJones()
    screening = Screening(
        model,
        inputs,
        folder / f"out.csv{suffix}",
        structures=folder / f"out.extxyz{suffix}",
        limits=BatchLimits.for_atoms(250),
        **({"keep": ["number"], "id": "uid_text"} | options),
    )
    return screening.run()


def contents(folder: Path) -> dict[str, bytes]:
    """All files but those that bear a lock, which a killed run may leave, and the note that a run is whole."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".lock", ".run")}


def stopped_run(folder: Path, inputs: list[Path], after: float, **options: Any) -> bool:
    """Whether a run was whole before it was killed, `after` so many seconds."""
    process = os.fork()
    if process == 0:
        try:
            run(folder, inputs, resume=True, **options)
        except BaseException:
            os._exit(1)
        os._exit(0)
    time.sleep(after)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0


def killed_again_and_again(tmp_path: Path, inputs: list[Path], times: int, seed: int, suffix: str) -> None:
    expected = run(tmp_path / "undisturbed", inputs, suffix)
    begin = time.monotonic()
    run(tmp_path / "timed", inputs, suffix)
    length = time.monotonic() - begin
    rng = np.random.default_rng(seed)
    killed = 0
    while killed < times:
        folder = tmp_path / f"stopped-{killed}"
        longest = 0.7 * length
        while not stopped_run(folder, inputs, rng.uniform(0.0, longest), suffix=suffix):
            killed += 1
            # What has no notes to go on from, such as the last pass, may take longer than this in a busy moment.
            longest *= 1.05
        assert contents(folder) == contents(tmp_path / "undisturbed")
    assert expected.n_rows == COUNT + 2


@pytest.fixture
def _note_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "_INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "_SHARE", 0.0)


@pytest.mark.usefixtures("_note_always")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_killed_at_random_moments(tmp_path: Path, inputs: list[Path], suffix: str) -> None:
    killed_again_and_again(tmp_path, inputs, 5, 1, suffix)


@pytest.mark.slow
@pytest.mark.usefixtures("_note_always")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_killed_at_a_hundred_random_moments(tmp_path: Path, inputs: list[Path], suffix: str) -> None:
    killed_again_and_again(tmp_path, inputs, 100, 2, suffix)


@pytest.mark.usefixtures("_note_always")
@pytest.mark.parametrize("batches", [3, 5, 8])
def test_the_report_is_that_of_the_whole_run(tmp_path: Path, inputs: list[Path], batches: int) -> None:
    whole = run(tmp_path / "undisturbed", inputs)
    calls = 0

    def failing(batch: Any) -> Exception | None:
        nonlocal calls
        calls += 1
        if calls > batches:
            raise KeyboardInterrupt
        return None

    model: Any = LennardJones(failing)
    options: dict[str, Any] = {
        "structures": tmp_path / "out.extxyz",
        "limits": BatchLimits.for_atoms(250),
        "keep": ["number"],
        "id": "uid_text",
    }
    stopped = Screening(model, inputs, tmp_path / "out.csv", **options)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    again = Screening(model := LennardJones(), inputs, tmp_path / "out.csv", resume=True, **options)  # type: ignore[arg-type]
    report = again.run()
    assert len(model.batch_sizes) < calls + whole.n_rows
    assert report.n_before == stopped.report.n_rows > 0
    for name in ("n_ok", "n_extrapolating", "n_failed", "n_atoms", "failures", "untried", "notes"):
        assert getattr(report, name) == getattr(whole, name), name
    assert report.ranking.rows() == whole.ranking.rows()
    assert report.labels.note() == whole.labels.note()
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "undisturbed" / "out.csv").read_bytes()


def interrupted(structures: list[Atoms], after: int) -> Iterator[Atoms]:
    yield from structures[:after]
    raise KeyboardInterrupt


@pytest.mark.usefixtures("_note_always")
def test_structures_in_memory(tmp_path: Path, model: Any) -> None:
    structures = list(demo_structures(40))
    options: dict[str, Any] = {"limits": BatchLimits.for_atoms(60)}
    with pytest.raises(KeyboardInterrupt):
        Screening(model, [MemorySource("m", interrupted(structures, 30))], tmp_path / "out.csv", **options).run()
    for others in ([*structures[:3], *structures[4:]], structures[:5]):  # other ones, and fewer
        again = Screening(model, [MemorySource("m", others)], tmp_path / "out.csv", resume=True, **options)
        with pytest.raises(
            DataError, match=r"cannot go on: the first \d+ structures of m are not those of the run that"
        ):
            again.run()
    Screening(model, [MemorySource("m", structures)], tmp_path / "out.csv", resume=True, **options).run()
    Screening(model, [MemorySource("m", structures)], tmp_path / "whole.csv", **options).run()
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.usefixtures("_note_always")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dtype": "float32"}, r'dtype was "float64", is "float32"'),
        ({"grade_threshold": 3.0}, r"grade threshold was 1\.5, is 3\.0"),
        ({"keep": []}, r"kept entries was .*number"),
        ("input", r"inputs, number 1 was .*a\.extxyz.*, is .*a\.extxyz"),
        ("model", r"model was"),
        ("structures", r"outputs was"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, inputs: list[Path], change: Any, named: str) -> None:
    model: Any = LennardJones()
    options: dict[str, Any] = {"limits": BatchLimits.for_atoms(250), "keep": ["number"]}
    steps = iter(Screening(model, inputs, tmp_path / "out.csv", **options))
    next(steps)
    next(steps)
    with pytest.raises(DataError, match="another run is writing"):
        Screening(model, inputs, tmp_path / "out.csv", resume=True, **options).run()
    steps.close()  # type: ignore[attr-defined]
    before = (tmp_path / "out.csv.part").read_bytes()
    if change == "input":
        with inputs[0].open("a") as file:
            file.write("\n")
    elif change == "model":
        model.metadata["formation_references"] = {"W": -4.5}
    elif change == "structures":
        options["structures"] = tmp_path / "new.extxyz"
    else:
        options |= change
    with pytest.raises(DataError, match=named):
        Screening(model, inputs, tmp_path / "out.csv", resume=True, **options)
    with pytest.raises(DataError, match="is of a run that was stopped"):
        Screening(model, inputs, tmp_path / "out.csv", **options)
    assert (tmp_path / "out.csv.part").read_bytes() == before
    Screening(model, inputs, tmp_path / "out.csv", overwrite=True, **options).run()
    with (tmp_path / "out.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == COUNT + 2


def test_other_batches_and_threads_are_the_same_run(tmp_path: Path, inputs: list[Path]) -> None:
    run(tmp_path / "undisturbed", inputs)
    model: Any = LennardJones()
    options: dict[str, Any] = {"keep": ["number"], "id": "uid_text", "structures": tmp_path / "out.extxyz"}
    steps = iter(Screening(model, inputs, tmp_path / "out.csv", limits=BatchLimits.for_atoms(60), **options))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    again = Screening(
        model, inputs, tmp_path / "out.csv", limits=BatchLimits.for_atoms(200), threads=2, resume=True, **options
    )
    again.run()
    for name in ("out.csv", "out.extxyz"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
