"""Output files: refused when they would do harm, valid after every batch."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from etn_gpu.errors import DataError
from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.evaluation import Outcome, evaluate_each
from etn_gpu.screening.frames import FrameWriter
from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.row_maker import RowMaker
from etn_gpu.screening.rows import COLUMNS, Row, csv_lines
from etn_gpu.screening.writing import ResultWriter, check_outputs


def test_outputs_that_are_fine(tmp_path: Path) -> None:
    check_outputs(tmp_path / "out.csv", tmp_path / "out.extxyz.gz", None, [tmp_path / "in.xyz"])


def test_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder .*missing does not exist; create it first"):
        check_outputs(tmp_path / "missing" / "out.csv", None, None, [])


def test_output_must_be_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is a folder"):
        check_outputs(tmp_path, None, None, [])


def test_inputs_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match=r"it is the input file .*a\.xyz; choose another name"):
        check_outputs(tmp_path / "out.csv", tmp_path / "x" / ".." / "a.xyz", None, [tmp_path / "a.xyz"])


def test_outputs_must_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it is the output .*a\.xyz already"):
        check_outputs(tmp_path / "a.xyz", tmp_path / "a.xyz", None, [])


def test_structures_are_extended_xyz(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"out\.traj must end in one of \.extxyz"):
        check_outputs(tmp_path / "out.csv", tmp_path / "out.traj", None, [])


def test_rows_are_on_disk_after_each_batch(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("what was here before\n" * 100)
    with pytest.raises(DataError, match=r"out\.csv exists already"), ResultWriter(path):
        pytest.fail("it must not be opened")
    awkward = Row('a,"b"\u00e9.xyz', 1, message="x, y")
    with ResultWriter(path, overwrite=True) as writer:
        [part] = writer.places()
        assert part.read_text() == ",".join(column.name for column in COLUMNS) + "\n"
        writer.write(csv_lines([awkward]), None)
        writer.write(csv_lines([awkward]), None)
        with part.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert rows[0]["source"] == awkward.source
    assert rows[1]["message"] == "x, y"


def test_unwritable_file(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"cannot write .*gone/out\.csv: No such file"),
        ResultWriter(tmp_path / "gone" / "out.csv"),
    ):
        pytest.fail("the file cannot be opened")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full, which Linux has")
def test_full_disk_is_a_clear_error() -> None:
    with pytest.raises(DataError, match="No space left on device"), ResultWriter(Path("/dev/full")) as writer:
        writer.write(csv_lines([Row("a", 0)]), None)


def written(path: Path, model: Any, structures: list[Atoms]) -> list[Outcome]:
    outcomes = evaluate_each(model, structures)
    rows = RowMaker({})([Candidate("in [1].xyz", i, atoms) for i, atoms in enumerate(structures)], outcomes)
    with ResultWriter(path.with_suffix(".csv"), path) as writer:
        for row, atoms, outcome in zip(rows, structures, outcomes, strict=True):
            writer.write(csv_lines([row]), FrameWriter().texts([row], [atoms], [outcome]))
        writer.finish({}, RunHull({}), [])
    return outcomes


@pytest.mark.parametrize("name", ["out.extxyz", "out.xyz.gz"])
def test_structures_carry_their_results(tmp_path: Path, model: Any, name: str) -> None:
    crystal = Atoms("MoW", positions=[[0.0] * 3, [1.5, 1.6, 1.6]], cell=[3.2] * 3, pbc=True, info={"tag": "kept"})
    crystal.new_array("REF_forces", np.ones((2, 3)))
    cluster = Atoms("W3", positions=np.eye(3) * 2.5)
    outcomes = written(tmp_path / name, model, [crystal, Atoms("Cu"), cluster])
    first, last = read(tmp_path / name, ":", format="extxyz")
    assert first.get_potential_energy() == pytest.approx(outcomes[0].energy, abs=1e-8)
    np.testing.assert_allclose(first.get_forces(), outcomes[0].forces, atol=1e-8)
    assert outcomes[0].stress is not None
    np.testing.assert_allclose(first.get_stress(), outcomes[0].stress, atol=1e-8)
    assert first.info["tag"] == "kept"
    assert (first.info["source"], first.info["source_index"], first.info["status"]) == ("in [1].xyz", 0, "ok")
    np.testing.assert_array_equal(first.arrays["REF_forces"], np.ones((2, 3)))
    assert last.info["source_index"] == 2
    assert last.get_potential_energy() == pytest.approx(outcomes[2].energy, abs=1e-8)
    assert "stress" not in last.calc.results


def test_results_of_the_input_are_replaced(tmp_path: Path, model: Any) -> None:
    atoms = Atoms(
        "W2", positions=[[0.0] * 3, [1.6] * 3], cell=[3.2] * 3, pbc=True, info={"energy": 1.0, "stress": np.ones(9)}
    )
    atoms.new_array("forces", np.ones((2, 3)))
    atoms.calc = SinglePointCalculator(atoms, energy=5.0, forces=np.ones((2, 3)), magmoms=np.ones(2))
    [outcome] = written(tmp_path / "out.extxyz", model, [atoms])
    [found] = read(tmp_path / "out.extxyz", ":")
    assert found.get_potential_energy() == pytest.approx(outcome.energy, abs=1e-8)
    np.testing.assert_allclose(found.get_forces(), outcome.forces, atol=1e-8)
    assert atoms.info["energy"] == 1.0


def test_what_cannot_be_written_does_not_cost_the_results(tmp_path: Path, model: Any) -> None:
    atoms = Atoms("W2", positions=[[0.0] * 3, [1.6] * 3], cell=[3.2] * 3, pbc=True)
    atoms.new_array("odd", np.empty((2, 2, 2), dtype=complex))
    [outcome] = written(tmp_path / "out.extxyz", model, [atoms])
    [found] = read(tmp_path / "out.extxyz", ":")
    assert found.get_potential_energy() == pytest.approx(outcome.energy, abs=1e-8)
    assert "odd" not in found.arrays


def test_compressed_structures_are_text(tmp_path: Path, model: Any) -> None:
    written(tmp_path / "out.extxyz.gz", model, [Atoms("W")])
    with gzip.open(tmp_path / "out.extxyz.gz", "rt") as file:
        assert file.readline() == "1\n"
