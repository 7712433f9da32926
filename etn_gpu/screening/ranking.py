"""The best rows of a run, kept with a heap: memory is that of the rows shown, however many are seen."""

from __future__ import annotations

import heapq
import math
from enum import StrEnum
from typing import TYPE_CHECKING

from etn_gpu.errors import DataError
from etn_gpu.screening.composition import reduced_composition

if TYPE_CHECKING:
    from etn_gpu.screening.rows import Row
    from etn_gpu.screening.where import Condition

__all__ = ["RankBy", "Ranking"]

_Entry = tuple[float, int, "Row"]


class RankBy(StrEnum):
    """The column that a ranking sorts by; the smallest comes first, for the pressure the smallest magnitude."""

    energy_above_hull = "energy_above_hull"
    formation_energy = "formation_energy"
    energy_per_atom = "energy_per_atom"
    max_force = "max_force"
    pressure = "pressure"

    @property
    def order(self) -> str:
        """The order in words."""
        return "smallest magnitude first" if self is RankBy.pressure else "lowest first"


class Ranking:
    """The `top` best rows by one column.

    Rows keep their place whatever their status, which says what they are; with `drop_extrapolating` those of that
    status are not ranked, with `where` only those that fulfil it. Neither are rows without the value (failed
    structures, the pressure of a cluster). Ties keep the order in which rows were offered.

    Args:
        by: the column.
        top: how many rows are kept.
        drop_extrapolating: whether extrapolating rows are left out.
        where: which rows are ranked; all by default.
        per_composition: keep only the best row of each composition; memory grows with the number of these.

    Raises:
        DataError: there is no such column to sort by, or `top` is no number of rows.

    Attributes:
        n_ranked: how many rows, or compositions, were ranked.
        n_dropped: how many rows were left out for being extrapolating.
        n_excluded: how many rows did not fulfil the condition.
    """

    def __init__(
        self,
        by: RankBy | str = RankBy.formation_energy,
        top: int = 20,
        *,
        drop_extrapolating: bool = False,
        where: Condition | None = None,
        per_composition: bool = False,
    ) -> None:
        if by not in [*RankBy]:
            raise DataError(f"rank = {by!r}: expected one of {', '.join(RankBy)}")
        if not isinstance(top, int) or top < 0:
            raise DataError(f"top = {top!r}: expected a whole number, 0 or more")
        self.by = RankBy(by)
        self.top = top
        self.drop_extrapolating = drop_extrapolating
        self.where = where
        self.per_composition = per_composition
        self.n_ranked = self.n_dropped = self.n_excluded = 0
        self._offered = 0
        self._heap: list[_Entry] = []
        self._best: dict[object, _Entry] = {}

    @property
    def needs_hull(self) -> bool:
        """Whether rows can be ranked only when all are there, and with them the hull."""
        name = RankBy.energy_above_hull.value
        return self.by.value == name or (self.where is not None and name in self.where.names)

    def empty(self) -> Ranking:
        """One of the same kind that has seen no row yet."""
        return Ranking(
            self.by, self.top, drop_extrapolating=self.drop_extrapolating, where=self.where,
            per_composition=self.per_composition,
        )  # fmt: skip

    def offer(self, row: Row) -> None:
        """Shows the ranking one more row, which it keeps while it is among the best."""
        value: float | None = getattr(row, self.by.value)
        if value is None or math.isnan(value):
            return
        if self.drop_extrapolating and row.status == "extrapolating":
            self.n_dropped += 1
            return
        if self.where is not None and not self.where(row.named()):
            self.n_excluded += 1
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

    def rows(self) -> list[Row]:
        """The rows kept, best first."""
        entries = heapq.nlargest(self.top, self._best.values(), key=_order) if self.per_composition else self._heap
        return [entry[-1] for entry in sorted(entries, key=_order, reverse=True)]


def _order(entry: _Entry) -> tuple[float, int]:
    return entry[:2]
