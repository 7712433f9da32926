"""The row of a structure, what a screening run writes one of for each, and its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal

from etn_gpu.screening.columns import Field, Kind, ResultColumn
from etn_gpu.screening.fields import cell
from etn_gpu.screening.number_text import optional_lines
from etn_gpu.screening.text import as_cell, from_cell

__all__ = ["COLUMNS", "Row", "Status", "as_field", "csv_line", "csv_lines", "from_field", "row_of"]


Status = Literal["ok", "extrapolating", "not converged", "exploded", "failed"]


@dataclass(slots=True)
class Row:
    """One line of the results; None is an empty field.

    Attributes:
        source: file (or other source) the structure came from, exactly as it was given.
        index: position in its source, from 0; None when the source as a whole could not be read.
        formula: chemical formula in Hill order.
        n_atoms: number of atoms.
        volume_per_atom: [A^3/atom]; None unless periodic in all three directions.
        closest_pair: distance of the two closest atoms, images included [A]; None beyond the cutoff of the model.
        energy: total energy [eV].
        energy_per_atom: [eV/atom].
        formation_energy: energy per atom relative to the pure elements, (E - sum_i e(z_i)) / n with e(z) the energy per
            atom of the pure element z [eV/atom]; None without one of these.
        energy_above_hull: energy above the convex hull, see :mod:`etn_gpu.screening.hulls` [eV/atom]; None until all
            rows are there, and without phases that could be mixed to the same composition.
        max_force: largest norm of a force on one atom [eV/A].
        pressure: -trace(stress) / 3, positive under compression [GPa]; None unless periodic in all three directions.
        extrapolation_grade: the largest grade of an atom, 1 or less inside of what the training data span
            (:mod:`etn_gpu.potential.grade`); None from a model without grades.
        status: "ok"; "extrapolating" when the grade is above the threshold, or, for a model without grades, when a pair
            of atoms is closer than any in training; "not converged" and "exploded" of a relaxation
            (:mod:`etn_gpu.relaxation`); "failed" when nothing was computed.
        message: the reason for any status but "ok".
        more: fields of further columns that the run has, by their names: of relaxations
            (:mod:`etn_gpu.screening.relaxing`), and entries of `info` that are kept (:mod:`etn_gpu.screening.kept`).
        structure: what duplicates are found by (:mod:`etn_gpu.screening.packed`), until all rows are there.
    """

    source: str
    index: int | None
    formula: str | None = None
    n_atoms: int | None = None
    volume_per_atom: float | None = None
    closest_pair: float | None = None
    energy: float | None = None
    energy_per_atom: float | None = None
    formation_energy: float | None = None
    energy_above_hull: float | None = None
    max_force: float | None = None
    pressure: float | None = None
    extrapolation_grade: float | None = None
    status: Status = "failed"
    message: str = ""
    more: Mapping[str, Field] = field(default_factory=dict)
    structure: str = field(default="", repr=False)

    @property
    def shown_source(self) -> str:
        """The source as it stands in files: what is not printable escaped (:mod:`etn_gpu.screening.text`), and ``./``
        before a name that a spreadsheet would take for a formula."""
        return _shown_source(self.source)

    def values(self) -> tuple[Field, ...]:
        """The fields in the order of :data:`COLUMNS`, and those of further columns."""
        return (*_own(self), *self.more.values())

    def __reduce__(self) -> tuple[Any, ...]:
        """Rows of other processes come by the thousand; field by field takes twice as long."""
        return Row, (*_own(self), self.more)

    def named(self) -> dict[str, Field]:
        """The fields by the names of their columns."""
        return dict(zip(_NAMES, _own(self), strict=True)) | dict(self.more)


#: The columns that every row has, in order.
COLUMNS = (
    ResultColumn("source", Kind.text),
    ResultColumn("index", Kind.integer),
    ResultColumn("formula", Kind.text),
    ResultColumn("n_atoms", Kind.integer),
    ResultColumn("volume_per_atom", Kind.number, "A^3/atom"),
    ResultColumn("closest_pair", Kind.number, "A"),
    ResultColumn("energy", Kind.number, "eV"),
    ResultColumn("energy_per_atom", Kind.number, "eV/atom"),
    ResultColumn("formation_energy", Kind.number, "eV/atom"),
    ResultColumn("energy_above_hull", Kind.number, "eV/atom"),
    ResultColumn("max_force", Kind.number, "eV/A"),
    ResultColumn("pressure", Kind.number, "GPa"),
    ResultColumn("extrapolation_grade", Kind.number),
    ResultColumn("status", Kind.text),
    ResultColumn("message", Kind.text),
)
_NAMES = tuple(column.name for column in COLUMNS)
_own = attrgetter(*_NAMES)
_numbers = attrgetter(*_NAMES[4:-2])
#: What keeps the name of a file from being taken for a formula, and still the name of that file.
_FILE = "./"


@lru_cache(maxsize=64)
def _shown_source(source: str) -> str:
    return as_cell(source, _FILE)


def csv_lines(rows: Sequence[Row]) -> list[str]:
    """The record of each row in a CSV file; numbers with all their digits."""
    lines = []
    for row, numbers in zip(rows, optional_lines([_numbers(row) for row in rows], ","), strict=True):
        index = "" if row.index is None else row.index
        n_atoms = "" if row.n_atoms is None else row.n_atoms
        message = cell(as_cell(row.message)) if row.message else ""
        more = "".join([f",{cell(as_field(value))}" for value in row.more.values()]) if row.more else ""
        lines.append(
            f"{_source_cell(row.source)},{index},{row.formula or ''},{n_atoms},{numbers},{row.status},{message}{more}\n"
        )
    return lines


def as_field(value: Field) -> str:
    """A value as the text of a field."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    return as_cell(value) if isinstance(value, str) else str(value)


def csv_line(fields: Sequence[str]) -> str:
    """A record of a CSV file, of two fields or more."""
    return ",".join(map(cell, fields)) + "\n"


@lru_cache(maxsize=64)
def _source_cell(source: str) -> str:
    return cell(_shown_source(source))


def row_of(fields: Sequence[str], more: Sequence[ResultColumn] = ()) -> Row:
    """The row whose fields these are, where ``more`` are further columns.

    Raises:
        ValueError: they are the fields of no row.
    """
    known = len(COLUMNS)
    values: dict[str, Any] = {
        column.name: from_field(text, column.kind) for column, text in zip(COLUMNS, fields[:known], strict=True)
    }
    values["source"] = from_cell(fields[0], _FILE)
    values["message"] = values["message"] or ""
    return Row(**values, more={c.name: from_field(text, c.kind) for c, text in zip(more, fields[known:], strict=True)})


def from_field(text: str, kind: Kind) -> Field:
    """The value of a field of a column of this kind.

    Raises:
        ValueError: it is none.
    """
    if not text:
        return None
    if kind is Kind.text:
        return from_cell(text)
    if kind is Kind.flag:
        return {"True": True, "False": False}[text]
    return int(text) if kind is Kind.integer else float(text)
