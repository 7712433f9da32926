"""The two files of a :class:`~etn_gpu.learning.labels.LabelStore`: their text, and what of it is whole.

A run that is killed, or a machine that loses its power, leaves at most an end that is not whole. Anything else that is
wrong was done by somebody, and is an error: nothing may be cut off that he wants to keep.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.errors import LearningError
from etn_gpu.learning.bare import structure_key
from etn_gpu.learning.labels import Failure, Label, Row
from etn_gpu.learning.structure_frames import structure_frame, structure_of
from etn_gpu.screening.frame_values import column, info_text
from etn_gpu.screening.text import as_cell
from etn_gpu.structures.units import matrix_from_voigt, voigt_from_matrix
from etn_gpu.structures.xyz_frames import RawFrame, xyz_frames
from etn_gpu.structures.xyz_parse import parse_frame

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["HEADING", "Tried", "frame_text", "read_frames", "read_table", "table_line"]

_COLUMNS = ("key", "round", "origin", "formula", "atoms", "status", "energy", "largest_force", "seconds", "message")
HEADING = ",".join(_COLUMNS) + "\n"
_LABELLED, _FAILED = "ok", "failed"
#: Arrays and entries of a frame that are the label.
_ENERGY, _FORCES, _STRESS = "REF_energy", "REF_forces", "REF_stress"


@dataclass(frozen=True)
class Tried:
    """A row of the table: a structure's key, and the failure if it is one."""

    key: str
    failure: Failure | None


def frame_text(row: Row) -> str:
    """A frame of extended XYZ, every number with all its digits."""
    label = row.label
    entries = [f"{_ENERGY}={label.energy!r}"]
    if label.stress is not None:
        entries.append(f'{_STRESS}="{" ".join(map(repr, matrix_from_voigt(label.stress).ravel().tolist()))}"')
    entries += [
        f"config_type={info_text(row.origin)}",
        f"round={row.round}",
        f"seconds={label.seconds!r}",
        f"key={info_text(row.key)}",
    ]
    return structure_frame(row.atoms, entries, {_FORCES: column(label.forces, len(row.atoms))})


def table_line(key: str, round: int, origin: str, atoms: Atoms, outcome: Label | Failure) -> str:
    """A row of the table."""
    row: list[Any] = [key, round, as_cell(origin), atoms.get_chemical_formula(), len(atoms)]
    if isinstance(outcome, Label):
        largest = float(np.sqrt(np.square(outcome.forces).sum(axis=1)).max(initial=0.0))
        row += [_LABELLED, repr(outcome.energy), f"{largest:.6g}", f"{outcome.seconds:.6g}", ""]
    else:
        row += [_FAILED, "", "", f"{outcome.seconds:.6g}", as_cell(outcome.message)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def read_frames(path: Path) -> tuple[list[Row], int]:
    """The labelled structures of a file, and the bytes that they take.

    Raises:
        LearningError: the file cannot be read, or a frame before its end is damaged or none of ours.
    """
    content = _content(path)
    # What follows the last line break is no whole line, whatever it looks like.
    text = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace")
    rows: list[Row] = []
    length = 0
    broken = ""
    for index, raw in enumerate(xyz_frames(io.StringIO(text, newline=""))):
        if broken and raw.fault is None:
            raise LearningError(
                f"{broken}; whole structures follow it. Repair or remove it, or begin in another folder"
            )
        found = _row(raw, index, path)
        if isinstance(found, str):
            broken = broken or found
        else:
            rows.append(found)
            length += len(raw.text.encode())
    return rows, length


def _row(raw: RawFrame, index: int, path: Path) -> Row | str:
    """What a frame holds, or what is wrong with it."""
    frame = parse_frame(raw, index, str(path))
    if frame.atoms is None:
        return str(frame.error).removesuffix(".")
    place = f"{path}, frame {index} (line {raw.line})"
    info, arrays = frame.atoms.info, frame.atoms.arrays
    try:
        stress = None if _STRESS not in info else voigt_from_matrix(np.reshape(info[_STRESS], (3, 3)))
        forces = np.array(arrays[_FORCES], dtype=np.float64).reshape(len(frame.atoms), 3)
        label = Label(float(info[_ENERGY]), forces, stress, float(info["seconds"]))
        key, round, origin = str(info["key"]), int(info["round"]), str(info["config_type"])
    except (KeyError, TypeError, ValueError) as error:
        return f"{place}: no label that was written here ({type(error).__name__}: {error})"
    atoms = structure_of(frame.atoms)
    if structure_key(atoms) != key:
        return f"{place}: the structure is not the one that was labelled; its numbers were changed"
    return Row(key, round, origin, atoms, label)


def read_table(path: Path, labelled: set[str]) -> tuple[list[Tried], int]:
    """The rows of a table, as far as they agree with the structures that have labels, and the bytes that they take.

    Of an empty file, or one of a part of the heading, that is 0.

    Raises:
        LearningError: the file cannot be read, or a row before its end is damaged or none of ours.
    """
    content = _content(path)
    if HEADING.encode().startswith(content):
        return [], len(HEADING) if len(content) == len(HEADING) else 0
    if not content.startswith(HEADING.encode()):
        raise LearningError(
            f"{path} is no table of labels: expected the heading {HEADING.strip()}. Choose another folder"
        )
    rows: list[Tried] = []
    length, damaged = len(HEADING), 0
    lines = content[length : content.rfind(b"\n") + 1].splitlines(keepends=True)
    for number, line in enumerate(lines, start=2):
        row = _tried(line.decode("utf-8", "replace"))
        if row is None:
            damaged = damaged or number
        elif damaged:
            raise LearningError(f"{path}, line {damaged}: no row of labels, and whole rows follow. Repair or remove it")
        elif row.failure is None and row.key not in labelled:
            break  # its frame was lost with the power: it will be labelled again
        else:
            rows.append(row)
            length += len(line)
    return rows, length


def _tried(line: str) -> Tried | None:
    try:
        fields = dict(zip(_COLUMNS, next(csv.reader([line], strict=True)), strict=True))
        seconds = float(fields["seconds"])
    except (csv.Error, StopIteration, ValueError):
        return None
    if fields["status"] not in (_LABELLED, _FAILED) or not math.isfinite(seconds) or len(fields["key"]) != 64:
        return None
    return Tried(fields["key"], Failure(fields["message"], seconds) if fields["status"] == _FAILED else None)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LearningError(f"cannot read {path}: {error.strerror or error}") from error
