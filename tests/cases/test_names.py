"""Files of any name are screened and evaluated: every row is there, in one line, and says which file it is of."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from etn_gpu.structures import read_structures

from .conftest import MODEL, Evaluate, Labelled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other file systems have no such names")

# What the file is called, and how it stands in the rows.
NAMES = {
    b"bad\xff.xyz": "bad\\udcff.xyz",
    "ü.xyz".encode(): "ü.xyz",
    b"=1+1.xyz": "./=1+1.xyz",
    b"@sum.xyz": "./@sum.xyz",
    b"\t=1.xyz": "\\x09=1.xyz",
    b"a,\"b\";'c'.xyz": "a,\"b\";'c'.xyz",
    b"red\x1b[31m\x07.xyz": "red\\x1b[31m\\x07.xyz",
    b"cr\rlf\n.xyz": "cr\\x0dlf\\x0a.xyz",
    b"vt\x0bff\x0cfs\x1c.xyz": "vt\\x0bff\\x0cfs\\x1c.xyz",
    "nel\x85ls\u2028rlo\u202e.xyz".encode(): "nel\\x85ls\\u2028rlo\\u202e.xyz",
    b"back\\x41slash.xyz": "back\\x5cx41slash.xyz",
}


@pytest.fixture
def folder(tmp_path: Path, alloys: list[Labelled], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same structure under every name."""
    monkeypatch.chdir(tmp_path)
    write("plain", alloys[0].atoms, format="extxyz")
    for name in NAMES:
        os.link(b"plain", name)
    return tmp_path


def original(shown: str) -> bytes:
    escape = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
    return os.fsencode(escape.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), shown))


def sources(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A reader that goes by lines sees the same records.
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + len(rows)
    return [row["source"] for row in rows]


def test_every_name_has_its_row(run: Any, folder: Path) -> None:
    names = [os.fsdecode(name) for name in NAMES]
    finished = run("screen", MODEL, *names, "-o", "rows.csv", "--structures", "out.extxyz", "--top", 20)
    assert finished.code == 0, finished.err
    found = sources(folder / "rows.csv")
    assert found == list(NAMES.values())
    for name, shown in zip(NAMES, found, strict=True):
        assert os.path.samefile(original(shown), name)
        assert shown in re.sub(r"\s+\n?", " ", finished.out)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", finished.out + finished.err)
    written = [frame.atoms.info["source"] for frame in read_structures("out.extxyz") if frame.atoms is not None]
    assert written == found


def test_unreadable_files_of_such_names_are_rows_too(run: Any, folder: Path) -> None:
    name = os.fsdecode(b"=prose\xff\r\x1b.xyz")
    Path(name).write_text("This is no structure.\n")
    finished = run("screen", MODEL, "plain", name, "-o", "rows.csv")
    assert finished.code == 1
    assert sources(folder / "rows.csv") == ["plain", "./=prose\\udcff\\x0d\\x1b.xyz"]
    assert ",failed," in (folder / "rows.csv").read_text(encoding="utf-8").splitlines()[2]
    assert "\x1b" not in finished.out


def test_missing_files_of_such_names_are_named(run: Any, folder: Path) -> None:
    finished = run("screen", MODEL, "plain", os.fsdecode(b"=gone\xff\r\x1b.xyz"), "-o", "rows.csv")
    assert finished.code == 2
    assert finished.err == "Error: no such file or folder: =gone\\udcff\\x0d\\x1b.xyz; nothing was written\n"
    assert not (folder / "rows.csv").exists()


def test_evaluate_names_files_and_groups(evaluate: Evaluate, folder: Path, alloys: list[Labelled]) -> None:
    item = alloys[0]
    atoms = item.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces, stress=item.stress)
    atoms.info["config_type"] = "md\x1b[31m"
    name = os.fsdecode(b"labels\xff\x1b[2J.extxyz")
    write(folder / name, atoms)
    result = evaluate(folder / name)
    assert result.code == 0
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)
    assert "labels\\udcff\\x1b[2J.extxyz" in result.out
    assert "md\\x1b[31m" in result.out
    assert result.numbers["files"] == [str(folder / name)]
    assert "\x1b" not in result.out + result.err


@pytest.mark.slow
def test_the_c_locale(folder: Path) -> None:
    """A process, because the encoding of names is that of its start."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    names = map(os.fsdecode, NAMES)
    command = [sys.executable, "-m", "etn_gpu.cli.main", "screen", MODEL, *names, "-o", "rows.csv", "--top", "3"]
    finished = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    assert sources(folder / "rows.csv") == list(NAMES.values())
    finished.stdout.decode("ascii")


@pytest.mark.slow
def test_a_reader_that_has_gone_costs_nothing(folder: Path) -> None:
    command = f"{sys.executable} -m etn_gpu.cli.main screen {MODEL} plain plain -o rows.csv | head -1"
    script = f"set -o pipefail; {command}"
    finished = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0
    assert "Traceback" not in finished.stderr
    assert "Error" not in finished.stderr
    assert finished.stdout == "Best 2 of 2 by formation_energy, lowest first\n"
    assert sources(folder / "rows.csv") == ["plain", "plain"]
