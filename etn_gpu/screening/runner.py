"""The screening run: sources -> batches -> evaluation -> rows, as a stream."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu import __version__, files
from etn_gpu.backend import resolve
from etn_gpu.errors import DataError, NetworkError
from etn_gpu.interop import load
from etn_gpu.potential.file import model_path
from etn_gpu.potential.grade import THRESHOLD, check_threshold
from etn_gpu.potential.warm_up import warm_up
from etn_gpu.screening import duplicates
from etn_gpu.screening.batching import BatchLimits
from etn_gpu.screening.columns import Field, Kind, ResultColumn
from etn_gpu.screening.enthalpies import without_empty
from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.kept import ID, Kept
from etn_gpu.screening.ranking import RankBy, Ranking
from etn_gpu.screening.reference_phases import References, elements_of, file_phases, model_references, relaxed_elements
from etn_gpu.screening.relaxing import Relaxer
from etn_gpu.screening.report import ScreeningReport
from etn_gpu.screening.report_file import ReportFile
from etn_gpu.screening.rows import COLUMNS, Row
from etn_gpu.screening.single_points import SinglePoints
from etn_gpu.screening.sources import FileSource, Source, as_sources, check_inputs, is_repeatable
from etn_gpu.screening.spacegroups import COLUMN as SPACEGROUP
from etn_gpu.screening.spacegroups import check_tolerance
from etn_gpu.screening.stream import Place, Stream
from etn_gpu.screening.where import Condition
from etn_gpu.screening.work import Done, Work
from etn_gpu.screening.workers import Workers
from etn_gpu.screening.writing import ResultWriter, check_outputs

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Potential

    AnyPath = str | os.PathLike[str]
    One = Source | str | os.PathLike[str] | Atoms | Iterable[Atoms]
    Sources = One | Sequence[One]

__all__ = ["Screening", "screen"]


class Screening:
    """One run over all structures of some sources; iterate over it to make it happen.

    Each step evaluates one batch, writes and flushes its rows, and yields them. Rows come in the order of the input.
    Memory is bounded by the batch. They grow in ``OUTPUT.part``, and get their name and what depends on all of them,
    the energies above the hull, at the end of the run; a run that was stopped before, however it was, goes on with
    `resume`. The results are the same, bit for bit, for any ``limits`` and wherever it was stopped: no result depends
    on others in its batch.

    Attributes:
        report: counts and ranking of what has been done so far.

    Args:
        model: the potential, the name of a shipped one, or the path of a model file.
        sources: a path of a file in any format that ASE reads, an ``ase.Atoms``, an iterable of ``ase.Atoms`` (it is
            consumed as a stream, once), a :class:`~etn_gpu.screening.Source`, or a list of any of these. When an
            iterable raises an exception, the rows of the structures before are written first.
        output: the file of rows: CSV, or Parquet if it is named so.
        parts: with a Parquet file as the output, make it a folder of files with so many rows each, which readers take
            for one table.
        structures: file of the evaluated structures with their results: extended XYZ, or a database of ASE if it is
            named ``.db``.
        report: HTML file with a report to look at (:mod:`etn_gpu.screening.html`).
        resume: go on with a run that was stopped. Where there is none, and no output, begin; where that run is whole,
            do nothing (`report.done_before`). Such a run leaves the small file ``OUTPUT.run``, which tells so.
        overwrite: whether files that exist are replaced by `output` and `structures`.
        protected: further files that neither may replace, whatever `overwrite` is: the model's, for instance.
        rank: what the ranking sorts by; by default formation energies, under pressure formation enthalpies.
        top: how many rows the ranking keeps.
        where: a condition (:mod:`etn_gpu.screening.where`) that rows must fulfil to be ranked.
        per_composition: rank only the best row of each composition.
        grade_threshold: rows with an extrapolation grade above it have the status "extrapolating".
        drop_extrapolating: whether such rows are left out of the ranking.
        keep: entries of `info` that become columns.
        id: the entry of `info` with a name of each structure, which becomes the column ``id``.
        spacegroup: a tolerance in A, for the column ``spacegroup`` (needs spglib); none by default.
        unique: a tolerance in A, for the column ``duplicate_of``: rows that are the structure of another one name it,
            by its id or its source and index, and are not ranked (:mod:`etn_gpu.screening.duplicates`); none by
            default. Memory then grows with the structures, by some 20 bytes for each of their atoms.
        references: a file of phases that formation energies and the hull refer to, evaluated by the model, and relaxed
            if `relax` is set. A run that relaxes lets the model relax crystals of the elements that it lacks; the
            report says what was used.
        hull_of_run: whether the structures of the run are phases of the hull, or only the references.
        limits: how large a batch may be.
        backend: backend of the evaluation; by default as everywhere in etn_gpu.
        dtype: "float64" or "float32"; by default the model's, on a GPU "float32".
        threads: threads of the evaluation; by default the backend's, with `workers` or a `scheduler` one.
        workers: processes on this machine that share the work; none by default.
        scheduler: the address of a Dask scheduler whose workers share the work (:mod:`etn_gpu.screening.workers`).
        relax: whether structures are relaxed first; rows and structures are those of the ends. Only what has converged
            is "ok", and there are the columns ``relaxation_steps`` and ``initial_energy_per_atom``.
        relaxation: options of the relaxation: `fmax`, `cell`, `pressure`, `steps`, `optimizer` and `limits`, see
            :func:`etn_gpu.relax`.

    Raises:
        DataError: an output cannot be written, see :func:`~etn_gpu.screening.writing.check_outputs`, or is a pipe where
            a report or a ranking by the hull is asked for; there is a run to go on with that is another one; a
            condition that cannot be read; a source that is none, or a file that there is not; during the run, an
            iterable that failed (the message says at which structure).
        BackendError: the backend or the dtype that was asked for cannot be used here.
        ModelFileError: the model cannot be loaded, or its reference energies for formation energies are no energies.
        NetworkError: a threshold below 1; a potential that gives no energy.
        RelaxationError: an option of a relaxation that means nothing.
    """

    def __init__(
        self,
        model: Potential | str | os.PathLike[str],
        sources: Sources,
        output: str | os.PathLike[str],
        *,
        parts: int | None = None,
        structures: str | os.PathLike[str] | None = None,
        report: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        protected: Iterable[str | os.PathLike[str]] = (),
        rank: RankBy | str | None = None,
        top: int = 20,
        where: str | None = None,
        per_composition: bool = False,
        grade_threshold: float = THRESHOLD,
        drop_extrapolating: bool = False,
        keep: Sequence[str] = (),
        id: str | None = None,
        spacegroup: float | None = None,
        unique: float | None = None,
        references: str | os.PathLike[str] | None = None,
        hull_of_run: bool = True,
        limits: BatchLimits | None = None,
        backend: str | None = None,
        dtype: str | None = None,
        threads: int | None = None,
        workers: int | None = None,
        scheduler: str | None = None,
        relax: bool = False,
        **relaxation: Any,
    ) -> None:
        # Whatever can fail does so here, before a file is touched, and what costs nothing to check comes first.
        self.model, read_from = _loaded(model)
        if not self.model.is_energy:
            raise NetworkError(f"this potential has the {self.model.output}; screening needs an energy, 1x0e")
        self.sources = as_sources(sources)
        self.output = Path(output)
        self.structures = None if structures is None else Path(structures)
        page = None if report is None else Path(report)
        self.limits = limits or BatchLimits()
        self._references = model_references(self.model)
        self._threshold = check_threshold(grade_threshold)
        self._workers = None if workers is None and scheduler is None else Workers(workers, scheduler)
        if self._workers is not None:
            threads = threads or 1
        name = resolve(backend)
        self._options = {"backend": name, "dtype": dtype, "threads": threads}
        self._precision = self.model.precision(name, dtype)
        self._means = _means(self.model, self._threshold, self._options, relax, relaxation)
        self._symmetry = None if spacegroup is None else check_tolerance(spacegroup)
        self._unique = None if unique is None else duplicates.check_tolerance(unique)
        self._further = [
            *self._means.columns,
            *([] if spacegroup is None else [SPACEGROUP]),
            *([] if unique is None else [duplicates.COLUMN]),
        ]
        kinds: dict[str, Kind | None] = {column.name: column.kind for column in (*COLUMNS, *self._further)}
        self._kept = Kept(keep, id, [*kinds])
        self._hull_of_run, self._parts = hull_of_run, parts
        self._given = _phases(references)
        pressed = bool(self._means.pressure)
        kinds |= dict.fromkeys(self._kept.names)
        condition = None if where is None else Condition(where, without_empty(kinds) if pressed else kinds)
        ranking = Ranking(
            rank, top, drop_extrapolating=drop_extrapolating, where=condition, per_composition=per_composition,
            unique=unique is not None, under_pressure=pressed,
        )  # fmt: skip
        ranking.late |= condition is not None and condition.of_unknown_kind and not files.is_stream(self.output)
        self.report = ScreeningReport(backend=name, ranking=ranking, kept=self._kept)
        self._writer = ResultWriter(
            self.output, self.structures, more=[column.name for column in self._columns()], parts=parts,
            unique=unique is not None, identity=self._identity, resume=resume, overwrite=overwrite,
            repeatable=all(map(is_repeatable, self.sources)),
        )  # fmt: skip
        self._check_files(page, [*protected, *read_from], resume=resume, overwrite=overwrite)
        self._page = None if page is None else self._report_file(page)

    def _check_files(self, page: Path | None, protected: Iterable[AnyPath], *, resume: bool, overwrite: bool) -> None:
        """Refuses outputs and inputs; contents are looked at last, and only where there is a run to go on with."""
        read = [*self.sources, *([] if self._given is None else [self._given])]
        inputs = [*protected, *(source.path for source in read if isinstance(source, FileSource))]
        check_outputs(self.output, self.structures, page, inputs, self._parts)
        if page is not None and not resume:
            files.check_replaced([page], overwrite, DataError)
        if files.is_stream(self.output) and (page is not None or self.report.ranking.needs_all):
            raise DataError(
                f"{self.output} is a pipe or a device, from which rows are not read again, and a report, duplicates "
                "and energies above the hull depend on all of them: choose a file as the output"
            )
        if resume:
            check_inputs(read)
        self.report.done_before = self._writer.check()
        if self.report.done_before and page is not None and not page.exists():
            raise DataError(
                f"{self.output} is whole, and {page} is made together with it: run once more without --resume into "
                "other outputs, or replace these with --overwrite (overwrite=True in Python)"
            )
        check_inputs(read)

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on that was stopped; reads all inputs once."""
        return {
            "version": __version__,
            "model": self.model.checksum(),
            "inputs": [source.identity() for source in self.sources],
            "backend": self._options["backend"],
            "dtype": self._precision,
            "grade threshold": self._threshold,
            "relaxation": self._means.identity(),
            "references": self._given and self._given.identity(),
            "hull of the run": self._hull_of_run,
            "spacegroup": self._symmetry,
            "unique": self._unique,
            "parts": self._parts,
            "kept entries": self._kept.identity(),
        }

    def _report_file(self, path: Path) -> ReportFile:
        shown = {f"relaxation: {key}": value for key, value in (self._means.identity() or {}).items()}
        options = {"backend": self._options["backend"], "dtype": self._precision, **shown}
        return ReportFile(path, self.model, self.sources, self._means, options, self._threshold)

    def __iter__(self) -> Iterator[list[Row]]:
        if self.report.done_before:
            return
        compilation = warm_up(self.model, **self._options)
        references = self._found_references()
        self.report.references = references
        with self._writer as writer:
            if writer.whole:  # it was stopped when nothing was left but to give the files their names
                self.report.done_before = True
                return
            place = self._restored()
            stream = Stream(self.sources, place)
            self.report.begin(compilation)
            work = Work(
                self._means, references.energies, self._kept.fresh(), frames=self.structures is not None,
                symmetry=self._symmetry, unique=self._unique is not None,
            )  # fmt: skip
            for done in self._done(work, stream):
                self._write(done)
                place = stream.take(len(done.rows))
                writer.note(self._progress(place))
                yield done.rows
            self._finish(self._progress(place))

    def places(self) -> list[Path]:
        """Where the rows, and the structures if asked for, are: with the suffix ``.part`` until all are there."""
        return self._writer.places()

    def run(self) -> ScreeningReport:
        """Evaluates everything and returns the report."""
        for _ in self:
            pass
        return self.report

    def _found_references(self) -> References:
        phases = [] if self._given is None else file_phases(self._given, self._means)
        if isinstance(self._means, Relaxer):
            # Energies of relaxed structures are not to be compared with those of training structures.
            phases += relaxed_elements(
                self.model, self._threshold, elements_of(phases), pressure=self._means.pressure, **self._options
            )
        # Those of the model are at no pressure.
        known = References({}, pressure=self._means.pressure) if self._means.pressure else self._references
        return (known.with_phases(phases) if phases else known).lacking(self.model.species)

    def _write(self, done: Done) -> None:
        """Writes and counts a batch."""
        self._writer.write(done.lines, done.frames)
        self.report.add(done.rows)
        self.report.untried |= done.untried
        self.report.notes.update(done.notes)
        self.report.labels.add(done.labels)
        self._kept.add(done.kept)

    def _done(self, work: Work, stream: Stream) -> Iterator[Done]:
        """What comes of the structures, here or in other processes."""
        if self._workers is None:
            return work.batches(stream, self.limits)
        return self._workers.batches(work, stream.cut(), self.limits)

    def _columns(self) -> list[ResultColumn]:
        """Columns beside those that every run has."""
        return [*self._further, *self._kept.columns()]

    def _progress(self, place: Place) -> dict[str, Any]:
        """How far the run has come, and what is known of the structures beside their rows."""
        return {
            "place": place.to_dict(),
            "kept": self._kept.to_state(),
            "labels": self.report.labels.to_state(),
            "untried": self.report.untried,
            "notes": dict(self.report.notes),
        }

    def _restored(self) -> Place:
        """Where the run begins; what was done before is counted."""
        progress = self._writer.progress
        if progress is None:
            return Place()
        self._kept.add(progress["kept"])
        self.report.labels.add(progress["labels"])
        self.report.untried |= progress["untried"]
        self.report.notes.update(progress["notes"])
        self.report.restore(self._writer.rows(self._columns()))
        return Place.of(progress["place"])

    def _finish(self, progress: Mapping[str, Any]) -> None:
        """Makes the results of all rows, and puts the files in their places."""
        references = self.report.references
        hull = self.report.hull = RunHull(
            references.energies, references.phases, of_run=self._hull_of_run, enthalpies=bool(references.pressure)
        )
        seeing: list[Callable[[Row], None]] = []
        if self.report.ranking.late:
            self.report.ranking = self.report.ranking.empty()
            seeing.append(self.report.ranking.offer)
        if self._page is not None:
            seeing.append(self._page.see)
        ids: Counter[Field] = Counter()
        if ID in self._kept.names:
            seeing.append(lambda row: ids.update([row.more[ID]]))

        def show(row: Row) -> None:
            for see in seeing:
                see(row)

        def last() -> None:
            self.report.repeated_ids = {str(id): n for id, n in ids.items() if n > 1 and id is not None}
            if self._page is not None:
                self._page.write(self.report)

        copies = None if self._unique is None else duplicates.Duplicates(self._unique)
        self._writer.finish(progress, hull, self._columns(), show if seeing else None, last, copies)


def _means(
    model: Potential, threshold: float, options: dict[str, Any], relax: bool, relaxation: dict[str, Any]
) -> SinglePoints | Relaxer:
    """How structures are evaluated."""
    if relax:
        return Relaxer(model, threshold, **options, **relaxation)
    if relaxation:
        raise DataError(f"{', '.join(relaxation)} without relax=True: options of a relaxation that is not asked for")
    return SinglePoints(model, threshold, **options)


def _phases(path: object) -> FileSource | None:
    """The file of phases that formation energies refer to."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"references = {path!r:.80}: expected the path of a file of phases")
    return FileSource(path)


def _loaded(model: Any) -> tuple[Potential, list[Path]]:
    """A potential as it is, or of a name or path, and then the file it was read from."""
    return (model, []) if hasattr(model, "metadata") else (load(model), [model_path(model)])


def screen(
    model: Potential | str | os.PathLike[str],
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
