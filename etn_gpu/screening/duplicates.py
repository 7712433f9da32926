"""Rows that are one structure: the best is kept, the others name it in the column ``duplicate_of``.

A row is a duplicate of one that is kept when both have the same composition, energies per atom (under pressure,
enthalpies) within 1 meV, volumes per atom within 1 % and average distances to neighbours of each element within the
tolerance (:mod:`.site_distances`), and a map that takes one structure to the other (:mod:`.isometry`), positions within
the tolerance. Rows with the status "ok" are kept before others, then those with the lowest energy, to 1e-6 eV/atom,
then those that come first. So all that is stated holds between a duplicate and the row that it names, and nothing
depends on how the rows were made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import floor, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.checks import is_number
from etn_gpu.errors import DataError
from etn_gpu.screening.columns import Kind, ResultColumn
from etn_gpu.screening.composition import composition, reduced_composition
from etn_gpu.screening.isometry import Surroundings, same
from etn_gpu.screening.packed import periodic, unpacked
from etn_gpu.screening.ranking import DUPLICATE_OF
from etn_gpu.screening.site_distances import site_distances

__all__ = ["COLUMN", "Duplicates", "check_tolerance"]

COLUMN = ResultColumn(DUPLICATE_OF, Kind.text)

#: By how much energies per atom may differ, in eV, and volumes per atom, over themselves.
ENERGY, VOLUME = 1e-3, 0.01
#: Energies per atom that differ by less are equal where one row is to be kept, in eV.
_EQUAL = 1e-6
#: Structures whose neighbours are looked for at once, and of how many they are remembered.
_AT_ONCE, _REMEMBERED = 64, 512


def check_tolerance(tolerance: float) -> float:
    """The tolerance in A, if it is one.

    Raises:
        DataError: it is none.
    """
    if not is_number(tolerance) or not 1e-3 <= tolerance <= 0.2:
        raise DataError(f"unique = {tolerance!r}: expected a tolerance in A from 0.001 to 0.2, such as 0.02")
    return float(tolerance)


class _Seen(NamedTuple):
    """A row: what sorts it, what must be equal, and its numbers."""

    number: int
    ok: bool
    key: tuple[object, ...]
    energy: float
    volume: float | None
    text: str


class Duplicates:
    """Sees all rows once, and knows then which of them are duplicates; memory is that of their structures.

    Args:
        tolerance: in A.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._seen: list[_Seen] = []

    def see(self, number: int, ok: bool, formula: str, energy: float, volume: float | None, text: str) -> None:
        """A row with an energy.

        Args:
            number: of the row.
            ok: whether its status is "ok".
            formula: in Hill order.
            energy: per atom in eV.
            volume: per atom in A^3, None where there is none.
            text: its structure (:func:`~etn_gpu.screening.packed.packed`).
        """
        axes = periodic(text).bit_count()
        counts = reduced_composition(formula) if axes else tuple(composition(formula).items())
        self._seen.append(_Seen(number, ok, (axes, counts), energy, volume, text))

    def found(self) -> dict[int, int]:
        """For each duplicate, by the number of its row, the number of the row that is kept."""
        groups: dict[tuple[object, ...], list[_Seen]] = defaultdict(list)
        for row in self._seen:
            groups[row.key].append(row)
        found: dict[int, int] = {}
        for rows in groups.values():
            found |= self._of_group(_with_neighbours(rows))
        return found

    def _of_group(self, rows: Sequence[_Seen]) -> dict[int, int]:
        """Of rows of one composition."""
        kept: dict[tuple[int, ...], list[_Kept]] = defaultdict(list)
        found: dict[int, int] = {}
        order = sorted(rows, key=lambda row: (not row.ok, round(row.energy / _EQUAL), row.number))
        for rank, (row, distances) in enumerate(_with_distances(order)):
            place = self._place(row, distances)
            near = [
                one
                for steps in product((-1, 0, 1), repeat=len(place))
                for one in kept.get(tuple(k + step for k, step in zip(place, steps, strict=True)), ())
            ]
            near.sort()
            original = next((one for one in near if self._equal(one, row, distances)), None)
            if original is None:
                kept[place].append(_Kept(rank, row, distances))
            else:
                found[row.number] = original.row.number
        return found

    def _place(self, row: _Seen, distances: NDArray[np.float64]) -> tuple[int, ...]:
        """A box of rows: what is equal to a row is in its box or one beside it."""
        some = distances[[len(distances) // 3, 2 * len(distances) // 3]]
        volume = 0.0 if row.volume is None else log(row.volume) / VOLUME
        return tuple(map(floor, (row.energy / ENERGY, volume, *(some / self._tolerance).tolist())))

    def _equal(self, kept: _Kept, row: _Seen, distances: NDArray[np.float64]) -> bool:
        one = kept.row
        if abs(one.energy - row.energy) > ENERGY or np.abs(kept.distances - distances).max() > self._tolerance:
            return False
        if one.volume is not None and row.volume is not None and abs(log(one.volume / row.volume)) > VOLUME:
            return False
        return same(_surroundings(one.text), _surroundings(row.text), self._tolerance)


class _Kept(NamedTuple):
    """A row that is no duplicate; ranks differ, and sort."""

    rank: int
    row: _Seen
    distances: NDArray[np.float64]


@lru_cache(maxsize=_REMEMBERED)
def _surroundings(text: str) -> Surroundings:
    return Surroundings(unpacked(text))


def _with_neighbours(rows: list[_Seen]) -> list[_Seen]:
    """Those of one composition that have another one near in energy."""
    rows.sort(key=lambda row: row.energy)
    energies = np.array([-np.inf, *(row.energy for row in rows), np.inf])
    near = np.diff(energies) <= ENERGY
    return [row for row, before, after in zip(rows, near, near[1:], strict=False) if before or after]


def _with_distances(rows: Sequence[_Seen]) -> Iterator[tuple[_Seen, NDArray[np.float64]]]:
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        yield from zip(some, site_distances([unpacked(row.text) for row in some]), strict=True)
