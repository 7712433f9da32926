"""Cutting a stream of (extended) XYZ into frames, so that one broken frame does not cost those after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etn_gpu.structures.opening import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

_MOST_CELL_LINES = 3
#: A longer number counts no atoms.
_MOST_DIGITS = 15
#: Nor is a longer line one of a frame; an archive may hold one that would fill the memory.
_LONGEST_LINE = 1 << 24


@dataclass(frozen=True)
class RawFrame:
    """The text of one frame from its count line on, or what is wrong with it; line numbers count from 1.

    `ends`: the stream breaks here, whatever frames there may be behind.
    """

    line: int
    text: str
    fault: str | None = None
    ends: bool = False


def xyz_frames(stream: TextIO) -> Iterator[RawFrame]:
    """The frames of an XYZ stream, one at a time.

    A frame is a line with the number of atoms, a comment and one line per atom, then perhaps ASE's VEC1..VEC3 cell
    lines. No atom line is a lone integer, so a lone integer always starts the next frame: that is where reading goes on
    after a frame with too few or too many atom lines. A line after the last atom with as many columns as the atoms is
    one atom too many; any other line there is a frame whose count is lost. Blank lines between frames are skipped.

    Where the stream cannot be read any more, as that of a compressed file that was cut, its error is raised, after the
    frames that are whole.
    """
    lines = _Lines(stream)
    while (line := lines.take()) is not None:
        start = lines.number
        if not line.strip():
            continue
        if not _is_count(line):
            lines.skip_to_count()
            yield RawFrame(start, line, f"expected the number of atoms, found {_quoted(line)}")
            continue
        n_atoms, body = int(line), [line]
        comment = lines.take()
        body.append("\n" if comment is None else comment)
        rows = lines.take_rows(n_atoms)
        n_rows = len(rows)
        body += rows
        while len(body) < n_atoms + 2 + _MOST_CELL_LINES and (lines.peek() or "").lstrip().startswith("VEC"):
            body.append(lines.take() or "")
        fault = None
        if n_rows < n_atoms:
            lines.require_readable()
            fault = f"expected {n_atoms} atom lines as its count says, found {n_rows}"
        elif n_rows and _n_columns(lines.peek()) == _n_columns(body[1 + n_rows]):
            extra = lines.skip_to_count()
            fault = f"expected {n_atoms} atom lines as its count says, found {n_rows + extra}"
        yield RawFrame(start, "".join(body), fault)
    lines.require_readable()


class _Lines:
    """A stream of lines with one line of lookahead and a line number."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ahead: str | None = None
        self._error: Exception | None = None
        self.number = 0

    def peek(self) -> str | None:
        """The next line, left in place; None at the end, or where the stream cannot be read any more."""
        if self._ahead is None and self._error is None:
            try:
                self._ahead = self._stream.readline(_LONGEST_LINE) or None
            except UNREADABLE as error:
                self._error = error
        return self._ahead

    def require_readable(self) -> None:
        """Raises the error that the stream has come to, if any."""
        if self._error is not None:
            raise self._error

    def take(self) -> str | None:
        """The next line; None at the end."""
        line = self.peek()
        self._ahead = None
        self.number += line is not None
        return line

    def take_rows(self, most: int) -> list[str]:
        """The next lines up to a count line or the end, at most so many."""
        rows: list[str] = []
        line, readline = self.peek(), self._stream.readline
        try:
            while line is not None and len(rows) < most and not _is_count(line):
                rows.append(line)
                line = None
                line = readline(_LONGEST_LINE) or None
        except UNREADABLE as error:
            self._error = error
        self._ahead = line
        self.number += len(rows)
        return rows

    def skip_to_count(self) -> int:
        """Drop lines up to the next count line or the end; how many were not blank."""
        dropped = 0
        while (line := self.peek()) is not None and not _is_count(line):
            dropped += bool(line.strip())
            self.take()
        return dropped


def _is_count(line: str) -> bool:
    text = line.strip()
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def _n_columns(line: str | None) -> int:
    return len((line or "").split())


def _quoted(line: str) -> str:
    text = line.strip()
    return repr(text if len(text) <= 40 else text[:37] + "...")
