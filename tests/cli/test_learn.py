"""`etn-gpu learn`: the table at the end, exit codes, going on, and wrong use."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from ase.io import write
from rich.console import Console

import etn_gpu
from etn_gpu.cli.learning_display import LearningDisplay
from etn_gpu.learning import LearningConfig, LearningReport
from etn_gpu.learning.config import Event, OnEvent
from etn_gpu.potential.presets import PRESETS
from tests.conftest import Run
from tests.learning.students import CUTOFF, alloys, quicken_training, tiny

TEACHER = "ase.calculators.emt:EMT"
FEW = ("--rounds", 1, "--number", 10, "--test-number", 6, "--least-atoms", 8, "--steps", 20, "--threads", 1)
SMALL = ("--preset", "small", "--cutoff", CUTOFF, "--max-iterations", 2)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of structures; runs of learning take seconds."""
    quicken_training(monkeypatch)
    monkeypatch.setitem(PRESETS, "small", tiny())
    write(tmp_path / "start.extxyz", alloys())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "start.extxyz"


def test_a_run_ends_with_tables(start: Path, run: Run) -> None:
    output = start.with_name("student.etn")
    done = run("learn", TEACHER, start, "-o", output, *FEW, *SMALL)
    assert done.code == 0, done.err
    assert "round 1: 10 structures met; 10 of 10 chosen labelled; errors on held-out data after training" in done.out
    report = json.loads(output.with_suffix(".json").read_text())
    [row] = [line.split() for line in done.out.splitlines() if line.split()[:1] == ["all"]]
    errors = report["errors"]["all"]
    assert row[1:3] == ["6", str(errors["n_atoms"])]
    assert float(row[3]) == pytest.approx(1e3 * errors["energy"]["rmse"], abs=0.006)
    assert float(row[4]) == pytest.approx(1e3 * errors["forces"]["rmse"], abs=0.06)
    assert float(row[6]) == pytest.approx(160.21766 * errors["stress"]["rmse"], abs=0.0006)
    assert re.search(r"^teacher +[\d.]+ +1$", done.out, re.M)
    assert re.search(r"^student, as a batch +[\d.]+ +[\d.]+$", done.out, re.M)
    assert f"model: {output}" in done.out
    assert etn_gpu.load(output).metadata["learnt_from"] == {"name": TEACHER, "arguments": {}}
    again = run("learn", TEACHER, start, "-o", output, *FEW, *SMALL)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert run("learn", TEACHER, start, "-o", output, *FEW, *SMALL, "--resume").code == 0


def test_failures_are_told_and_counted(start: Path, run: Run) -> None:
    start.with_name("strict.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Strict(EMT):\n"
        "    def __init__(self, most):\n"
        "        super().__init__()\n"
        "        self.most = most\n"
        "    def calculate(self, atoms=None, *others):\n"
        "        if (atoms.numbers == 79).sum() > self.most:\n"
        "            raise ValueError('too much gold')\n"
        "        super().calculate(atoms, *others)\n"
    )
    options = (*FEW, *SMALL, "--test-number", 0, "--arguments", '{"most": 3}')
    done = run("learn", "strict:Strict", start, "-o", "student.etn", *options)
    assert done.code == 1, done.err
    assert re.search(r"^failed: Au\S+ \((given|perturbed)\): ValueError: too much gold$", done.out, re.M)
    assert Path("student.etn").exists()


@pytest.mark.parametrize(
    ("options", "begun", "advice"),
    [
        ([], False, "interrupted\n"),
        ([], True, "interrupted: go on with the same command and --resume\n"),
        (["--overwrite"], True, "interrupted: go on with the same command and --resume instead of --overwrite\n"),
        (["--resume"], True, "interrupted: go on with the same command\n"),
    ],
)
def test_what_to_do_after_an_interrupt(
    start: Path, run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], begun: bool, advice: str
) -> None:
    def interrupted(config: LearningConfig, on_event: OnEvent) -> None:
        if begun:
            on_event(Event("phase", text="round 1: labels by the teacher", total=10))
        raise KeyboardInterrupt

    monkeypatch.setattr("etn_gpu.learning.runner.learn", interrupted)
    done = run("learn", TEACHER, start, "-o", "student.etn", *FEW, *options)
    assert (done.code, done.out) == (130, advice)


