"""The best rows of a run, kept with a heap: memory is that of the rows shown, however many are seen."""

from __future__ import annotations

import heapq
import math
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etn_gpu.screening.rows import Row

__all__ = ["RankBy", "Ranking"]


class RankBy(StrEnum):
    """The column that a ranking sorts by; the smallest comes first, for the pressure the smallest magnitude."""

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

    Extrapolating rows keep their place, for their status says what they are; with `drop_extrapolating` they are not
    ranked. Neither are rows without the value (failed structures, the pressure of a cluster). Ties keep the order in
    which rows were offered.
    """

    def __init__(
        self, by: RankBy | str = RankBy.formation_energy, top: int = 20, *, drop_extrapolating: bool = False
    ) -> None:
        self.by = RankBy(by)
        self.top = top
        self.drop_extrapolating = drop_extrapolating
        self.n_ranked = self.n_dropped = 0
        self._heap: list[tuple[float, int, Row]] = []

    def offer(self, row: Row) -> None:
        """Shows the ranking one more row, which it keeps while it is among the best."""
        value: float | None = getattr(row, self.by.value)
        if value is None or math.isnan(value):
            return
        if self.drop_extrapolating and row.status == "extrapolating":
            self.n_dropped += 1
            return
        if self.by is RankBy.pressure:
            value = abs(value)
        self.n_ranked += 1
        # heapq pops the smallest entry, which has to be the worst row kept: every part of the key is negated.
        entry = (-value, -self.n_ranked, row)
        if len(self._heap) < self.top:
            heapq.heappush(self._heap, entry)
        elif self.top > 0:
            heapq.heappushpop(self._heap, entry)

    def rows(self) -> list[Row]:
        """The rows kept, best first."""
        return [entry[-1] for entry in sorted(self._heap, reverse=True)]
