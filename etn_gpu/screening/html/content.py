"""What a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.screening.html.units import Quantity, quantity

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.screening.hull import EnergyHull

__all__ = ["Array", "BestStructure", "Numbers", "ReportContent"]

Array = NDArray[np.float64]
#: A column of numbers; NaN and None are empty fields, a column without fields is one that the run did not have.
Numbers = Sequence[float | None] | Sequence[int | None] | NDArray[Any]

_COLUMNS = (
    "n_atoms",
    "energy_per_atom",
    "formation_energy",
    "energy_above_hull",
    "max_force",
    "pressure",
    "volume_per_atom",
    "extrapolation_grade",
    "status",
    "message",
)
#: What is that of enthalpies in a run under pressure.
_COMPARED = ("formation_energy", "energy_above_hull")
#: Larger numbers are shown at the end of an axis anyway, and their differences would overflow.
_LARGEST = 1e30


@dataclass(frozen=True)
class BestStructure:
    """One of the structures at the head of the ranking.

    Attributes:
        values: what the table has of it, by name of the column: text, numbers, None.
        atoms: the structure, to be drawn; None where it is not at hand.
    """

    values: Mapping[str, Any]
    atoms: Atoms | None = None


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All of a report. Text may come from anywhere: it is escaped where it is shown.

    The columns, from `formulas` to `message`, have one field for each structure, in the same order. They may be those
    of a part of the structures; `counts` are those of all.

    Attributes:
        model: name or file of the model.
        version: version of the program.
        date: when the run was, as it is to be shown.
        species: chemical symbols that the model knows.
        order: the number of tensor factors of the model, its correlation order.
        cutoff: [A].
        inputs: names of what was read.
        options: what was asked for, by name.
        references: a line on what formation energies are relative to.
        notes: other lines on the run.
        counts: how many structures have which status.
        formulas: chemical formulas like ``Mo3W``.
        n_atoms: numbers of atoms.
        energy_per_atom: [eV/atom].
        formation_energy: [eV/atom].
        energy_above_hull: [eV/atom].
        max_force: [eV/A].
        pressure: [GPa].
        volume_per_atom: [A^3/atom].
        extrapolation_grade: the largest of the atoms of a structure.
        status: "ok", "extrapolating", "failed" or another word.
        message: the reason for the status.
        hull: the hull that `energy_above_hull` refers to.
        grade_threshold: the grade above which a structure is extrapolating.
        enthalpies: whether formation energies, energies above the hull and the hull are those of enthalpies.
        best: the structures at the head of the ranking, best first.
        ranked_by: what the ranking sorts by.
        seconds: wall time without compilation.
        compilation: seconds of compilation.

    Raises:
        DataError: columns differ in length.
    """

    model: str
    version: str
    date: str = ""
    species: Sequence[str] = ()
    order: int | None = None
    cutoff: float | None = None
    inputs: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    references: str = ""
    notes: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    formulas: Sequence[str | None] = ()
    n_atoms: Numbers = ()
    energy_per_atom: Numbers = ()
    formation_energy: Numbers = ()
    energy_above_hull: Numbers = ()
    max_force: Numbers = ()
    pressure: Numbers = ()
    volume_per_atom: Numbers = ()
    extrapolation_grade: Numbers = ()
    status: Sequence[str] = ()
    message: Sequence[str] = ()
    hull: EnergyHull | None = None
    grade_threshold: float | None = None
    enthalpies: bool = False
    best: Sequence[BestStructure] = ()
    ranked_by: str = ""
    seconds: float | None = None
    compilation: float | None = None

    def __post_init__(self) -> None:
        for name in _COLUMNS:
            if (length := len(getattr(self, name))) not in (0, self.n_rows):
                raise DataError(
                    f"the column {name} of a report has {length} fields, the column formulas {self.n_rows}: "
                    "give a field for each structure, None where it is empty, or no column"
                )

    @property
    def n_rows(self) -> int:
        """Structures that the columns have."""
        return len(self.formulas)

    def quantity(self, name: str) -> Quantity:
        """What a column is called, and its unit."""
        found = quantity(name)
        if self.enthalpies and name in _COMPARED:
            return replace(found, label=found.label.replace("energy", "enthalpy"))
        return found

    @property
    def n_structures(self) -> int:
        """Structures of the run."""
        return sum(self.counts.values())

    def numbers(self, name: str) -> Array:
        """A column as numbers, within the bounds of what can be drawn; NaN for what is empty or infinite."""
        column = getattr(self, name)
        if not len(column):
            return np.full(self.n_rows, np.nan)
        values = np.array(column, dtype=np.float64)
        return np.clip(np.where(np.isfinite(values), values, np.nan), -_LARGEST, _LARGEST)

    def texts(self, name: str) -> Sequence[str]:
        """A column of text; empty text where the run did not have it."""
        column: Sequence[str] = getattr(self, name)
        return column if len(column) else [""] * self.n_rows
