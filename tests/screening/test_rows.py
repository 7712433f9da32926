"""Rows: formation energy, pressure, text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.columns import Field, Kind, ResultColumn
from etn_gpu.screening.evaluation import Outcome, evaluate_each
from etn_gpu.screening.row_maker import RowMaker
from etn_gpu.screening.rows import COLUMNS, Row, csv_line, csv_lines, row_of
from etn_gpu.structures.geometry import cell_volumes
from etn_gpu.structures.units import GPA, pressure

NAMES = tuple(column.name for column in COLUMNS)


def fields_of(row: Row) -> list[str]:
    """As a reader of CSV finds them."""
    (fields,) = csv.reader(csv_lines([row]))
    return fields


def make_row(candidate: Candidate, outcome: Outcome, references: Mapping[str, float]) -> Row:
    (row,) = RowMaker(references)([candidate], [outcome])
    return row


def test_columns() -> None:
    assert NAMES == (
        "source",
        "index",
        "formula",
        "n_atoms",
        "volume_per_atom",
        "closest_pair",
        "energy",
        "energy_per_atom",
        "formation_energy",
        "energy_above_hull",
        "max_force",
        "pressure",
        "extrapolation_grade",
        "status",
        "message",
    )


def test_formation_energy() -> None:
    def formation_energy(symbols: str, references: dict[str, float]) -> float | None:
        atoms = Atoms(symbols, positions=np.zeros((len(Atoms(symbols)), 3)))
        outcome = Outcome(energy=-10.0, forces=np.zeros((len(atoms), 3)))
        return make_row(Candidate("f", 0, atoms), outcome, references).formation_energy

    assert formation_energy("W2Mo", {"W": -4.0, "Mo": -1.0}) == pytest.approx(-1.0 / 3.0)
    assert formation_energy("WTa", {"W": -4.0}) is None


def one_by_one(candidate: Candidate, outcome: Outcome, references: Mapping[str, float]) -> Row:
    """A row by itself, as ASE and NumPy have its parts."""
    atoms = candidate.atoms
    message = " ".join((candidate.error or outcome.message).split())
    if atoms is None:
        return Row(candidate.source, candidate.index, message=message)
    formula, n_atoms, symbols = str(atoms.get_chemical_formula()), len(atoms), atoms.get_chemical_symbols()
    if outcome.failed:
        return Row(candidate.source, candidate.index, formula, n_atoms, message=message)
    known, periodic = references.keys() >= set(symbols), np.ones((1, 3), dtype=bool)
    return Row(
        candidate.source,
        candidate.index,
        formula,
        n_atoms,
        None if outcome.stress is None else float(cell_volumes(atoms.cell.array[None], periodic)[0]) / n_atoms,
        outcome.closest_pair,
        outcome.energy,
        outcome.energy / n_atoms,
        (outcome.energy - math.fsum(references[s] for s in symbols)) / n_atoms if known else None,
        None,
        float(np.linalg.norm(outcome.forces, axis=1).max()),
        None if outcome.stress is None else float(pressure(outcome.stress) / GPA),
        outcome.grade,
        "extrapolating" if outcome.extrapolating else "ok",
        message,
    )


@pytest.mark.parametrize("graded", [True, False])
def test_rows_of_a_batch_are_those_of_its_structures_bit_for_bit(graded: bool) -> None:
    rng = np.random.default_rng(1)
    references = {"W": -12.9567, "Mo": -10.93, "Nb": -10.1, "Cu": 1.0}
    candidates: list[Candidate] = []
    outcomes: list[Outcome] = []
    for index in range(60):
        symbols = rng.choice(["W", "Mo", "Nb", "Ta"] if index % 5 == 0 else ["W", "Mo", "Nb"], rng.integers(1, 9))
        atoms = Atoms(symbols.tolist(), positions=rng.normal(size=(len(symbols), 3)))
        atoms.cell = rng.normal(size=(3, 3))
        kind = index % 7
        candidates.append(
            Candidate("a.xyz", index, None, "line 1:\n bad") if kind == 3 else Candidate("b", index, atoms)
        )
        if kind in (3, 5):
            outcomes.append(Outcome(failed=True, message="no\n luck"))
            continue
        grades = rng.random(len(atoms)) if graded else None
        stress = rng.normal(size=6) if kind % 2 else None
        outcomes.append(
            Outcome(rng.normal(), rng.normal(size=(len(atoms), 3)), stress, np.ones(len(atoms)), grades, kind == 1)
        )
    expected = [one_by_one(c, o, references) for c, o in zip(candidates, outcomes, strict=True)]
    make_rows = RowMaker(references)
    assert make_rows(candidates, outcomes) == expected
    assert make_rows(candidates, outcomes) == expected
    assert make_rows([], []) == []


@given(st.lists(st.text(alphabet="a,\"\n; \t'\\"), min_size=2, max_size=4))
def test_lines_are_those_of_a_csv_writer(fields: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    assert csv_line(fields) == text.getvalue()


def test_row_of_an_evaluated_structure(model: Any) -> None:
    atoms = Atoms("MoW", positions=[[0.0] * 3, [1.5, 1.6, 1.6]], cell=[3.2] * 3, pbc=True)
    [outcome] = evaluate_each(model, [atoms])
    row = make_row(Candidate("file.xyz", 7, atoms), outcome, model.metadata["formation_references"])
    assert (row.source, row.index, row.formula, row.n_atoms, row.status) == ("file.xyz", 7, "MoW", 2, "ok")
    assert row.energy_per_atom == pytest.approx(outcome.energy / 2.0)
    assert row.formation_energy == pytest.approx((outcome.energy + 5.0) / 2.0)
    assert row.max_force == pytest.approx(np.sqrt(np.square(outcome.forces).sum(axis=1)).max())


def test_pressure_is_minus_the_slope_of_the_energy(model: Any) -> None:
    def energy(strain: float) -> float:
        atoms = Atoms("W2", positions=[[0.0] * 3, [1.45] * 3], cell=[2.9] * 3, pbc=True)
        atoms.set_cell(atoms.cell * (1.0 + strain), scale_atoms=True)
        return evaluate_each(model, [atoms])[0].energy

    squeezed = Atoms("W2", positions=[[0.0] * 3, [1.45] * 3], cell=[2.9] * 3, pbc=True)
    row = make_row(Candidate("f", 0, squeezed), evaluate_each(model, [squeezed])[0], {})
    slope = (energy(1e-5) - energy(-1e-5)) / 2e-5 / (3.0 * squeezed.get_volume())
    assert row.pressure == pytest.approx(-slope * 160.21766208, rel=1e-6)
    assert row.pressure is not None
    assert row.pressure > 0.0


def test_cluster_has_no_pressure(model: Any) -> None:
    atoms = Atoms("W2", positions=[[0.0] * 3, [2.5, 0.0, 0.0]])
    assert make_row(Candidate("f", 0, atoms), evaluate_each(model, [atoms])[0], {}).pressure is None


def test_failed_rows_keep_what_is_known() -> None:
    unread = make_row(Candidate("f", 3, None, "line 7:\n  not a number"), Outcome(failed=True), {})
    assert unread == Row("f", 3, status="failed", message="line 7: not a number")
    read = make_row(Candidate("f", 4, Atoms("CuW")), Outcome(failed=True, message="no Cu"), {})
    assert (read.formula, read.n_atoms, read.energy, read.status, read.message) == ("CuW", 2, None, "failed", "no Cu")


def test_fields_read_back_exactly() -> None:
    row = Row("a", 0, "W", 1, energy=-0.1 - 0.2, energy_per_atom=float(np.float64(1.0) / 3.0), status="ok")
    fields = dict(zip(NAMES, fields_of(row), strict=True))
    assert float(fields["energy"]) == row.energy
    assert float(fields["energy_per_atom"]) == row.energy_per_atom
    assert fields["pressure"] == ""


@pytest.mark.parametrize("number", [119, 1000])
def test_a_number_of_no_element_is_a_failed_row(model: Any, number: int) -> None:
    atoms = Atoms(numbers=[number, 74], positions=np.eye(3)[:2])
    [outcome] = evaluate_each(model, [atoms])
    row = make_row(Candidate("f", 0, atoms), outcome, {})
    assert (row.formula, row.n_atoms, row.status) == (None, 2, "failed")
    assert row.message


def test_text_in_fields_is_escaped_and_numbers_are_not() -> None:
    row = Row("=a\r\udcff", 0, "W", 1, energy=-3.2, message="@sum(\x1b)", status="ok")
    fields = dict(zip(NAMES, fields_of(row), strict=True))
    assert fields["source"] == "./=a\\x0d\\udcff"
    assert fields["energy"] == "-3.2"
    assert fields["message"] == "'@sum(\\x1b)"
    assert row.source == "=a\r\udcff"


def test_rows_come_back_from_their_fields() -> None:
    kept: dict[str, Field] = {"my id": "0012", "count": 3, "flag": True, "x": 0.1, "none": None}
    kinds = [Kind.text, Kind.integer, Kind.flag, Kind.number, Kind.text]
    columns = [ResultColumn(name, kind) for name, kind in zip(kept, kinds, strict=True)]
    row = Row("=a\r", 2, "W", 1, 15.5, None, -0.1 - 0.2, status="ok", message='\'=1, "b"', more=kept)
    assert row_of(fields_of(row), columns) == row
    unread = Row("a", None, message="no such file", more=dict.fromkeys(kept))
    assert row_of(fields_of(unread), columns) == unread
    with pytest.raises(ValueError, match=r"argument 2 is longer|shorter"):
        row_of(fields_of(row)[:-1], columns)


def test_volume_and_closest_pair(model: Any) -> None:
    crystal = Atoms("MoW", positions=[[0.0] * 3, [1.5, 1.6, 1.6]], cell=[3.2] * 3, pbc=True)
    far = Atoms("W2", positions=[[0.0] * 3, [50.0, 0.0, 0.0]])
    first, second = evaluate_each(model, [crystal, far])
    row = make_row(Candidate("f", 0, crystal), first, {})
    assert row.volume_per_atom == pytest.approx(3.2**3 / 2)
    assert row.closest_pair == pytest.approx(np.linalg.norm([1.5, 1.6, 1.6]))
    alone = make_row(Candidate("f", 1, far), second, {})
    assert (alone.volume_per_atom, alone.closest_pair) == (None, None)
