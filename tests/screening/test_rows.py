"""Rows: formation energy, pressure, text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.evaluation import Outcome, evaluate_each
from etn_gpu.screening.rows import COLUMNS, Row, formation_energy, make_row


def test_columns() -> None:
    assert COLUMNS == (
        "source",
        "index",
        "formula",
        "n_atoms",
        "energy",
        "energy_per_atom",
        "formation_energy",
        "max_force",
        "pressure",
        "extrapolation_grade",
        "status",
        "message",
    )


def test_formation_energy() -> None:
    assert formation_energy(-10.0, ["W", "W", "Mo"], {"W": -4.0, "Mo": -1.0}) == pytest.approx(-1.0 / 3.0)
    assert formation_energy(-10.0, ["W", "Ta"], {"W": -4.0}) is None


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
    fields = dict(zip(COLUMNS, row.as_fields(), strict=True))
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
    fields = dict(zip(COLUMNS, row.as_fields(), strict=True))
    assert fields["source"] == "./=a\\x0d\\udcff"
    assert fields["energy"] == "-3.2"
    assert fields["message"] == "'@sum(\\x1b)"
    assert row.source == "=a\r\udcff"
