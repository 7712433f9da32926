"""`etn-gpu screen`."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

import etn_gpu.screening.demo
from etn_gpu.cli import screen as screen_command

Run = Callable[..., Any]


def tungsten(a: float = 3.2) -> Atoms:
    return Atoms("W2", positions=[[0.0] * 3, [0.5 * a] * 3], cell=[a] * 3, pbc=True)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_demo_needs_no_other_argument(run: Run, stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen_command, "_DEMO_STRUCTURES", 40)
    for arguments in (["--demo"], ["nbmotaw", "--demo"]):
        finished = run("screen", *arguments)
        assert finished.code == 0, finished.err
        assert "by formation_energy, lowest first" in finished.out
        assert "40 structures" in finished.out
        assert "rows: results.csv" in finished.out
        rows = rows_of(Path("results.csv"))
        assert [row["index"] for row in rows] == [str(index) for index in range(40)]
        assert {row["source"] for row in rows} == {"demo"}
        Path("results.csv").unlink()


def test_demo_has_2000_structures() -> None:
    assert screen_command._DEMO_STRUCTURES == 2000


def test_files_output_structures_and_ranking(run: Run, stand_in: Any) -> None:
    write("a [1].extxyz", [tungsten(a) for a in (3.0, 2.95, 3.3)])
    finished = run(
        "screen",
        "nbmotaw",
        "a [1].extxyz",
        "-o",
        "out.csv",
        "--structures",
        "out.extxyz",
        "--rank",
        "max_force",
        "--top",
        2,
    )
    assert finished.code == 0, finished.err
    assert "Best 2 of 3 by max_force, lowest first" in finished.out
    assert "a [1].extxyz" in finished.out
    assert "\x1b" not in finished.out + finished.err
    assert len(rows_of(Path("out.csv"))) == 3
    energies = [atoms.get_potential_energy() for atoms in read("out.extxyz", ":")]
    assert energies == pytest.approx([float(row["energy"]) for row in rows_of(Path("out.csv"))], abs=1e-8)


def test_order_of_the_table(run: Run, stand_in: Any) -> None:
    write("a.extxyz", [tungsten(a) for a in (3.0, 2.9, 3.6)])
    table = run("screen", "nbmotaw", "a.extxyz", "--rank", "pressure").out
    pressures = {row["index"]: abs(float(row["pressure"])) for row in rows_of(Path("results.csv"))}
    shown = [line.split()[2] for line in table.splitlines() if "a.extxyz" in line]
    assert shown == sorted(pressures, key=lambda index: pressures[index])


def test_failures_give_exit_code_1_and_are_shown(run: Run, stand_in: Any) -> None:
    copper, nan = tungsten(), tungsten()
    copper.symbols = ["Cu", "W"]
    nan.positions[0, 0] = np.nan
    write("a.traj", [tungsten(), copper, nan])
    Path("prose.txt").write_text("This is no structure.\n")
    finished = run("screen", "nbmotaw", "a.traj", "prose.txt")
    assert finished.code == 1
    assert [row["status"] for row in rows_of(Path("results.csv"))] == ["ok", "failed", "failed", "failed"]
    assert "failed: a.traj [1]: " in finished.out
    assert "failed: prose.txt: " in finished.out
    assert "1 ok, 0 extrapolating; 3 failed" in finished.out


def test_many_failures_are_not_all_shown(run: Run, stand_in: Any) -> None:
    write("a.extxyz", [Atoms("Cu")] * 15)
    finished = run("screen", "nbmotaw", "a.extxyz")
    assert finished.code == 1
    assert finished.out.count("failed: a.extxyz") == 10
    assert "... and 5 more failed" in finished.out


def test_no_readable_file_is_exit_code_1(run: Run, stand_in: Any) -> None:
    Path("prose.txt").write_text("This is no structure.\n")
    assert run("screen", "nbmotaw", "prose.txt").code == 1


def test_a_missing_file_is_wrong_use(run: Run, stand_in: Any) -> None:
    write("a.extxyz", tungsten())
    finished = run("screen", "nbmotaw", "a.extxyz", "missing.xyz")
    assert finished.code == 2
    assert finished.err == "Error: no such file or folder: missing.xyz; nothing was written\n"
    assert not Path("results.csv").exists()


def test_extrapolating_is_no_failure(run: Run, stand_in: Any) -> None:
    write("a.extxyz", tungsten(2.2))
    finished = run("screen", "nbmotaw", "a.extxyz")
    assert finished.code == 0
    assert "extrapolating" in finished.out


LACKS = (
    "the model has nothing to tell an extrapolation grade by; `etn-gpu grade MODEL train.extxyz --output NEW.etn` adds"
)


def test_a_model_without_grades_is_told_once(run: Run, stand_in: Any) -> None:
    write("a.extxyz", [tungsten(2.2)] * 3)
    finished = run("screen", "nbmotaw", "a.extxyz", "--batch-atoms", 2)
    assert finished.code == 0
    assert finished.out.count(LACKS) == 1
    assert "grade  status" not in finished.out
    assert {row["extrapolation_grade"] for row in rows_of(Path("results.csv"))} == {""}
    assert "W-W pair at 1.905 A" in rows_of(Path("results.csv"))[0]["message"]


def test_grades_in_rows_and_table(run: Run, stand_in: Any) -> None:
    stand_in.grade = "given"
    write("a.extxyz", [tungsten(a) for a in (2.9, 2.2, 3.0)])
    finished = run("screen", "nbmotaw", "a.extxyz", "--rank", "energy_per_atom")
    assert finished.code == 0, finished.err
    assert LACKS not in finished.out
    assert "grade  status" in finished.out
    assert "Best 3 of 3 by energy_per_atom, lowest first\n" in finished.out
    shown = {line.split()[2]: line.split()[-2:] for line in finished.out.splitlines() if "a.extxyz" in line}
    assert shown == {"0": ["1.07", "ok"], "1": ["1.86", "extrapolating"], "2": ["1.00", "ok"]}
    rows = rows_of(Path("results.csv"))
    assert [row["status"] for row in rows] == ["ok", "extrapolating", "ok"]
    assert rows[1]["message"] == "extrapolation grade 1.862 at atom 0 (W), above 1.5"
    # in its place: only the numbers decide
    order = sorted(range(3), key=lambda k: float(rows[k]["energy_per_atom"]))
    assert list(shown) == [str(k) for k in order]


def test_extrapolating_rows_can_be_dropped_from_the_ranking(run: Run, stand_in: Any) -> None:
    stand_in.grade = "given"
    write("a.extxyz", [tungsten(a) for a in (2.9, 2.2, 3.0)])
    arguments = ["screen", "nbmotaw", "a.extxyz", "--drop-extrapolating", "--overwrite"]
    finished = run(*arguments)
    assert "Best 2 of 2 by formation_energy, lowest first; 1 extrapolating left out" in finished.out
    assert len(rows_of(Path("results.csv"))) == 3
    finished = run(*arguments, "--grade-threshold", 2)
    assert "Best 3 of 3 by formation_energy, lowest first; 0 extrapolating left out" in finished.out
    finished = run(*arguments, "--grade-threshold", 1)
    assert finished.code == 0
    assert "all 3 structures that could be ranked are extrapolating; rank them without --drop" in finished.out


@pytest.mark.parametrize("value", ["0.99", "-1", "nan"])
def test_a_threshold_below_1(run: Run, stand_in: Any, value: str) -> None:
    stand_in.grade = "given"
    finished = run("screen", "nbmotaw", "a.xyz", "--grade-threshold", value)
    assert finished.code == 2
    expected = f"Error: --grade-threshold {value}: the threshold of the extrapolation grade must be 1 or more, got "
    assert finished.err.startswith(expected)
    assert not Path("results.csv").exists()


def test_a_threshold_for_a_model_without_grades(run: Run, stand_in: Any) -> None:
    finished = run("screen", "nbmotaw", "a.xyz", "--grade-threshold", 2)
    assert finished.code == 2
    assert finished.err.startswith(f"Error: --grade-threshold 2: {LACKS}")


def test_nothing_to_rank_by_is_explained(run: Run, stand_in: Any) -> None:
    stand_in.metadata = {}
    write("a.extxyz", tungsten())
    finished = run("screen", "nbmotaw", "a.extxyz")
    assert finished.code == 0
    assert "no structure has a formation_energy to rank by" in finished.out
    assert "--rank energy_per_atom" in finished.out


def test_top_0_shows_no_table(run: Run, stand_in: Any) -> None:
    write("a.extxyz", tungsten())
    assert "Best" not in run("screen", "nbmotaw", "a.extxyz", "--top", 0).out


def test_options_reach_the_model(run: Run, stand_in: Any) -> None:
    write("a.extxyz", [tungsten()] * 4)
    arguments = ["--backend", "numpy", "--dtype", "float32", "--threads", 1, "--batch-atoms", 4]
    assert run("screen", "nbmotaw", "a.extxyz", *arguments).code == 0
    # twice to see what compilation takes, then two batches
    options = {"backend": "numpy", "dtype": "float32", "threads": 1}
    assert stand_in.options == 2 * [options] + 2 * [options | {"threshold": 1.5}]
    assert stand_in.batch_sizes[2:] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give a model and files of structures"),
        (["nbmotaw"], "no files of structures to screen with nbmotaw"),
        (["nbmotaw", "a.xyz", "--demo"], "--demo builds its own structures"),
        (["nbmotaw", "a.xyz", "-o", "missing/out.csv"], "the folder missing does not exist"),
        (["nbmotaw", "a.xyz", "-o", "a.xyz"], "it is the input file a.xyz"),
        (["nbmotaw", "a.xyz", "--structures", "out.cif"], "must end in one of .extxyz"),
        (["nbmotaw", "a.xyz", "--backend", "abacus"], "abacus"),
    ],
)
def test_wrong_use(run: Run, stand_in: Any, arguments: list[str], complaint: str) -> None:
    finished = run("screen", *arguments)
    assert finished.code == 2
    assert finished.err.startswith("Error: ")
    assert complaint in finished.err
    assert not Path("results.csv").exists()


def test_resume_of_a_whole_run_is_no_failure(run: Run, stand_in: Any) -> None:
    write("a.extxyz", [tungsten()] * 3)
    assert run("screen", "nbmotaw", "a.extxyz", "--resume").code == 0
    before = Path("results.csv").read_bytes()
    again = run("screen", "nbmotaw", "a.extxyz", "--resume")
    assert again.code == 0
    assert "nothing to do: results.csv is whole" in again.out
    assert Path("results.csv").read_bytes() == before
    write("a.extxyz", [tungsten()] * 2)
    again = run("screen", "nbmotaw", "a.extxyz", "--resume")
    assert again.code == 2
    assert "is of another run: inputs was" in again.err


def test_demo_with_a_model_of_other_elements(run: Run, stand_in: Any) -> None:
    stand_in.species = ("Al", "W")
    finished = run("screen", "--demo")
    assert finished.code == 2
    assert "has no Nb, Mo, Ta (it knows Al, W)" in finished.err


def test_ctrl_c_reports_what_is_done(run: Run, stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(count: int, seed: int) -> Any:
        yield from [tungsten()] * 30
        raise KeyboardInterrupt

    monkeypatch.setattr(etn_gpu.screening.demo, "demo_structures", stream)
    finished = run("screen", "--demo", "--batch-atoms", 20)
    assert finished.code == 130
    assert "Best 20 of 20" in finished.out
    assert "interrupted" in finished.out
    assert "rows: results.csv.part" in finished.out.replace(str(Path.cwd()) + "/", "")
    assert len(rows_of(Path("results.csv.part"))) == 20


_FOREVER = """
import signal
import sys
import tests_conftest
from etn_gpu.cli import main, screen
import etn_gpu
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
etn_gpu.load = lambda name, **options: tests_conftest.LennardJones()
screen._DEMO_STRUCTURES = 10**7
main.main(["screen", "--demo", "--batch-atoms", "500", "--structures", "out.extxyz"])
"""


def test_ctrl_c_from_outside_leaves_valid_files(tmp_path: Path) -> None:
    stand_in = Path(__file__).parents[1] / "screening" / "conftest.py"
    (tmp_path / "tests_conftest.py").write_text(stand_in.read_text())
    command = [sys.executable, "-c", _FOREVER]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = monotonic() + 60.0
        while monotonic() < deadline and process.poll() is None and not _has_lines(tmp_path / "results.csv.part", 40):
            sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in out
    rows = rows_of(tmp_path / "results.csv.part")
    assert len(rows) >= 40
    assert [row["index"] for row in rows] == [str(index) for index in range(len(rows))]
    assert {row["status"] for row in rows} == {"ok"}
    assert len(read(tmp_path / "out.extxyz.part", ":", format="extxyz")) >= len(rows)


def _has_lines(path: Path, count: int) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") > count
