"""What a screening run amounts to: counts, times, the best rows and the first failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter

from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.input_labels import InputLabels
from etn_gpu.screening.kept import Kept
from etn_gpu.screening.ranking import Ranking
from etn_gpu.screening.reference_phases import References
from etn_gpu.screening.rows import Row, Status

__all__ = ["ScreeningReport"]

_FAILURES_KEPT = 10


@dataclass
class ScreeningReport:
    """Grows with the run, batch by batch; its size does not.

    Attributes:
        backend: name of the backend that evaluates.
        ranking: the best rows.
        counts: how many rows have each status.
        n_atoms: atoms evaluated.
        failures: the first failed rows.
        labels: what labels the structures carried, seen where structures are written.
        untried: for each source that could not be read to its end, how many structures were never tried; None where the
            file does not tell.
        notes: entries of the input that the written structures lack or have under another name, and how many frames
            had them.
        repeated_ids: names of structures that occur several times, and how often.
        kept: entries of `info` that became columns, and what they lack.
        references: what formation energies are relative to.
        hull: the hull, when all rows are there.
        n_before: rows that were there when the run went on.
        done_before: the run was whole already: nothing was done, and nothing was counted.
        seconds: wall time from the first batch to the last one, without those that were there before.
        compilation: seconds that compiling for the backend took.
    """

    backend: str
    ranking: Ranking
    counts: Counter[Status] = field(default_factory=Counter)
    n_atoms: int = 0
    failures: list[Row] = field(default_factory=list)
    labels: InputLabels = field(default_factory=InputLabels, repr=False)
    untried: dict[str, int | None] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    repeated_ids: dict[str, int] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept, repr=False)
    references: References = field(default_factory=lambda: References({}), repr=False)
    hull: RunHull | None = field(default=None, repr=False)
    n_before: int = 0
    done_before: bool = False
    seconds: float = 0.0
    compilation: float = 0.0
    _start: float = field(default_factory=perf_counter, repr=False)

    @property
    def n_rows(self) -> int:
        """Rows written."""
        return self.counts.total()

    @property
    def n_ok(self) -> int:
        """Rows with the status "ok"."""
        return self.counts["ok"]

    @property
    def n_extrapolating(self) -> int:
        """Rows with the status "extrapolating"."""
        return self.counts["extrapolating"]

    @property
    def n_failed(self) -> int:
        """Rows with the status "failed"."""
        return self.counts["failed"]

    def begin(self, compilation: float) -> None:
        """Starts the clock; compilation, in seconds, came before."""
        self.compilation = compilation
        self._start = perf_counter()

    def restore(self, rows: Iterable[Row]) -> None:
        """Counts the rows that were there when the run went on."""
        self._count(rows)
        self.n_before = self.n_rows

    def add(self, rows: Iterable[Row]) -> None:
        """Counts a batch of rows and offers them to the ranking."""
        self._count(rows)
        self.seconds = perf_counter() - self._start

    def _count(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.counts[row.status] += 1
            if row.status == "failed":
                if len(self.failures) < _FAILURES_KEPT:
                    self.failures.append(row)
                continue
            self.n_atoms += row.n_atoms or 0
            if not self.ranking.late:
                self.ranking.offer(row)
