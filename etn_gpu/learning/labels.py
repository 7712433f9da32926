"""What the teacher said, once and for all: labels in memory, and the folder that keeps them.

``labels.extxyz`` has a frame for every structure that has a label, ``labels.csv`` a row for every one that was tried. A
frame is written before its row, so that a run that is killed in between has lost nothing; what was half written is
cut off when the folder is opened again, and a missing row is made from its frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu import files
from etn_gpu.errors import LearningError
from etn_gpu.learning.bare import bare, structure_key

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Failure", "Label", "LabelStore", "Row"]


@dataclass(frozen=True, eq=False)
class Label:
    """Energy (eV), forces [n, 3] (eV/A), stress (eV/A^3, Voigt, tension positive) or None, and the seconds it took."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Why there is no label, and the seconds that it took to find out."""

    message: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Row:
    """A structure that has a label.

    Attributes:
        key: of the structure, see :func:`~etn_gpu.learning.bare.structure_key`.
        round: in which round of learning it was labelled.
        origin: where it came from; the ``config_type`` of its frame.
        atoms: the structure, without calculator and labels.
        label: what the teacher said.
    """

    key: str
    round: int
    origin: str
    atoms: Atoms
    label: Label


class LabelStore:
    """The labels of a folder; a context manager. No other run can open the folder meanwhile.

    Args:
        folder: where ``labels.extxyz`` and ``labels.csv`` are or will be.

    Raises:
        LearningError: the folder cannot be written, another run has it open, or one of the files is not what was
            written there, and for other reasons than that a run was killed.
    """

    def __init__(self, folder: Path) -> None:
        from etn_gpu.learning import label_files

        self.rows: list[Row] = []
        self.failures: dict[str, Failure] = {}
        self._labels: dict[str, Label] = {}
        self._format = label_files
        frames, table = folder / "labels.extxyz", folder / "labels.csv"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LearningError(f"cannot make the folder {folder}: {error.strerror or error}") from error
        self._frames = files.AppendedFile(frames, "labelled structures", overwrite=True, error=LearningError)
        try:
            self._table = files.AppendedFile(table, "rows", overwrite=True, error=LearningError)
            try:
                self._read(frames, table)
            except BaseException:
                self._table.close(complete=False)
                raise
        except BaseException:
            self._frames.close(complete=False)
            raise

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; another run may open the folder."""
        try:
            self._frames.close(complete=False)
        finally:
            self._table.close(complete=False)

    @staticmethod
    def key(atoms: Atoms) -> str:
        """What tells a structure from others, bit for bit."""
        return structure_key(atoms)

    def find(self, key: str) -> Label | Failure | None:
        """What came of a structure, None if it was not tried."""
        return self._labels.get(key) or self.failures.get(key)

    def add(self, atoms: Atoms, outcome: Label | Failure, *, round: int, origin: str) -> None:
        """Keeps what came of a structure; it is on the disk when this returns.

        Raises:
            LearningError: the structure has a label already, or the system refuses, because the disk is full perhaps.
        """
        key = structure_key(atoms)
        if key in self._labels:
            raise LearningError(f"the structure {key[:12]} has a label already: look for it with find first")
        structure = bare(atoms)
        if isinstance(outcome, Label):
            row = Row(key, round, origin, structure, outcome)
            self._frames.append([self._format.frame_text(row)])
            self._frames.sync()
            self._remember(row)
        else:
            self.failures[key] = outcome
        self._table.append([self._format.table_line(key, round, origin, structure, outcome)])
        self._table.sync()

    def _remember(self, row: Row) -> None:
        self.rows.append(row)
        self._labels[row.key] = row.label
        self.failures.pop(row.key, None)

    def _read(self, frames: Path, table: Path) -> None:
        """Takes what the files hold, and leaves them with that and nothing else."""
        whole_frames, length = self._format.read_frames(frames)
        tried, table_length = self._format.read_table(table, {row.key for row in whole_frames})
        self.failures.update((one.key, one.failure) for one in tried if one.failure is not None)
        for row in whole_frames:
            if row.key in self._labels:
                raise LearningError(
                    f"{frames}: the structure {row.key[:12]} is there twice; remove one of the two frames"
                )
            self._remember(row)
        self._frames.go_on(length, len(whole_frames))
        if table_length:
            self._table.go_on(table_length, len(tried))
        else:
            self._table.start(self._format.HEADING)
        with_row = {one.key for one in tried if one.failure is None}
        missing = [row for row in whole_frames if row.key not in with_row]
        self._table.append([self._format.table_line(r.key, r.round, r.origin, r.atoms, r.label) for r in missing])
