"""Output files that are valid at any moment: whole rows and whole frames, written batch by batch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from etn_gpu import files
from etn_gpu.errors import DataError
from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.frames import FrameWriter
from etn_gpu.screening.rows import COLUMNS, Row, csv_line

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["ResultWriter", "check_outputs"]

_STRUCTURE_SUFFIXES = (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz")


def check_outputs(
    output: Path, structures: Path | None, inputs: Iterable[str | os.PathLike[str]], *, overwrite: bool = False
) -> None:
    """Refuses outputs that cannot be written or that would destroy something.

    Raises:
        DataError: the folder of an output does not exist, an output is a folder, is one of the inputs, is given twice
            or exists without `overwrite`, its name promises another format than CSV, or the structures are asked for
            in another format than extended XYZ.
    """
    outputs = [output] if structures is None else [output, structures]
    files.check_outputs(outputs, inputs, DataError)
    files.check_suffix(output, files.ROWS, DataError)
    if structures is not None and not (
        structures.name.lower().endswith(_STRUCTURE_SUFFIXES) or files.is_stream(structures)
    ):
        raise DataError(
            f"structures are written as extended XYZ: {structures} must end in one of {', '.join(_STRUCTURE_SUFFIXES)}"
        )
    files.check_replaced(outputs, overwrite, DataError)


class ResultWriter:
    """Writes rows as CSV and, on request, the evaluated structures as extended XYZ.

    Files that exist are replaced with `overwrite` only. Another run that has one of them is an error, before anything
    is changed.
    """

    def __init__(self, output: Path, structures: Path | None = None, *, overwrite: bool = False) -> None:
        self._paths = (output, structures)
        self._overwrite = overwrite
        self._frames = FrameWriter()
        self._rows: files.AppendedFile
        self._structures: files.AppendedFile | None = None

    def __enter__(self) -> ResultWriter:
        output, structures = self._paths
        opened: list[files.AppendedFile] = []
        try:
            for path, records in ((output, "rows"), (structures, "frames")):
                if path is not None:
                    opened.append(files.AppendedFile(path, records, overwrite=self._overwrite, error=DataError))
            for file, heading in zip(opened, (csv_line(COLUMNS), ""), strict=False):
                file.start(heading)
        except BaseException:
            for file in opened:
                file.discard()
            raise
        self._rows, self._structures = opened[0], opened[1] if structures is not None else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error all that is whole has been written, and a second error would only hide the first.
        try:
            self._rows.close(complete=kind is None)
        finally:
            if self._structures is not None:
                self._structures.close(complete=kind is None)

    @property
    def notes(self) -> Counter[str]:
        """What the written structures lack or have under another name, and in how many frames."""
        return self._frames.notes

    def write(self, rows: Sequence[Row], structures: Sequence[Atoms | None], outcomes: Sequence[Outcome]) -> None:
        """Appends a batch: its rows, and the structures that were evaluated.

        Raises:
            DataError: the disk refuses, because it is full for instance. Both files then hold what there was room for.
        """
        lines = [csv_line(row.as_fields()) for row in rows]
        if self._structures is None:
            self._rows.append(lines)
            return
        frames = self._frames.texts(rows, structures, outcomes)
        # Rows come last, so that one is never there without its structure, whenever the run is stopped.
        try:
            self._structures.append(frames)
        except DataError:
            with suppress(DataError):
                self._append_rows(lines[: self._structures.appended], self._structures)
            raise
        self._append_rows(lines, self._structures)

    def _append_rows(self, lines: Sequence[str], structures: files.AppendedFile) -> None:
        """Rows whose structures were appended before; structures without their rows are taken back."""
        try:
            self._rows.append(lines)
        except BaseException:
            structures.keep(self._rows.appended)
            raise
