"""Output files of whole rows and whole frames, written batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from etn_gpu import files
from etn_gpu.errors import DataError
from etn_gpu.screening.columns import ResultColumn
from etn_gpu.screening.database import DATABASE, write_database
from etn_gpu.screening.duplicates import Duplicates
from etn_gpu.screening.hulls import RunHull
from etn_gpu.screening.parquet import check_parquet, check_parts
from etn_gpu.screening.rows import COLUMNS, Row, as_field, csv_line
from etn_gpu.screening.table import PARQUET, STRUCTURE, finish_rows, read_rows

__all__ = ["ResultWriter", "check_outputs"]

_STRUCTURE_SUFFIXES = (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz", DATABASE)


def check_outputs(
    output: Path,
    structures: Path | None,
    report: Path | None,
    inputs: Iterable[str | os.PathLike[str]],
    parts: int | None = None,
) -> None:
    """Refuses outputs that cannot be written or that would destroy something.

    Raises:
        DataError: the folder of an output does not exist, an output is a folder, is one of the inputs, is given twice
            or its name promises another format than CSV or Parquet, or the structures are asked for in another
            format than extended XYZ or a database of ASE; `parts`, rows of each file of a folder, for what is not
            Parquet, or for a folder with other files in it.
    """
    outputs = [path for path in (output, structures, report) if path is not None]
    files.check_outputs(outputs, inputs, DataError, folders=() if parts is None else [output])
    if report is not None:
        files.check_suffix(report, files.PAGE, DataError)
    if output.name.lower().endswith(PARQUET) and not files.is_stream(output):
        check_parquet(output)
        if parts is not None:
            check_parts(output, parts)
    elif parts is not None:
        raise DataError(f"parts = {parts!r}: only Parquet has parts, name the output like results.parquet")
    else:
        files.check_suffix(output, files.ROWS, DataError)
    if structures is not None and not (
        structures.name.lower().endswith(_STRUCTURE_SUFFIXES) or files.is_stream(structures)
    ):
        raise DataError(
            f"structures are written as extended XYZ or as a database of ASE: {structures} must end in one of "
            f"{', '.join(_STRUCTURE_SUFFIXES)}"
        )


class ResultWriter:
    """Writes rows as CSV or Parquet and, on request, the evaluated structures as extended XYZ or into a database, a
    context.

    Both appear under their names when they are whole (:class:`etn_gpu.files.UnfinishedOutputs`).

    Attributes:
        progress: what the run that goes on had last noted, None for one that begins.

    Args:
        output: the file of rows.
        structures: the file of structures.
        more: names of further columns.
        parts: rows of each file of a folder of Parquet files; one file by default.
        unique: whether duplicates will be looked for, for which rows have their structures until all are there.
        identity: gives what must be the same for a run to go on.
        resume: go on with a run that was stopped.
        overwrite: whether files that exist are replaced.
        repeatable: whether `identity` says all that results depend on.
    """

    def __init__(
        self,
        output: Path,
        structures: Path | None = None,
        *,
        more: Sequence[str] = (),
        parts: int | None = None,
        unique: bool = False,
        identity: Callable[[], Mapping[str, Any]] = dict,
        resume: bool = False,
        overwrite: bool = False,
        repeatable: bool = False,
    ) -> None:
        self._unique, self._parts = unique, parts
        heading = csv_line([*(column.name for column in COLUMNS), *map(as_field, more), *[STRUCTURE] * unique])
        outputs = [files.Growing(output, "rows", heading)]
        if structures is not None:
            outputs.append(files.Growing(structures, "frames"))
        self._output, self._structures, self._number = output, structures, len(outputs)
        self._outputs = files.UnfinishedOutputs(
            outputs, identity, resume=resume, overwrite=overwrite, error=DataError, repeatable=repeatable
        )

    def __enter__(self) -> ResultWriter:
        self._outputs.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outputs.__exit__(kind, error, trace)

    @property
    def progress(self) -> dict[str, Any] | None:
        """What the run that goes on had last noted, None for one that begins."""
        return self._outputs.progress

    @property
    def whole(self) -> bool:
        """Whether the files are in their places."""
        return self._outputs.whole

    def check(self) -> bool:
        """What opening would refuse, other runs excepted; whether the run is whole and there is nothing to do.

        Raises:
            DataError: a file exists, or the run to go on with is another one.
        """
        return self._outputs.check()

    def rows(self, more: Sequence[ResultColumn]) -> Iterator[Row]:
        """The rows that were there when the run went on; ``more`` are further columns."""
        return read_rows(self._outputs.place(0), more, structures=self._unique)

    def places(self) -> list[Path]:
        """Where the files are: with the suffix ``.part`` until they are whole."""
        return [Path(self._outputs.place(number)) for number in range(self._number)]

    def write(self, lines: Sequence[str], frames: Sequence[str] | None) -> None:
        """Appends a batch: the lines of its rows, and the frames of structures that were evaluated, '' for others.

        Raises:
            DataError: the disk refuses, because it is full for instance. Both files then hold what there was room for.
        """
        row_file, *frame_files = self._outputs.files
        if not frame_files or frames is None:
            row_file.append(lines)
            return
        # Rows come last, so that one is never there without its structure, whenever the run is stopped.
        try:
            frame_files[0].append(frames)
        except DataError:
            with suppress(DataError):
                _append_rows(row_file, lines[: frame_files[0].appended], frame_files[0])
            raise
        _append_rows(row_file, lines, frame_files[0])

    def note(self, progress: Mapping[str, Any]) -> None:
        """Notes how far the run has come with all that was written, for one that goes on.

        Raises:
            DataError: the disk refuses.
        """
        self._outputs.note(progress)

    def finish(
        self,
        progress: Mapping[str, Any],
        hull: RunHull,
        more: Sequence[ResultColumn],
        show: Callable[[Row], None] | None = None,
        last: Callable[[], None] | None = None,
        duplicates: Duplicates | None = None,
    ) -> None:
        """Makes the file of rows with what depends on all of them, and puts the files in their places.

        Args:
            progress: as for :meth:`note`.
            hull: sees all rows.
            more: further columns.
            show: is shown all rows.
            duplicates: sees all rows, where duplicates are looked for.
            last: is called when all rows have been shown, and before the files are in their places.

        Raises:
            DataError: the disk refuses, or a file has appeared there meanwhile.
        """

        def make(part: str, whole: str) -> None:
            finish_rows(part, whole, self._output, more, hull, show, duplicates, self._parts)
            if last is not None:
                last()

        making: dict[int, files.Making] = {0: make}
        if self._structures is not None and self._structures.name.lower().endswith(DATABASE):
            making[1] = write_database
        self._outputs.finish(progress, making)


def _append_rows(rows: files.AppendedFile, lines: Sequence[str], structures: files.AppendedFile) -> None:
    """Rows whose structures were appended before; structures without their rows are taken back."""
    try:
        rows.append(lines)
    except BaseException:
        structures.keep(rows.appended)
        raise
