"""Models that strangers send, through the command line: refused before anything is written, or rows that say why."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.io import write
from safetensors import safe_open

import etn_gpu
from etn_gpu.potential import ETNPotential, file, shipped_models

from .conftest import MODEL, Labelled

Run = Callable[..., Any]


@pytest.fixture
def structures(alloys: list[Labelled], tmp_path: Path) -> Path:
    write(tmp_path / "alloys.extxyz", [item.atoms for item in alloys])
    return tmp_path / "alloys.extxyz"


@pytest.mark.parametrize("command", [["screen"], ["evaluate"], ["grade", "-o", "new.etn"]])
def test_a_potential_of_another_code(
    command: list[str], run: Run, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gap.xml").write_text('<GAP_params label="GAP_2017">\n')
    finished = run(*command, tmp_path / "gap.xml", structures)
    assert finished.code == 2
    assert "gap.xml is an XML file, perhaps a GAP potential (QUIP)" in finished.err
    assert "expected a model file of etn_gpu" in finished.err


def test_a_cut_potential_of_another_code(run: Run, structures: Path, tmp_path: Path) -> None:
    path = tmp_path / "fitted.mtp"
    path.write_text("MTP\nversion = 1.1.0\npotential_name = MTP1m\n")
    unnamed = run("evaluate", path, structures)
    assert unnamed.code == 2
    assert "has types without names: say which elements they are" in unnamed.err
    cut = run("evaluate", path, structures, "--species", "Nb,Mo,Ta,W")
    assert cut.code == 2
    assert "fitted.mtp" in cut.err
    graded = run("grade", path, structures, "-o", tmp_path / "new.etn")
    assert graded.code == 2
    assert "fitted.mtp is an MTP potential (MLIP): expected a model file of etn_gpu" in graded.err


def test_a_model_in_place_of_a_checkpoint(run: Run, structures: Path, tmp_path: Path) -> None:
    model = shipped_models()[MODEL]
    finished = run("train", labelled(structures), "-o", tmp_path / "m.etn", "--preset", "small", "--resume", model)
    assert finished.code == 2
    assert "it is a model of etn_gpu; a model has no state of its training" in finished.err
    assert not (tmp_path / "m.etn").exists()


def labelled(structures: Path) -> Path:
    """The structures with labels that are good enough to begin with."""
    from ase.io import read

    frames = read(structures, ":")
    for number, atoms in enumerate(frames):
        atoms.info["REF_energy"] = -10.0 * len(atoms) - number
    path = structures.with_name("labelled.extxyz")
    write(path, frames)
    return path


@pytest.mark.parametrize("references", [{"Mo": "low"}, {"Mo": [1.0]}, [1.0], "Mo"], ids=str)
def test_odd_references_end_before_the_output_is_touched(
    references: Any, run: Run, structures: Path, tmp_path: Path
) -> None:
    with safe_open(shipped_models()[MODEL], framework="np") as opened:
        document = json.loads(opened.metadata()["etn_gpu"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    document.pop("checksum")
    document["metadata"]["formation_references"] = references
    (tmp_path / "odd.etn").write_bytes(file.pack(document, tensors))
    output = tmp_path / "results.csv"
    output.write_text("of an earlier run\n")
    finished = run("screen", tmp_path / "odd.etn", structures, "--output", output)
    assert finished.code == 2
    assert "odd.etn is no valid model: metadata.formation_references" in finished.err
    assert output.read_text() == "of an earlier run\n"


def test_huge_parameters_give_rows_that_say_so(run: Run, structures: Path, tmp_path: Path) -> None:
    model = etn_gpu.potential.load(MODEL)
    huge = {name: array * (1e150 if name.startswith("G") else 1.0) for name, array in model.parameters.items()}
    ETNPotential(model.architecture, huge, metadata=model.metadata).save(tmp_path / "huge.etn")
    finished = run("screen", tmp_path / "huge.etn", structures, "--output", tmp_path / "rows.csv")
    assert finished.code == 1
    with (tmp_path / "rows.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["status"] for row in rows] == ["failed"] * 3
    assert all("not a finite number" in row["message"] and not row["energy"] for row in rows)
