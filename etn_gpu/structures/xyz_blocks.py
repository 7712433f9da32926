"""Frames of extended XYZ from blocks of bytes: most are cut and read by compiled code, the others line by line."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.opening import UNREADABLE
from etn_gpu.structures.xyz_frames import RawFrame, xyz_frames
from etn_gpu.structures.xyz_table import (
    ATOMS,
    BEGIN,
    END,
    FIRST,
    HEADER,
    HEADER_END,
    READ,
    REST,
    ROWS,
    WORDS,
    Scanned,
)

_BLOCK, _SMALL = 1 << 17, 1 << 16
#: Frames that are larger are read line by line.
_LARGEST = 1 << 23


class BlockFrame:
    """A frame in a block; what :class:`~etn_gpu.structures.xyz_frames.RawFrame` has, made when it is asked for.

    Attributes:
        line: the line of its count, from 1.
        rest: its header behind a lattice that was read, from the closing quote on; None without.
        cell: that lattice, [9].
        numbers: atomic numbers of its atoms; None where they or other numbers were not read.
        values: the numbers of its atom lines, [n, k], without the words at their beginning.
    """

    __slots__ = ("_data", "_row", "cell", "line", "numbers", "rest", "values")
    fault: str | None = None
    ends = False

    def __init__(
        self, data: bytes, row: Sequence[int], line: int, cell: NDArray[np.float64], first: int, scanned: Scanned
    ) -> None:
        self._data, self._row, self.line, self.cell = data, row, line, cell
        self.rest = data[row[REST] : row[HEADER_END]] if row[REST] else None
        self.numbers = self.values = None
        if row[READ]:
            n, k = row[ATOMS], row[WORDS] - 1
            self.numbers = scanned.numbers[first : first + n]
            self.values = scanned.values[row[FIRST] : row[FIRST] + n * k].reshape(n, k)

    @property
    def header(self) -> str:
        """The second line."""
        return self._text(HEADER, HEADER_END)

    @property
    def words(self) -> list[list[str]]:
        """The words of the atom lines."""
        return [line.split() for line in self._text(ROWS, END).splitlines()]

    @property
    def text(self) -> str:
        """The frame from its count line on."""
        return self._text(BEGIN, END)

    def _text(self, begin: int, end: int) -> str:
        return self._data[self._row[begin] : self._row[end]].decode("utf-8", "replace")


def block_frames(stream: BinaryIO) -> Iterator[RawFrame | BlockFrame]:
    """The frames of a stream as :func:`~etn_gpu.structures.xyz_frames.xyz_frames` cuts them, one at a time."""
    from etn_gpu.structures.xyz_scan import scan

    data, line, error, more, enough = b"", 1, None, True, 0
    while more:
        try:
            piece = stream.read1(max(_BLOCK, len(data)))  # type: ignore[attr-defined]
        except UNREADABLE as problem:
            piece, error = b"", problem
        data += piece
        if piece and len(data) < enough:
            continue
        scanned = scan(data)
        first = 0
        for row, cell in zip(scanned.frames.tolist(), scanned.cells, strict=False):
            yield BlockFrame(data, row, line, cell, first, scanned)
            line += row[ATOMS] + 2
            first += row[ATOMS]
        # A frame of many pieces must not be scanned again with each of them.
        enough = 2 * len(data) if not first and len(data) > _SMALL else 0
        data = data[scanned.end :]
        more = bool(piece) and not scanned.doubt and len(data) < _LARGEST
    rest: Any = io.BufferedReader(_Rest(data, stream, error))
    yield from xyz_frames(io.TextIOWrapper(rest, encoding="utf-8", errors="replace"), line)


class _Rest(io.RawIOBase):
    """Bytes that were read already, and then the stream they come from, or its error."""

    def __init__(self, data: bytes, stream: BinaryIO, error: Exception | None) -> None:
        self._data, self._stream, self._error = memoryview(data), stream, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if len(self._data):
            data: Any = self._data[: len(buffer)]
            self._data = self._data[len(data) :]
        elif self._error is not None:
            raise self._error
        else:
            data = self._stream.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(data)] = data
        return len(data)
