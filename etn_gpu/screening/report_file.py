"""The report of a run as a page to look at (:mod:`etn_gpu.screening.html`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu import __version__
from etn_gpu.potential import Architecture
from etn_gpu.screening.batching import BatchLimits, Candidate
from etn_gpu.screening.enthalpies import INSTEAD, without_empty
from etn_gpu.screening.html import BestStructure, ReportContent, write_report
from etn_gpu.screening.rows import COLUMNS, Row
from etn_gpu.screening.sources import FileSource, Source

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Potential
    from etn_gpu.screening.relaxing import Relaxer
    from etn_gpu.screening.report import ScreeningReport
    from etn_gpu.screening.single_points import SinglePoints

__all__ = ["ReportFile"]

#: Columns of rows that a page shows under the same name.
_SHOWN = [column.name for column in COLUMNS if column.name in {field.name for field in fields(ReportContent)}]
#: How many of the best structures have pictures.
_PICTURES = 8


class ReportFile:
    """Sees all rows of a run, and writes the page at its end.

    Args:
        path: the file of the page.
        model: the potential.
        sources: where the structures come from.
        means: how they were evaluated.
        options: what was asked for, by name, to be shown.
        threshold: the extrapolation grade above which a structure is extrapolating.
    """

    def __init__(
        self,
        path: Path,
        model: Potential,
        sources: Sequence[Source],
        means: SinglePoints | Relaxer,
        options: Mapping[str, Any],
        threshold: float,
    ) -> None:
        self.path = path
        self._model, self._sources, self._means = model, sources, means
        self._options, self._threshold = options, threshold
        self._columns: dict[str, list[Any]] = {name: [] for name in ("formulas", *_SHOWN)}

    def see(self, row: Row) -> None:
        """One row, with its energy above the hull."""
        self._columns["formulas"].append(row.formula)
        for name in _SHOWN:
            value = getattr(row, name)
            # Under pressure, enthalpies are what is compared.
            instead = INSTEAD.get(name) if self._means.pressure else None
            self._columns[name].append(value if instead is None else row.more.get(instead))

    def _shown(self, row: Row) -> dict[str, Any]:
        named: dict[str, Any] = row.named()
        return without_empty(named) if self._means.pressure else named

    def write(self, report: ScreeningReport) -> None:
        """Writes the page.

        Raises:
            DataError: it cannot be written.
        """
        best = report.ranking.rows()
        pictures = [*map(self._atoms, best[:_PICTURES]), *[None] * len(best[_PICTURES:])]
        model = self._model
        content = ReportContent(
            model=str(model.metadata.get("name") or model),
            version=__version__,
            date=datetime.now().astimezone().isoformat(" ", "minutes"),
            species=model.species,
            order=form.train.order if isinstance(form := model.form, Architecture) else None,
            cutoff=model.cutoff,
            inputs=[source.name for source in self._sources],
            options=self._options,
            references=report.references.description,
            notes=_notes(report),
            counts={str(status): count for status, count in report.counts.items()},
            hull=None if report.hull is None else report.hull.hull,
            grade_threshold=None if model.grade is None else self._threshold,
            best=[
                BestStructure({"source": row.source, "index": row.index} | self._shown(row), atoms)
                for row, atoms in zip(best, pictures, strict=True)
            ],
            enthalpies=bool(self._means.pressure),
            ranked_by=f"{report.ranking.by.value}, {report.ranking.by.order}",
            seconds=report.seconds,
            compilation=report.compilation,
            **self._columns,
        )
        write_report(self.path, content)

    def _atoms(self, row: Row) -> Atoms | None:
        """The structure of a row, evaluated or relaxed once more; None where its source can be read once only."""
        for source in self._sources:
            if source.name == row.source and isinstance(source, FileSource) and row.index is not None:
                candidates: Iterator[Candidate] = source.candidates(row.index)
                settled = next(self._means.batches([next(candidates)], BatchLimits()), None)
                return None if settled is None else settled[0][0].atoms
        return None


def _notes(report: ScreeningReport) -> list[str]:
    """What else is worth knowing of a run."""
    found = []
    if report.n_before:
        found.append(f"The run went on with {report.n_before} rows from before; times are those of the rest.")
    if report.ranking.unique:
        found.append(f"{report.ranking.n_duplicates} structures are duplicates of others, and are not ranked.")
    if report.ranking.where is not None:
        found.append(f"Ranked are rows with {report.ranking.where.text}.")
    return found
