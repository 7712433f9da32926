"""The row of a structure: what a screening run writes, one for each structure, in the order of the input."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.text import as_cell
from etn_gpu.structures.units import GPA, pressure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["COLUMNS", "Row", "RowMaker", "csv_line"]


@dataclass(slots=True)
class Row:
    """One line of the results; None is an empty field.

    Attributes:
        source: file (or other source) the structure came from, exactly as it was given.
        index: position in its source, from 0; None when the source as a whole could not be read.
        formula: chemical formula in Hill order.
        n_atoms: number of atoms.
        energy: total energy [eV].
        energy_per_atom: [eV/atom].
        formation_energy: energy per atom relative to the pure elements, (E - sum_i e(z_i)) / n with e(z) the energy per
            atom of the pure element z [eV/atom]; None without one of these.
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
        return _shown_source(self.source)

    def as_fields(self) -> list[str]:
        """The fields as text in the order of :data:`COLUMNS`; numbers with all their digits."""
        return [
            self.shown_source,
            "" if self.index is None else str(self.index),
            self.formula or "",
            "" if self.n_atoms is None else str(self.n_atoms),
            *["" if number is None else repr(float(number)) for number in _numbers(self)],
            self.status,
            as_cell(self.message) if self.message else "",
        ]


COLUMNS = tuple(field.name for field in fields(Row))
"""Names of the columns, in order."""
_numbers = attrgetter(*COLUMNS[4:10])


@lru_cache(maxsize=64)
def _shown_source(source: str) -> str:
    return as_cell(source, "./")


def csv_line(fields: Sequence[str]) -> str:
    """A record of a CSV file, of two fields or more, with quotes where they are needed."""
    line = ",".join(fields)
    if line.count(",") >= len(fields) or _NEEDS_QUOTES.search(line):
        line = ",".join([_quoted(field) if "," in field or _NEEDS_QUOTES.search(field) else field for field in fields])
    return line + "\n"


_NEEDS_QUOTES = re.compile(r'["\r\n]')


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


class RowMaker:
    """Makes the rows of structures, batch by batch.

    Args:
        references: energy per atom [eV] of the pure elements.
    """

    def __init__(self, references: Mapping[str, float]) -> None:
        from ase.data import chemical_symbols

        self._references = {z: references[symbol] for z, symbol in enumerate(chemical_symbols) if symbol in references}
        self._compositions: dict[bytes, tuple[str | None, float | None]] = {}

    def __call__(self, candidates: Sequence[Candidate], outcomes: Sequence[Outcome]) -> list[Row]:
        """The rows of structures that were read, or not, and of what came of their evaluation."""
        done = [outcome for outcome in outcomes if not outcome.failed]
        forces, pressures = _largest([outcome.forces for outcome in done]), _pressures(done)
        grades = _largest([outcome.grades for outcome in done if outcome.grades is not None])
        compositions = self._compositions_of([atoms for c in candidates if (atoms := c.atoms) is not None])
        rows = []
        for candidate, outcome in zip(candidates, outcomes, strict=True):
            source, index, atoms = candidate.source, candidate.index, candidate.atoms
            message = candidate.error or outcome.message
            if message:
                # A message of several lines would be legal CSV, and would still break every line-based tool.
                message = " ".join(message.split())
            if atoms is None:
                rows.append(Row(source, index, message=message))
                continue
            formula, reference = next(compositions)
            n_atoms = len(atoms.arrays["numbers"])
            if outcome.failed:
                rows.append(Row(source, index, formula, n_atoms, message=message))
                continue
            energy = outcome.energy
            rows.append(
                Row(
                    source,
                    index,
                    formula,
                    n_atoms,
                    energy,
                    energy / n_atoms,
                    None if reference is None else (energy - reference) / n_atoms,
                    next(forces),
                    None if outcome.stress is None else next(pressures),
                    None if outcome.grades is None else next(grades),
                    "extrapolating" if outcome.extrapolating else "ok",
                    message,
                )
            )
        return rows

    def _compositions_of(self, structures: Sequence[Atoms]) -> Iterator[tuple[str | None, float | None]]:
        """The formula, and the energy of the pure elements together; None where there are none."""
        if not structures:
            return
        known = self._compositions
        sizes = [len(atoms.arrays["numbers"]) for atoms in structures]
        numbers = np.concatenate([atoms.arrays["numbers"] for atoms in structures])
        # Sorted inside of each structure: one key for each composition.
        numbers = numbers[np.lexsort((numbers, np.repeat(np.arange(len(sizes)), sizes)))]
        first = 0
        for size in sizes:
            of_one = numbers[first : first + size]
            first += size
            found = known.get(key := of_one.tobytes())
            if found is None:
                if len(known) >= _MOST_COMPOSITIONS:
                    known.clear()
                each = of_one.tolist()
                found = known[key] = _formula(each), self._energy_of_elements(each)
            yield found

    def _energy_of_elements(self, numbers: Sequence[int]) -> float | None:
        known = self._references
        return math.fsum(known[z] for z in numbers) if known.keys() >= set(numbers) else None


#: More different compositions than these are not remembered.
_MOST_COMPOSITIONS = 10_000


def _largest(arrays: Sequence[NDArray[np.float64]]) -> Iterator[float]:
    """The largest number of each array, or the largest norm of its rows; none is empty."""
    if not arrays:
        return iter(())
    numbers = np.concatenate(arrays)
    if numbers.ndim > 1:
        numbers = np.linalg.norm(numbers, axis=1)
    return iter(np.maximum.reduceat(numbers, np.cumsum([0, *map(len, arrays[:-1])])).tolist())


def _pressures(outcomes: Sequence[Outcome]) -> Iterator[float]:
    """The pressures of those structures that have a stress, in GPa."""
    stresses = [outcome.stress for outcome in outcomes if outcome.stress is not None]
    return iter((pressure(np.array(stresses)) / GPA).tolist() if stresses else ())


def _formula(numbers: Sequence[int]) -> str | None:
    """Chemical formula in Hill order; None where a number of an atom is that of no element."""
    from ase.data import chemical_symbols

    try:
        counts = Counter(chemical_symbols[z] for z in numbers)
    except IndexError:
        return None
    first = [symbol for symbol in ("C", "H") if symbol in counts] if "C" in counts else []
    order = [*first, *sorted(counts.keys() - first)]
    return "".join(symbol if counts[symbol] == 1 else f"{symbol}{counts[symbol]}" for symbol in order)
