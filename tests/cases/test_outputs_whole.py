"""Whole rows and whole frames: on a full disk, at a size limit, after SIGKILL; and the exit code says what happened."""

from __future__ import annotations

import csv
import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from ase.io import read, write

import etn_gpu
from etn_gpu.screening import Screening
from etn_gpu.screening.rows import COLUMNS
from etn_gpu.structures import read_structures

from .conftest import MODEL, Labelled

Run = Callable[..., Any]
COUNT = 60


@pytest.fixture(autouse=True)
def _files(alloys: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frames = []
    for seed in range(COUNT):
        frames.append(alloys[seed % 3].atoms.copy())
        frames[-1].rattle(0.01, seed=seed)
    write("in.extxyz", frames)


def rows_of(path: str) -> list[dict[str, str]]:
    """The rows; every one, and the file itself, must be whole."""
    opener = gzip.open if ".gz" in path else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        text = file.read()
    assert text.endswith("\n")
    rows = list(csv.DictReader(text.splitlines()))
    assert all(row.keys() == {column.name for column in COLUMNS} and None not in row.values() for row in rows)
    assert {row["status"] for row in rows} <= {"ok", "extrapolating"}
    return rows


def frames_of(path: str) -> int:
    """The number of frames, the same for this library's reader and for ASE's."""
    ours = list(read_structures(path))
    assert [frame.error for frame in ours] == [None] * len(ours)
    with gzip.open(path, "rt") if ".gz" in path else open(path) as file:
        assert len(read(file, ":", format="extxyz")) == len(ours)
    return len(ours)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("limited", ["rows", "frames"])
@pytest.mark.parametrize("batch_atoms", [16, 64, 4096])
def test_a_size_limit(run: Run, batch_atoms: int, limited: str, suffix: str) -> None:
    """As on a full disk, a write ends in the middle of a number. What fits is kept, however large the batches."""
    output, structures = f"out.csv{suffix}", f"out.extxyz{suffix}"
    options = ["-o", output, "--batch-atoms", batch_atoms]
    if limited == "frames":
        options += ["--structures", structures]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500 if limited == "rows" else 7000, hard))
    try:
        finished = run("screen", MODEL, "in.extxyz", *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert finished.code == 3
    [line] = finished.err.splitlines()
    refused = output if limited == "rows" else structures
    rows = rows_of(output + ".part")
    assert 0 < len(rows) < COUNT
    assert (
        line
        == f"Error: cannot write {os.path.realpath(refused)}.part: File too large; whole {limited} in it: {len(rows)}"
    )
    if limited == "frames":
        assert frames_of(structures + ".part") == len(rows)
    undisturbed = "undisturbed.csv" + suffix
    assert run("screen", MODEL, "in.extxyz", "-o", undisturbed, "--batch-atoms", batch_atoms).code == 0
    assert run("screen", MODEL, "in.extxyz", *options, "--resume").code == 0
    assert Path(output).read_bytes() == Path(undisturbed).read_bytes()
    assert not Path(output + ".part").exists()
    again = run("screen", MODEL, "in.extxyz", *options, "--resume")
    assert again.code == 0
    assert "nothing to do" in again.out + again.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full, which Linux has")
@pytest.mark.parametrize("option", ["-o", "--structures", "--json"])
def test_a_full_disk(run: Run, alloys: list[Labelled], option: str) -> None:
    output = "out.extxyz" if option == "--structures" else "out"
    Path(output).symlink_to("/dev/full")
    alloys[0].atoms.info["REF_energy"] = alloys[0].energy
    write("labelled.extxyz", alloys[0].atoms)
    command = "evaluate" if option == "--json" else "screen"
    finished = run(command, MODEL, "labelled.extxyz", option, output)
    assert finished.code == 3
    [line] = finished.err.splitlines()
    assert line.startswith(f"Error: cannot write {output}: No space left on device")
    if option == "--structures":
        assert not Path("results.csv").exists()


def test_an_interrupt_between_structures_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    screening = Screening(etn_gpu.load(MODEL), ["in.extxyz"], "out.csv", structures="out.extxyz")
    written = os.write
    calls = []

    def interrupted(file: int, content: Any) -> int:
        calls.append(len(content))
        if len(calls) == 3:  # the columns, the frames, half of the rows
            written(file, content[: len(content) // 2])
            raise KeyboardInterrupt
        return written(file, content)

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        screening.run()
    assert os.listdir() == ["in.extxyz"]


_RUN = """
import sys
import etn_gpu
from etn_gpu.cli import main, screen
screen._DEMO_STRUCTURES = 10**7
options = ["--backend", "numpy", "--batch-atoms", "200"]
main.main(["screen", "--demo", *options, "-o", sys.argv[1], "--structures", sys.argv[2]])
"""


def test_a_killed_run(run: Run) -> None:
    """All that was written is there for every reader, and another run may take its place."""
    output, structures = "out.csv", "out.extxyz.gz"
    part = output + ".part"
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, output, structures], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = monotonic() + 120.0
        while monotonic() < deadline and process.poll() is None:
            if Path(part).exists() and Path(part).stat().st_size > 2000:
                break
            sleep(0.01)
        busy = run("screen", "--demo", "-o", output, "--overwrite")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert busy.code == 2
    assert f"another run is writing {output}" in busy.err
    rows = rows_of(part)
    assert [row["index"] for row in rows] == [str(index) for index in range(len(rows))]
    assert len(rows) > 10
    assert frames_of(structures + ".part") >= len(rows)
    assert run("screen", MODEL, "in.extxyz", "-o", output, "--overwrite").code == 0
    assert len(rows_of(output)) == COUNT


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("[bold]odd\nthing"), "Error: unexpected RuntimeError: [bold]odd thing. Please report it; "),
        (MemoryError(), "Error: out of memory; try smaller batches"),
        (OSError(28, "No space left on device", "x"), "Error: [Errno 28] No space left on device: 'x'; "),
        (etn_gpu.errors.DeviceMemoryError("no room for 3 GB"), "Error: no room for 3 GB"),
        (RecursionError("deep"), "Error: unexpected RecursionError: deep. "),
    ],
)
def test_unexpected_errors_have_their_own_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def load(name: str, **options: Any) -> None:
        raise error

    monkeypatch.delenv("ETN_GPU_TRACEBACK", raising=False)
    monkeypatch.setattr(etn_gpu, "load", load, raising=False)
    finished = run("screen", "--demo")
    assert finished.code == 3
    [line] = finished.err.splitlines()
    assert line.startswith(text)
    monkeypatch.setenv("ETN_GPU_TRACEBACK", "1")
    finished = run("screen", "--demo")
    assert finished.code == 3
    assert "Traceback (most recent call last)" in finished.err
    assert "raise error" in finished.err
