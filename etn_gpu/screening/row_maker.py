"""Rows of structures that were evaluated, batch by batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.columns import Field
from etn_gpu.screening.enthalpies import FORMATION, PER_ATOM
from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.rows import Row
from etn_gpu.structures.geometry import cell_volumes
from etn_gpu.structures.units import GPA, pressure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["RowMaker"]

_NOTHING: Mapping[str, Field] = {}


class RowMaker:
    """Makes the rows of structures, batch by batch.

    Args:
        references: energy per atom [eV] of the pure elements; under pressure, enthalpy.
        stress: an external pressure [eV/A^3]. Rows have enthalpies then, and no formation energies.
    """

    def __init__(self, references: Mapping[str, float], stress: float = 0.0) -> None:
        from ase.data import chemical_symbols

        self._references = {z: references[symbol] for z, symbol in enumerate(chemical_symbols) if symbol in references}
        self._stress = stress
        self._compositions: dict[bytes, tuple[str | None, float | None]] = {}

    def __call__(
        self,
        candidates: Sequence[Candidate],
        outcomes: Sequence[Outcome],
        more: Sequence[Mapping[str, Field]] | None = None,
    ) -> list[Row]:
        """The rows of structures that were read, or not, and of what came of their evaluation; ``more`` are
        fields of further columns."""
        done = [outcome for outcome in outcomes if not outcome.failed]
        forces, pressures = _largest([outcome.forces for outcome in done]), _pressures(done)
        grades = _largest([outcome.grades for outcome in done if outcome.grades is not None])
        compositions = self._compositions_of([atoms for c in candidates if (atoms := c.atoms) is not None])
        volumes = _volumes(candidates, outcomes)
        rows = []
        for candidate, outcome, own in zip(candidates, outcomes, more or [_NOTHING] * len(candidates), strict=True):
            source, index, atoms = candidate.source, candidate.index, candidate.atoms
            message = candidate.error or outcome.message
            if message:
                # A message of several lines would be legal CSV, and would still break every line-based tool.
                message = " ".join(message.split())
            if atoms is None:
                rows.append(Row(source, index, message=message, more=own))
                continue
            formula, reference = next(compositions)
            n_atoms = len(atoms.arrays["numbers"])
            if outcome.failed:
                status = outcome.ended or "failed"
                rows.append(Row(source, index, formula, n_atoms, status=status, message=message, more=own))
                continue
            energy = outcome.energy
            volume = None if outcome.stress is None else next(volumes)
            if self._stress and volume is not None:
                own = {**own, **_enthalpies(energy + self._stress * volume, reference, n_atoms)}
            rows.append(
                Row(
                    source,
                    index,
                    formula,
                    n_atoms,
                    None if volume is None else volume / n_atoms,
                    outcome.closest_pair,
                    energy,
                    energy / n_atoms,
                    None if reference is None or self._stress else (energy - reference) / n_atoms,
                    None,
                    next(forces),
                    None if outcome.stress is None else next(pressures),
                    None if outcome.grades is None else next(grades),
                    outcome.ended or ("extrapolating" if outcome.extrapolating else "ok"),
                    message,
                    own,
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


def _enthalpies(enthalpy: float, reference: float | None, n_atoms: int) -> dict[str, Field]:
    """Those columns of a row that do not depend on others."""
    formation = None if reference is None else (enthalpy - reference) / n_atoms
    return {PER_ATOM: enthalpy / n_atoms, FORMATION: formation}


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


def _volumes(candidates: Sequence[Candidate], outcomes: Sequence[Outcome]) -> Iterator[float]:
    """The volumes of those structures that have a stress, in A^3."""
    cells = [
        candidate.atoms.cell.array
        for candidate, outcome in zip(candidates, outcomes, strict=True)
        if outcome.stress is not None and candidate.atoms is not None
    ]
    pbc = np.ones((len(cells), 3), dtype=bool)
    return iter(cell_volumes(np.array(cells), pbc).tolist() if cells else ())


def _pressures(outcomes: Sequence[Outcome]) -> Iterator[float]:
    """The pressures of those structures that have a stress, in GPa."""
    stresses = [outcome.stress for outcome in outcomes if outcome.stress is not None]
    return iter((pressure(np.array(stresses)) / GPA).tolist() if stresses else ())


def _formula(numbers: Sequence[int]) -> str | None:
    """Chemical formula in Hill order; None where a number of an atom is that of no element."""
    from ase.data import chemical_symbols

    try:
        counts = {chemical_symbols[z]: count for z, count in Counter(numbers).items()}
    except IndexError:
        return None
    first = [symbol for symbol in ("C", "H") if symbol in counts] if "C" in counts else []
    order = [*first, *sorted(counts.keys() - first)]
    return "".join(symbol if counts[symbol] == 1 else f"{symbol}{counts[symbol]}" for symbol in order)
