"""The screening run: sources -> batches -> evaluation -> rows, as a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu.backend import resolve
from etn_gpu.screening.batching import BatchLimits, Candidate, batches
from etn_gpu.screening.evaluation import Outcome, evaluate_each
from etn_gpu.screening.ranking import RankBy, Ranking
from etn_gpu.screening.report import ScreeningReport
from etn_gpu.screening.rows import Row, make_row
from etn_gpu.screening.sources import FileSource, Source, as_source
from etn_gpu.screening.writing import ResultWriter, check_outputs

if TYPE_CHECKING:
    from etn_gpu.potential import ETNPotential

__all__ = ["Screening", "screen"]


class Screening:
    """One run over all structures of some sources; iterate over it to make it happen.

    Each step evaluates one batch, writes and flushes its rows, and yields them. Rows come in the order of the input.
    Memory is bounded by the batch. An exception or an interrupt between or within steps leaves whole rows of all
    batches before it. The rows are the same, bit for bit, for any ``limits``: no result depends on others in its batch.

    Attributes:
        report: counts and ranking of what has been done so far.

    Args:
        model: the potential.
        sources: paths of files in any format that ASE reads, or :class:`~etn_gpu.screening.Source` objects.
        output: the CSV file of rows; an existing file is overwritten.
        structures: extended XYZ file of the evaluated structures with their results; an existing file is overwritten.
        rank: what the ranking sorts by.
        top: how many rows the ranking keeps.
        limits: how large a batch may be.
        backend: backend of the evaluation; by default as everywhere in etn_gpu.
        dtype: "float64" or "float32"; by default the model's, on a GPU "float32".
        threads: threads of the evaluation; by default the backend's.

    Raises:
        DataError: an output cannot be written, see :func:`~etn_gpu.screening.writing.check_outputs`.
        BackendError: the backend that was asked for cannot run here.
    """

    def __init__(
        self,
        model: ETNPotential,
        sources: Sequence[Source | str | os.PathLike[str]],
        output: str | os.PathLike[str],
        *,
        structures: str | os.PathLike[str] | None = None,
        rank: RankBy | str = RankBy.formation_energy,
        top: int = 20,
        limits: BatchLimits | None = None,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.sources = [as_source(source) for source in sources]
        self.output = Path(output)
        self.structures = None if structures is None else Path(structures)
        self.limits = limits or BatchLimits()
        check_outputs(self.output, self.structures, [s.path for s in self.sources if isinstance(s, FileSource)])
        self._options = {"backend": resolve(backend), "dtype": dtype, "threads": threads}
        self.report = ScreeningReport(backend=resolve(backend), ranking=Ranking(rank, top))

    def __iter__(self) -> Iterator[list[Row]]:
        references = self.model.metadata.get("formation_references") or {}
        candidates = chain.from_iterable(source.candidates() for source in self.sources)
        with ResultWriter(self.output, self.structures) as writer:
            for batch in batches(candidates, self.model.cutoff, self.limits):
                outcomes = self._evaluate(batch)
                rows = [make_row(c, outcome, references) for c, outcome in zip(batch, outcomes, strict=True)]
                writer.write(rows, [candidate.atoms for candidate in batch], outcomes)
                self.report.add(rows)
                yield rows

    def run(self) -> ScreeningReport:
        """Evaluates everything and returns the report."""
        for _ in self:
            pass
        return self.report

    def _evaluate(self, batch: list[Candidate]) -> list[Outcome]:
        readable = [candidate.atoms for candidate in batch if candidate.atoms is not None]
        outcomes = iter(evaluate_each(self.model, readable, **self._options) if readable else [])
        return [Outcome(failed=True, message=c.error) if c.atoms is None else next(outcomes) for c in batch]


def screen(
    model: ETNPotential,
    sources: Sequence[Source | str | os.PathLike[str]],
    output: str | os.PathLike[str],
    **options: Any,
) -> ScreeningReport:
    """Evaluates and ranks all structures of `sources`, writing one row each.

    Arguments, options and errors are those of :class:`Screening`.

    >>> report = screen(etn_gpu.load("nbmotaw"), ["candidates.extxyz"], "results.csv", rank="formation_energy")
    >>> report.ranking.rows()[0].formula
    """
    return Screening(model, sources, output, **options).run()
