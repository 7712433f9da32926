"""Cutting a stream of (extended) XYZ into frames, so that one broken frame does not cost those after it."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from etn_gpu.structures.opening import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

_MOST_CELL_LINES = 3
#: A longer number counts no atoms.
_MOST_DIGITS = 15
#: Nor is a longer line one of a frame; an archive may hold one that would fill the memory.
_LONGEST_LINE = 1 << 24


#: Lines that are read at once: a wrong count must not bring a whole file into memory.
_PIECE = 1024


class RawFrame(NamedTuple):
    """The lines of one frame from its count line on, or what is wrong with it; line numbers count from 1.

    `words` are those of the atom lines; empty with VEC lines behind them. `ends`: the stream breaks here, whatever
    frames there may be behind.
    """

    line: int
    lines: Sequence[str]
    words: Sequence[Sequence[str]] = ()
    fault: str | None = None
    ends: bool = False

    @property
    def size(self) -> int:
        """1: how many atoms it was to have is not looked at, it may be a wrong count."""
        return 1

    @property
    def header(self) -> str:
        """The second line."""
        return self.lines[1].rstrip("\n")

    @property
    def text(self) -> str:
        """The lines in one piece."""
        return "".join(self.lines)


def xyz_frames(stream: TextIO, first_line: int = 1) -> Iterator[RawFrame]:
    """The frames of an XYZ stream, one at a time; the number of its first line is given.

    A frame is a line with the number of atoms, a comment and one line per atom, then perhaps ASE's VEC1..VEC3 cell
    lines. No atom line is a lone integer, so a lone integer always starts the next frame: that is where reading goes on
    after a frame with too few or too many atom lines. A line after the last atom with as many columns as the atoms is
    one atom too many; any other line there is a frame whose count is lost. Blank lines between frames are skipped.

    Where the stream cannot be read any more, as that of a compressed file that was cut, its error is raised, after the
    frames that are whole.
    """
    lines = _Lines(stream, first_line - 1)
    while (line := lines.take()) is not None:
        start = lines.number
        if not line.strip():
            continue
        if not _is_count(line):
            lines.skip_to_count()
            yield RawFrame(start, (line,), fault=f"expected the number of atoms, found {_quoted(line)}")
            continue
        n_atoms, body = int(line), [line]
        comment = lines.take()
        body.append("\n" if comment is None else comment)
        words = lines.take_rows(n_atoms, body)
        n_rows = len(words)
        last = words[-1:]
        while len(body) < n_atoms + 2 + _MOST_CELL_LINES and (lines.peek() or "").lstrip().startswith("VEC"):
            body.append(lines.take() or "")
            words = []
        fault = None
        if n_rows < n_atoms:
            lines.require_readable()
            fault = f"expected {n_atoms} atom lines as its count says, found {n_rows}"
        elif n_rows and _n_columns(lines.peek()) == len(last[0]):
            extra = lines.skip_to_count()
            fault = f"expected {n_atoms} atom lines as its count says, found {n_rows + extra}"
        yield RawFrame(start, body, words, fault)
    lines.require_readable()


class _Lines:
    """A stream of lines with lookahead and a line number."""

    def __init__(self, stream: TextIO, number: int) -> None:
        self._lines = iter(partial(stream.readline, _LONGEST_LINE), "")
        self._ahead: deque[str] = deque()
        self._error: Exception | None = None
        self.number = number

    def peek(self) -> str | None:
        """The next line, left in place; None at the end, or where the stream cannot be read any more."""
        return self._ahead[0] if self._ahead or self._read(1, self._ahead) else None

    def _read(self, most: int, into: deque[str] | list[str]) -> bool:
        """Adds lines of the stream, at most so many, also those before an error; whether there were any."""
        if self._error is None:
            try:
                into.extend(islice(self._lines, most))
            except UNREADABLE as error:
                self._error = error
        return bool(into)

    def require_readable(self) -> None:
        """Raises the error that the stream has come to, if any."""
        if self._error is not None:
            raise self._error

    def take(self) -> str | None:
        """The next line; None at the end."""
        if self.peek() is None:
            return None
        self.number += 1
        return self._ahead.popleft()

    def take_rows(self, most: int, body: list[str]) -> list[list[str]]:
        """Adds the next lines up to a count line or the end, at most so many, to `body`; their words."""
        found: list[list[str]] = []
        while len(found) < most:
            size = min(most - len(found), _PIECE)
            rows = [self._ahead.popleft() for _ in range(min(size, len(self._ahead)))]
            self._read(size - len(rows), rows)
            words = [row.split() for row in rows]
            # A count is a single word, so that few lines have to be looked at more closely.
            if min(map(len, words), default=2) < 2:
                end = next((k for k, row in enumerate(rows) if _is_count(row)), len(rows))
                self._ahead.extendleft(reversed(rows[end:]))
                del rows[end:], words[end:]
            body += rows
            found += words
            if len(rows) < size:
                break
        self.number += len(found)
        return found

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
