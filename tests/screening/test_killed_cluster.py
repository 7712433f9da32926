"""A run with several processes that is killed, or whose workers die: no row is lost, every byte is the same, and nobody
is left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
from ase.io import write

from etn_gpu.screening import demo_structures

from .cluster_run import screening

ROOT = Path(__file__).resolve().parents[2]
COUNT, KILLS, SECONDS = 300, 5, 120.0

pytestmark = pytest.mark.slow


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    structures = list(demo_structures(COUNT))
    for number, atoms in enumerate(structures):
        atoms.info["number"] = number if number % 7 else 0.5
    structures[50].symbols[0] = "Cu"  # fails
    paths = [tmp_path / "a.extxyz", tmp_path / "b.traj", tmp_path / "c.extxyz"]
    write(paths[0], structures[:150])
    write(paths[1], structures[150:170])
    write(paths[2], structures[170:])
    return paths


def started(folder: Path, inputs: list[Path], suffix: str, deadly: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.screening.cluster_run", str(folder), suffix, str(deadly), *map(str, inputs)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".lock", ".run")}


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_run_is_killed_at_random_moments(tmp_path: Path, inputs: list[Path], suffix: str) -> None:
    screening(tmp_path / "undisturbed", inputs, suffix).run()
    rng, killed = np.random.default_rng(3), 0
    folder = tmp_path / "stopped"
    while True:
        process = started(folder, inputs, suffix)
        assert process.stdout is not None
        if killed % 3 == 2:  # while its workers begin
            time.sleep(rng.uniform(0.5, 5.0))
        elif process.stdout.readline():
            time.sleep(rng.uniform(0.0, 0.4))
        others = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.stdout.close()
        status = process.wait(SECONDS)
        assert gone(others)
        killed += status != 0
        if killed >= KILLS or (status == 0 and killed):
            break
    if status != 0:
        screening(folder, inputs, suffix, resume=True).run()  # by one process
    assert contents(folder) == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_workers_die_at_random(tmp_path: Path, inputs: list[Path], suffix: str) -> None:
    screening(tmp_path / "undisturbed", inputs, suffix).run()
    process = started(tmp_path / "deadly", inputs, suffix, deadly=40)
    process.communicate(timeout=5 * SECONDS)
    assert process.returncode == 0
    assert any(tmp_path.glob("*.died"))
    assert contents(tmp_path / "deadly") == contents(tmp_path / "undisturbed")


def test_begun_by_one_process(tmp_path: Path, inputs: list[Path]) -> None:
    screening(tmp_path / "undisturbed", inputs, ".gz").run()
    steps = iter(screening(tmp_path / "stopped", inputs, ".gz"))
    for _ in range(3):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    process = started(tmp_path / "stopped", inputs, ".gz")
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert contents(tmp_path / "stopped") == contents(tmp_path / "undisturbed")
