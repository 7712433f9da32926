"""Output files that are valid at any moment: whole rows and whole frames, written and flushed batch by batch."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from etn_gpu.errors import DataError
from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.frames import FrameWriter
from etn_gpu.screening.rows import COLUMNS, Row

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["ResultWriter", "check_outputs"]

_STRUCTURE_SUFFIXES = (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz")


def check_outputs(output: Path, structures: Path | None, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuses outputs that cannot be written or that would destroy an input.

    Raises:
        DataError: the folder of an output does not exist, an output is a folder, is one of the inputs or is given
            twice, or the structures are asked for in another format than extended XYZ.
    """
    if structures is not None and not structures.name.lower().endswith(_STRUCTURE_SUFFIXES):
        raise DataError(
            f"structures are written as extended XYZ: {structures} must end in one of {', '.join(_STRUCTURE_SUFFIXES)}"
        )
    taken = {Path(path).resolve(): f"the input file {os.fspath(path)}" for path in inputs}
    for path in (output, structures):
        if path is None:
            continue
        if path.is_dir():
            raise DataError(f"cannot write {path}: it is a folder; give the name of a file")
        if not path.parent.is_dir():
            raise DataError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
        if other := taken.get(path.resolve()):
            raise DataError(f"cannot write {path}: it is {other}; choose another name")
        taken[path.resolve()] = "an output already"


class ResultWriter:
    """Writes rows as CSV and, on request, the evaluated structures as extended XYZ. Existing files are overwritten."""

    def __init__(self, output: Path, structures: Path | None = None) -> None:
        self._paths = (output, structures)
        self._frames = FrameWriter()
        self._files = ExitStack()
        self._rows: TextIO
        self._structures: TextIO | None = None

    def __enter__(self) -> ResultWriter:
        output, structures = self._paths
        with ExitStack() as files:
            self._rows = files.enter_context(_open(output))
            if structures is not None:
                self._structures = files.enter_context(_open(structures))
            self._files = files.pop_all()
        _append(self._rows, _csv_text([COLUMNS]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    @property
    def notes(self) -> Counter[str]:
        """What the written structures lack or have under another name, and in how many frames."""
        return self._frames.notes

    def write(self, rows: Sequence[Row], structures: Sequence[Atoms | None], outcomes: Sequence[Outcome]) -> None:
        """Appends a batch and flushes it: its rows, and the structures that were evaluated.

        Raises:
            DataError: the disk refuses, because it is full for instance.
        """
        if self._structures is not None:
            batch = zip(rows, structures, outcomes, strict=True)
            frames = (self._frames.text(row, atoms, outcome) for row, atoms, outcome in batch if atoms is not None)
            _append(self._structures, "".join(frames))
        # Last, so that a row is never there without its structure, whenever the run is stopped.
        _append(self._rows, _csv_text(row.as_fields() for row in rows))


def _open(path: Path) -> TextIO:
    try:
        if path.name.lower().endswith(".gz"):
            return gzip.open(path, "wt", encoding="utf-8")
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def _append(file: TextIO, text: str) -> None:
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        raise DataError(f"cannot write {file.name}: {error.strerror or error}") from error


def _csv_text(records: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(records)
    return text.getvalue()
