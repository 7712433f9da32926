"""`etn-gpu select`: the file of chosen structures, the table, exit codes, and wrong use."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from etn_gpu.errors import DataError
from etn_gpu.selection import Selection, select
from etn_gpu.structures import read_labelled
from tests.conftest import Run
from tests.selection.conftest import Case, make_case

FAR = ("--largest-grade", 1e6)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A model with a grade, in the file model.etn, and a pool, in pool.extxyz."""
    case = make_case()
    case.model.save(tmp_path / "model.etn")
    write(tmp_path / "pool.extxyz", case.pool)
    return case


def frames(path: Path) -> Sequence[Atoms]:
    found: Any = read(path, ":", format="extxyz")
    return list(found)


def test_chosen_structures_are_written_in_order(case: Case, tmp_path: Path, run: Run) -> None:
    output = tmp_path / "chosen.extxyz"
    done = run("select", tmp_path / "model.etn", tmp_path / "pool.extxyz", "-o", output, "-n", 5, *FAR)
    assert done.code == 0, done.err
    pool = frames(tmp_path / "pool.extxyz")
    expected = select(case.model, pool, 5, largest_grade=1e6)
    for rank, (atoms, choice) in enumerate(zip(frames(output), expected, strict=True), start=1):
        assert atoms == pool[choice.index]
        assert atoms.info["select_rank"] == rank
        assert atoms.info["select_gain"] == pytest.approx(choice.gain)
        assert atoms.info["extrapolation_grade"] == pytest.approx(choice.grade)
        assert atoms.info["source"] == str(tmp_path / "pool.extxyz")
        assert atoms.info["source_index"] == choice.index
    assert "5 structures with 20 atoms chosen from 30" in done.out
    assert "in the order of the choice" in done.out
    assert f"structures: {output}" in done.out


def test_no_results_of_the_pool_become_labels(case: Case, tmp_path: Path, run: Run) -> None:
    """Those of a potential that ran the dynamics, for instance; what is named as a label of one's own stays."""
    for atoms in (labelled := [atoms.copy() for atoms in case.pool]):
        zeros = np.zeros((len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=zeros, stress=np.zeros(6))
        atoms.info["config_type"] = "hot"
    write(tmp_path / "pool.traj", labelled)
    output = tmp_path / "chosen.xyz.gz"
    done = run("select", tmp_path / "model.etn", tmp_path / "pool.traj", "-o", output, "-n", 3, *FAR)
    assert done.code == 0, done.err
    text = gzip.decompress(output.read_bytes()).decode()
    assert "energy" not in text
    assert "forces" not in text
    assert "stress" not in text
    with pytest.raises(DataError, match="no energy and no forces in any of 3 structures"):
        read_labelled(output).audit()
    assert all(atoms.calc is None for atoms in frames(output))
    assert "energy, forces, stress (left out)" in done.out


def test_a_choice_may_be_chosen_from_again(case: Case, tmp_path: Path, run: Run) -> None:
    first, second = tmp_path / "first.extxyz", tmp_path / "second.extxyz"
    assert run("select", tmp_path / "model.etn", tmp_path / "pool.extxyz", "-o", first, "-n", 9, *FAR).code == 0
    done = run("select", tmp_path / "model.etn", first, "-o", second, "-n", 4, *FAR)
    assert done.code == 0
    assert [atoms.info["select_rank"] for atoms in frames(second)] == [1, 2, 3, 4]
    assert [atoms.info["input_select_rank"] for atoms in frames(second)] == [1, 2, 3, 4]


def test_what_fails_and_what_is_skipped_is_counted(case: Case, tmp_path: Path, run: Run) -> None:
    overlapping = case.pool[0].copy()
    overlapping.positions[1] = overlapping.positions[0] + [0.3, 0.0, 0.0]
    write(tmp_path / "more.extxyz", [Atoms("Xe", cell=[5.0] * 3, pbc=True), overlapping])
    files = (tmp_path / "pool.extxyz", tmp_path / "more.extxyz")
    done = run("select", tmp_path / "model.etn", *files, "-o", tmp_path / "chosen.extxyz", *FAR)
    assert done.code == 1
    assert "more.extxyz [0]: " in done.out
    assert "Xe" in done.out
    assert "not chosen from: 1 with atoms closer than half of the closest pair" in done.out
    assert "not chosen from: 1 that failed" in done.out
    assert "(50 were asked for: no others tell enough)" in done.out
    assert len(frames(tmp_path / "chosen.extxyz")) <= 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--number", 0), "Invalid value for '--number'"),
        (("--threshold", 0.5), "must be 1 or more, got 0.5"),
        (
            ("--threshold", 1e9, "--largest-grade", 1e10),
            "nothing to choose among the 30 structures .* not above the thresh",
        ),
        (("--largest-grade", 0.5), "largest grade must be above the threshold, got 0.5 and 1"),
    ],
)
def test_wrong_options(case: Case, tmp_path: Path, run: Run, options: Sequence[object], message: str) -> None:
    output = tmp_path / "chosen.extxyz"
    done = run("select", tmp_path / "model.etn", tmp_path / "pool.extxyz", "-o", output, *options)
    assert done.code == 2
    assert re.search(message, " ".join(done.err.split())), done.err
    assert not output.exists()


def test_an_interrupt_leaves_nothing(case: Case, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Selection, batch: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Selection, "_see", interrupted)
    output = tmp_path / "chosen.extxyz"
    done = run("select", tmp_path / "model.etn", tmp_path / "pool.extxyz", "-o", output)
    assert done.code == 130
    assert "nothing was written" in done.out
    assert not output.exists()


def test_wrong_files(case: Case, tmp_path: Path, run: Run) -> None:
    model, pool, output = tmp_path / "model.etn", tmp_path / "pool.extxyz", tmp_path / "chosen.extxyz"
    case.model.with_grade(None).save(tmp_path / "none.etn")
    (tmp_path / "empty.extxyz").write_text("")
    write(tmp_path / "foreign.extxyz", [Atoms("Xe", cell=[5.0] * 3, pbc=True)] * 2)

    def failing(*arguments: object) -> str:
        before = pool.read_bytes()
        done = run("select", *arguments)
        assert done.code == 2
        assert pool.read_bytes() == before
        return " ".join(done.err.split())

    assert "`etn-gpu grade MODEL" in failing(tmp_path / "none.etn", pool, "-o", output)
    assert "empty" in failing(model, tmp_path / "empty.extxyz", "-o", output)
    assert "none of the 2 structures of the pool can be used" in failing(
        model, tmp_path / "foreign.extxyz", "-o", output
    )
    assert "it is the input file" in failing(model, pool, "-o", pool, "--overwrite")
    assert "it is the input file" in failing(model, pool, "-o", model, "--overwrite")
    assert "structures are written as extended XYZ" in failing(model, pool, "-o", tmp_path / "chosen.csv")
    assert not output.exists()
    output.write_text("mine")
    assert "--overwrite" in failing(model, pool, "-o", output, *FAR)
    assert output.read_text() == "mine"
    assert run("select", model, pool, "-o", output, "-n", 2, "--overwrite", *FAR).code == 0
    assert len(frames(output)) == 2
