"""The row of a structure: what a screening run writes, one for each structure, in the order of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.text import as_cell
from etn_gpu.structures.units import GPA, pressure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["COLUMNS", "Row", "formation_energy", "make_row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results; None is an empty field.

    Attributes:
        source: file (or other source) the structure came from, exactly as it was given.
        index: position in its source, from 0; None when the source as a whole could not be read.
        formula: chemical formula in Hill order.
        n_atoms: number of atoms.
        energy: total energy [eV].
        energy_per_atom: [eV/atom].
        formation_energy: energy relative to the pure elements, see :func:`formation_energy` [eV/atom].
        max_force: largest norm of a force on one atom [eV/A].
        pressure: -trace(stress) / 3, positive under compression [GPa]; None unless periodic in all three directions.
        extrapolation_grade: the largest grade of an atom, 1 or less inside of what the training data span
            (:mod:`etn_gpu.potential.grade`); None from a model without grades.
        status: "ok"; "extrapolating" when the grade is above the threshold, or, for a model without grades, when a pair
            of atoms is closer than any in training; "failed" when nothing was computed.
        message: the reason for any status but "ok".
    """

    source: str
    index: int | None
    formula: str | None = None
    n_atoms: int | None = None
    energy: float | None = None
    energy_per_atom: float | None = None
    formation_energy: float | None = None
    max_force: float | None = None
    pressure: float | None = None
    extrapolation_grade: float | None = None
    status: Literal["ok", "extrapolating", "failed"] = "failed"
    message: str = ""

    @property
    def shown_source(self) -> str:
        """The source as it stands in files: what is not printable escaped (:mod:`etn_gpu.screening.text`), and ``./``
        before a name that a spreadsheet would take for a formula."""
        return as_cell(self.source, "./")

    def as_fields(self) -> list[str]:
        """The fields as text in the order of :data:`COLUMNS`; numbers with all their digits."""
        values = (getattr(self, column) for column in COLUMNS[1:])
        return [self.shown_source, *map(_as_field, values)]


def _as_field(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return as_cell(value)
    return repr(float(value)) if isinstance(value, float) else str(value)


COLUMNS = tuple(field.name for field in fields(Row))
"""Names of the columns, in order."""


def formation_energy(energy: float, symbols: list[str], references: Mapping[str, float]) -> float | None:
    """Formation energy per atom, (E - sum_i e(z_i)) / n with e(z) the energy per atom of the pure element z [eV/atom].

    None when `references` lacks an element of the structure.
    """
    if not references.keys() >= set(symbols):
        return None
    return (energy - math.fsum(references[symbol] for symbol in symbols)) / len(symbols)


def _formula(atoms: Atoms) -> str | None:
    """Chemical formula in Hill order; None where a number of an atom is that of no element."""
    try:
        return str(atoms.get_chemical_formula())
    except IndexError:
        return None


def make_row(candidate: Candidate, outcome: Outcome, references: Mapping[str, float]) -> Row:
    """The row of a structure that was read and of what came of its evaluation."""
    atoms = candidate.atoms
    # A message of several lines would be legal CSV, and would still break every line-based tool.
    message = " ".join((candidate.error or outcome.message).split())
    if atoms is None:
        return Row(candidate.source, candidate.index, message=message)
    formula, n_atoms = _formula(atoms), len(atoms)
    if outcome.failed:
        return Row(candidate.source, candidate.index, formula, n_atoms, message=message)
    return Row(
        source=candidate.source,
        index=candidate.index,
        formula=formula,
        n_atoms=n_atoms,
        energy=outcome.energy,
        energy_per_atom=outcome.energy / n_atoms,
        formation_energy=formation_energy(outcome.energy, atoms.get_chemical_symbols(), references),
        max_force=float(np.linalg.norm(outcome.forces, axis=1).max()),
        pressure=None if outcome.stress is None else float(pressure(outcome.stress) / GPA),
        extrapolation_grade=outcome.grade,
        status="extrapolating" if outcome.extrapolating else "ok",
        message=message,
    )