def test_the_comparison_tells_what_it_lacks(start: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Structures with enormous forces are those where a student may be worst."""
    forces = {"mae": 0.1, "rmse": 0.1, "count": 12}
    row = {"n_structures": 4, "n_atoms": 4, "energy": forces, "forces": forces, "stress": forces, "forces_rms": 1.0}
    test = {"chosen": 9, "labelled": 7, "failed": 2, "large_forces": 3}
    reports = [LearningReport({"largest_force": 50.0}, [], {}, test, errors) for errors in ({"all": row}, {})]
    monkeypatch.setattr("etn_gpu.learning.runner.learn", lambda config, on_event: reports.pop(0))
    told = "left out of 9: 2 without a label of the teacher, 3 with forces above 50 eV/A\n"
    for begin in ("", "nothing to compare, "):
        done = run("learn", TEACHER, start, "-o", "student.etn", *FEW)
        assert done.code == 1
        assert f"\n{begin}{told}" in f"\n{done.out}"


def test_lines_on_a_terminal_are_not_written_into_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = StringIO()
    console = Console(file=terminal, force_terminal=True, width=100)
    monkeypatch.setattr(
        "etn_gpu.cli.learning_display.error_console", lambda: Console(file=terminal, force_terminal=True)
    )
    with LearningDisplay(console) as display:
        display.show(Event("phase", text="round 1: labels by the teacher", total=10))
        display.show(Event("warning", text="Cu4 (given): ValueError: no"))
    before, _ = terminal.getvalue().split("failed: Cu4")
    assert re.search(r"\r\x1b\[2K(\x1b\[\d+m)?$", before)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonesuch.module:make"], "nonesuch"),
        (["ase.calculators.emt:Nothing"], "Nothing"),
        ([TEACHER, "--arguments", "[1]"], r"no JSON object of keyword arguments"),
        ([TEACHER, "--arguments", "{"], r"--arguments '\{' is no JSON"),
        ([TEACHER, "--timeout", "soon"], r"--timeout 'soon' is no duration above zero"),
        ([TEACHER, "--exchange", "Cu"], "exchange Cu: a group needs two elements or more"),
        ([TEACHER, "--exchange", "Cu, Au", "--exchange", "Ag,Au"], "exchange Ag,Au: Au is in the group Cu,Au too"),
        ([TEACHER, "--exchange", "Cu,Ag"], "none of the given structures has Ag, found Au, Cu"),
        ([TEACHER, "--keep-compositions"], "no elements are exchanged: name those that may be"),
        ([TEACHER, "--threshold", "0.9"], r"the threshold must be 1 or more"),
        ([TEACHER, "--resume"], "there is no run to go on with"),
        ([TEACHER, "--retry"], "only a run that goes on"),
        (["no_such.etn"], r"no_such\.etn"),
    ],
)
def test_wrong_use(start: Path, run: Run, arguments: list[str], complaint: str) -> None:
    done = run("learn", *arguments, start, "-o", "student.etn", *FEW, *SMALL)
    assert done.code == 2
    assert re.search(complaint, done.err)
    assert "Traceback" not in done.err
    assert not Path("student.etn").exists()


def test_structures_must_be_there(start: Path, run: Run) -> None:
    done = run("learn", TEACHER, "nowhere.extxyz", "-o", "student.etn", *FEW)
    assert done.code == 2
    assert "nowhere.extxyz" in done.err
    assert run("learn", TEACHER, start, "-o", start, *FEW).code == 2
    assert not Path("student.learn").exists()
