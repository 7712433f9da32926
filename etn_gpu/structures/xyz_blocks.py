"""Frames of extended XYZ from blocks of bytes: most are cut and read by compiled code, the others line by line."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

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
    def size(self) -> int:
        """The number of its atoms."""
        return self._row[ATOMS]

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


class Block(NamedTuple):
    """Bytes with the frames that were found at their beginning.

    offset: where the bytes are in the file; line: the number of their first line.
    """

    data: bytes
    scanned: Scanned
    offset: int
    line: int

    def frames(self) -> Iterator[BlockFrame]:
        """The frames, in order."""
        line, first = self.line, 0
        for row, cell in zip(self.scanned.frames.tolist(), self.scanned.cells, strict=False):
            yield BlockFrame(self.data, row, line, cell, first, self.scanned)
            line += row[ATOMS] + 2
            first += row[ATOMS]


class CutFrame:
    """A frame that was cut and not yet read: its block, where it begins and ends in it, its number in the stream from
    0, the line of its count from 1, and the number of its atoms."""

    __slots__ = ("begin", "block", "end", "index", "line", "size")

    def __init__(self, block: Block, begin: int, end: int, index: int, line: int, size: int) -> None:
        self.block, self.begin, self.end, self.index, self.line, self.size = block, begin, end, index, line, size


def block_frames(stream: BinaryIO) -> Iterator[RawFrame | BlockFrame]:
    """The frames of a stream as :func:`~etn_gpu.structures.xyz_frames.xyz_frames` cuts them, one at a time."""
    for found in _blocks(stream, numbers=True):
        if isinstance(found, Block):
            yield from found.frames()
        else:
            yield found


def cut_frames(stream: BinaryIO, offset: int = 0) -> Iterator[RawFrame | CutFrame]:
    """The same frames; those of blocks without their numbers, which whoever wants them reads from the bytes.

    `offset` is where the stream is in its file now.
    """
    index = 0
    for found in _blocks(stream, offset, numbers=False):
        if not isinstance(found, Block):
            yield found
            continue
        line = found.line
        for row in found.scanned.frames[:, [BEGIN, END, ATOMS]].tolist():
            begin, end, size = row
            yield CutFrame(found, begin, end, index, line, size)
            index += 1
            line += size + 2


def _blocks(stream: BinaryIO, offset: int = 0, *, numbers: bool) -> Iterator[RawFrame | Block]:
    """Blocks with the frames that compiled code is sure of, and then the frames behind them."""
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
        scanned = scan(data, numbers=numbers)
        found = len(scanned.frames)
        if found:
            yield Block(data, scanned, offset, line)
            line += int(scanned.frames[:, ATOMS].sum()) + 2 * found
        # A frame of many pieces must not be scanned again with each of them.
        enough = 2 * len(data) if not found and len(data) > _SMALL else 0
        offset += scanned.end
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
