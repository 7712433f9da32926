"""The best rows of a run, kept with a heap: memory is that of the rows shown, however many are seen."""

from __future__ import annotations

import heapq
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from etn_gpu.checks import is_whole
from etn_gpu.errors import DataError
from etn_gpu.screening import enthalpies
from etn_gpu.screening.composition import reduced_composition

if TYPE_CHECKING:
    from etn_gpu.screening.rows import Row
    from etn_gpu.screening.where import Condition

__all__ = ["DUPLICATE_OF", "RankBy", "Ranking"]

#: The column of rows that are copies of another one, see :mod:`etn_gpu.screening.duplicates`.
DUPLICATE_OF = "duplicate_of"

_Entry = tuple[float, int, "Row"]


class RankBy(StrEnum):
    """The column that a ranking sorts by; the smallest comes first, for the pressure the smallest magnitude.

    Enthalpies are those of a run under pressure, which has neither formation energies nor energies above the hull.
    """

    energy_above_hull = "energy_above_hull"
    formation_energy = "formation_energy"
    energy_per_atom = "energy_per_atom"
    max_force = "max_force"
    pressure = "pressure"
    enthalpy_above_hull = enthalpies.ABOVE_HULL
    formation_enthalpy = enthalpies.FORMATION
    enthalpy_per_atom = enthalpies.PER_ATOM

    @staticmethod
    def offered(*, under_pressure: bool) -> list[RankBy]:
        """The columns that a run has."""
        others = enthalpies.INSTEAD if under_pressure else {column.name for column in enthalpies.COLUMNS}
        return [by for by in RankBy if by.value not in others]

    def of(self, row: Row) -> float | None:
        """The value of a row."""
        value: Any = row.more.get(self.value) if self in _OF_ENTHALPIES else getattr(row, self.value)
        return value

    @property
    def order(self) -> str:
        """The order in words."""
        return "smallest magnitude first" if self is RankBy.pressure else "lowest first"


_OF_ENTHALPIES = frozenset(RankBy(column.name) for column in enthalpies.COLUMNS)
#: Columns that are there when all rows are.
_OF_ALL_ROWS = {"energy_above_hull", enthalpies.ABOVE_HULL, DUPLICATE_OF}


class Ranking:
    """The `top` best rows by one column.

    Rows keep their place whatever their status, which says what they are; with `drop_extrapolating` those of that
    status are not ranked, with `where` only those that fulfil it. Neither are rows without the value (failed
    structures, the pressure of a cluster). Ties keep the order in which rows were offered.

    Args:
        by: the column; by default formation energies or enthalpies.
        top: how many rows are kept.
        drop_extrapolating: whether extrapolating rows are left out.
        where: which rows are ranked; all by default.
        per_composition: keep only the best row of each composition; memory grows with the number of these.
        unique: whether duplicates are left out.
        under_pressure: whether the run compares enthalpies.

    Raises:
        DataError: the run has no such column to sort by, or `top` is no number of rows.

    Attributes:
        n_ranked: how many rows, or compositions, were ranked.
        n_dropped: how many rows were left out for being extrapolating.
        n_excluded: how many rows did not fulfil the condition.
        n_duplicates: how many rows were left out for being copies of another one.
        n_unfit: how many rows the condition cannot be asked of, because it compares text with a number there.
        unfit: the first of these, and what does not fit.
        late: whether rows are to be offered when all are there.
    """

    def __init__(
        self,
        by: RankBy | str | None = None,
        top: int = 20,
        *,
        drop_extrapolating: bool = False,
        where: Condition | None = None,
        per_composition: bool = False,
        unique: bool = False,
        under_pressure: bool = False,
    ) -> None:
        offered = RankBy.offered(under_pressure=under_pressure)
        if by is None:
            by = RankBy.formation_enthalpy if under_pressure else RankBy.formation_energy
        if by not in offered:
            when = " under pressure" if under_pressure else " without pressure" if by in [*RankBy] else ""
            raise DataError(f"rank = {str(by)!r}: expected one of {', '.join(offered)}{when}")
        if not is_whole(top, 0):
            raise DataError(f"top = {top!r}: expected a whole number, 0 or more")
        self.by = RankBy(by)
        self.top = top
        self.drop_extrapolating = drop_extrapolating
        self.where = where
        self.per_composition = per_composition
        self.unique, self.under_pressure = unique, under_pressure
        self.n_ranked = self.n_dropped = self.n_excluded = self.n_duplicates = self.n_unfit = 0
        self.unfit = ""
        self.late = self.needs_all
        self._offered = 0
        self._heap: list[_Entry] = []
        self._best: dict[object, _Entry] = {}

    @property
    def needs_all(self) -> bool:
        """Whether rows can be ranked only when all are there, and with them the hull and the duplicates."""
        asked = {self.by.value} if self.where is None else {self.by.value, *self.where.names}
        return self.unique or not asked.isdisjoint(_OF_ALL_ROWS)

    def empty(self) -> Ranking:
        """One of the same kind that has seen no row yet."""
        return Ranking(
            self.by, self.top, drop_extrapolating=self.drop_extrapolating, where=self.where,
            per_composition=self.per_composition, unique=self.unique, under_pressure=self.under_pressure,
        )  # fmt: skip

    def offer(self, row: Row) -> None:
        """Shows the ranking one more row, which it keeps while it is among the best."""
        value = self.by.of(row)
        if value is None or math.isnan(value):
            return
        if self.unique and row.more.get(DUPLICATE_OF) is not None:
            self.n_duplicates += 1
            return
        if self.drop_extrapolating and row.status == "extrapolating":
            self.n_dropped += 1
            return
        if self.where is not None and not self._fulfils(row, self.where):
            return
        if self.by is RankBy.pressure:
            value = abs(value)
        self._offered += 1
        # heapq pops the smallest entry, which has to be the worst row kept: every part of the key is negated.
        entry = (-value, -self._offered, row)
        if self.per_composition:
            key = reduced_composition(row.formula or "")
            self._best[key] = max(self._best.get(key, entry), entry, key=_order)
            self.n_ranked = len(self._best)
            return
        self.n_ranked += 1
        if len(self._heap) < self.top:
            heapq.heappush(self._heap, entry)
        elif self.top > 0:
            heapq.heappushpop(self._heap, entry)

    def _fulfils(self, row: Row, where: Condition) -> bool:
        try:
            fulfils = where(row.named())
        except DataError as error:  # the rows of a run are worth more than its ranking
            self.n_unfit += 1
            self.unfit = self.unfit or f"{row.shown_source} [{row.index}]: {error}"
            return False
        self.n_excluded += not fulfils
        return fulfils

    def rows(self) -> list[Row]:
        """The rows kept, best first."""
        entries = heapq.nlargest(self.top, self._best.values(), key=_order) if self.per_composition else self._heap
        return [entry[-1] for entry in sorted(entries, key=_order, reverse=True)]


def _order(entry: _Entry) -> tuple[float, int]:
    return entry[:2]
