"""The screening run: sources -> batches -> evaluation -> rows, as a stream."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu.backend import resolve
from etn_gpu.errors import ModelFileError
from etn_gpu.potential.grade import THRESHOLD, check_threshold
from etn_gpu.potential.warm_up import warm_up
from etn_gpu.screening.batching import BatchLimits, Candidate, batches
from etn_gpu.screening.evaluation import Outcome, evaluate_each
from etn_gpu.screening.ranking import RankBy, Ranking
from etn_gpu.screening.report import ScreeningReport
from etn_gpu.screening.rows import Row, RowMaker
from etn_gpu.screening.sources import FileSource, Source, as_sources
from etn_gpu.screening.writing import ResultWriter, check_outputs

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential

    One = Source | str | os.PathLike[str] | Atoms | Iterable[Atoms]
    Sources = One | Sequence[One]

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
        sources: a path of a file in any format that ASE reads, an ``ase.Atoms``, an iterable of ``ase.Atoms`` (it is
            consumed as a stream, once), a :class:`~etn_gpu.screening.Source`, or a list of any of these. When an
            iterable raises an exception, the rows of the structures before are written first.
        output: the CSV file of rows.
        structures: extended XYZ file of the evaluated structures with their results.
        overwrite: whether files that exist are replaced by `output` and `structures`.
        protected: further files that neither may replace, whatever `overwrite` is: the model's, for instance.
        rank: what the ranking sorts by.
        top: how many rows the ranking keeps.
        grade_threshold: rows with an extrapolation grade above it have the status "extrapolating".
        drop_extrapolating: whether such rows are left out of the ranking.
        limits: how large a batch may be.
        backend: backend of the evaluation; by default as everywhere in etn_gpu.
        dtype: "float64" or "float32"; by default the model's, on a GPU "float32".
        threads: threads of the evaluation; by default the backend's.

    Raises:
        DataError: an output cannot be written, see :func:`~etn_gpu.screening.writing.check_outputs`; a source that is
            none; during the run, an iterable that failed (the message says at which structure).
        BackendError: the backend or the dtype that was asked for cannot be used here.
        ModelFileError: the model's reference energies for formation energies are no energies.
        NetworkError: a threshold below 1.
    """

    def __init__(
        self,
        model: ETNPotential,
        sources: Sources,
        output: str | os.PathLike[str],
        *,
        structures: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        protected: Iterable[str | os.PathLike[str]] = (),
        rank: RankBy | str = RankBy.formation_energy,
        top: int = 20,
        grade_threshold: float = THRESHOLD,
        drop_extrapolating: bool = False,
        limits: BatchLimits | None = None,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.sources = as_sources(sources)
        self.output = Path(output)
        self.structures = None if structures is None else Path(structures)
        self.limits = limits or BatchLimits()
        self.overwrite = overwrite
        # Whatever can fail does so here, before a file is touched.
        self._references = _references(model)
        inputs = [*protected, *(source.path for source in self.sources if isinstance(source, FileSource))]
        check_outputs(self.output, self.structures, inputs, overwrite=overwrite)
        self._threshold = check_threshold(grade_threshold)
        self._options = {"backend": resolve(backend), "dtype": dtype, "threads": threads}
        model.precision(resolve(backend), dtype)
        ranking = Ranking(rank, top, drop_extrapolating=drop_extrapolating)
        self.report = ScreeningReport(backend=resolve(backend), ranking=ranking)

    def __iter__(self) -> Iterator[list[Row]]:
        candidates = chain.from_iterable(source.candidates() for source in self.sources)
        make_rows = RowMaker(self._references)
        self.report.compilation = warm_up(self.model, **self._options)
        with ResultWriter(self.output, self.structures, overwrite=self.overwrite) as writer:
            for batch in batches(candidates, self.model.cutoff, self.limits):
                outcomes = self._evaluate(batch)
                rows = make_rows(batch, outcomes)
                writer.write(rows, [candidate.atoms for candidate in batch], outcomes)
                self.report.add(rows)
                if self.structures is not None:
                    self.report.labels.see(candidate.atoms for candidate in batch)
                self.report.note_untried(batch)
                self.report.notes = writer.notes
                yield rows

    def run(self) -> ScreeningReport:
        """Evaluates everything and returns the report."""
        for _ in self:
            pass
        return self.report

    def _evaluate(self, batch: list[Candidate]) -> list[Outcome]:
        readable = [candidate.atoms for candidate in batch if candidate.atoms is not None]
        found = evaluate_each(self.model, readable, threshold=self._threshold, **self._options) if readable else []
        outcomes = iter(found)
        return [Outcome(failed=True, message=c.error) if c.atoms is None else next(outcomes) for c in batch]


def _references(model: ETNPotential) -> dict[str, float]:
    """Energies [eV/atom] of the pure elements that the model's metadata hold; none where it has none."""
    found = model.metadata.get("formation_references") or {}
    if not isinstance(found, Mapping) or not all(_is_energy(value) for value in found.values()):
        raise ModelFileError(
            f"formation_references in the metadata of the model are {found!r}; expected an energy in eV/atom for each "
            "element, like {'W': -12.9}"
        )
    return dict(found)


def _is_energy(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def screen(
    model: ETNPotential,
    sources: Sources,
    output: str | os.PathLike[str],
    **options: Any,
) -> ScreeningReport:
    """Evaluates and ranks all structures of `sources`, writing one row each.

    Arguments, options and errors are those of :class:`Screening`.

    >>> report = screen(etn_gpu.load("nbmotaw"), ["candidates.extxyz"], "results.csv", rank="formation_energy")
    >>> report.ranking.rows()[0].formula
    """
    return Screening(model, sources, output, **options).run()
