"""Ranges of frames of a plain extended XYZ file, which are cut by one process and read by another."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame
from etn_gpu.structures.xyz_blocks import Block, CutFrame
from etn_gpu.structures.xyz_parse import parse_frame

__all__ = ["FrameRange", "frame_range"]

#: Stands for the count of the frame behind a range: without one, the last frame would not be known to be whole.
_NEXT_COUNT = b"1\n"


@dataclass(frozen=True)
class FrameRange:
    """Consecutive frames of a file as bytes.

    Attributes:
        path: where the file is.
        offset, length: the bytes of the frames.
        first, line: the number of the first frame, from 0, and of its first line, from 1.
        count: how many frames.
        checksum: of the bytes, as the process that cut them saw them.
    """

    path: str
    offset: int
    length: int
    first: int
    line: int
    count: int
    checksum: bytes

    def frames(self, source: str, species: Sequence[str] | None = None) -> Iterator[Frame]:
        """Reads the frames; `source` is what messages call the file, `species` names types.

        Raises:
            DataError: there is no such file here, or another one than that which was cut.
        """
        from etn_gpu.structures.xyz_scan import scan

        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as error:
            raise DataError(f"cannot be opened ({error.strerror or error}). {_REMEDY}", self._place) from error
        if _checksum([data]) != self.checksum:
            raise DataError(
                f"bytes {self.offset} to {self.offset + self.length} are not those that were cut into structures: the "
                f"file was changed meanwhile, or it is another one here. {_REMEDY}",
                self._place,
            )
        data += _NEXT_COUNT
        frames = Block(data, scan(data), self.offset, self.line).frames()
        yield from (parse_frame(raw, index, source, species) for index, raw in enumerate(frames, start=self.first))

    @property
    def _place(self) -> str:
        return f"{self.path} on {socket.gethostname()}"


_REMEDY = (
    "Workers read plain files of extended XYZ themselves: start them where the same file is under the same path, or "
    "compress it (gzip), and its structures are sent to them."
)


def frame_range(path: str, frames: Sequence[CutFrame]) -> FrameRange:
    """The range of consecutive frames of one file.

    Args:
        path: where others find the file.
        frames: one or more, in the order of the file.
    """
    pieces: list[bytes | memoryview] = []
    for _, some in groupby(frames, key=lambda frame: id(frame.block)):
        first, *others = some
        last = others[-1] if others else first
        pieces.append(memoryview(first.block.data)[first.begin : last.end])
    first = frames[0]
    length = sum(map(len, pieces))
    offset = first.block.offset + first.begin
    return FrameRange(path, offset, length, first.index, first.line, len(frames), _checksum(pieces))


def _checksum(pieces: Sequence[bytes | memoryview]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        found.update(piece)
    return found.digest()
