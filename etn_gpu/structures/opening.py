"""Bytes of structures, unpacked, wherever they come from: a file, a pipe, an archive of one file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, BinaryIO, TextIO, cast

from etn_gpu.errors import DataError
from etn_gpu.structures.content import PEEK, archive, byte_order_mark, compression, is_xyz
from etn_gpu.structures.frame import reason

#: What reading a damaged file may raise.
UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
              NotImplementedError)  # fmt: skip
STANDARD_INPUT = "-"
_DECOMPRESS: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_COMPRESSED = (".gz", ".bz2", ".xz")
_SUFFIXES = (*_COMPRESSED, ".zip", ".tar", ".tgz", ".tbz2", ".txz")
_MOST_LAYERS = 4
#: A broken stream gives what comes before the break only if read in small pieces.
_PIECE = 1024
#: Files that come along with structures in an archive.
_ASIDE = ("readme", "license", "licence", "thumbs.db", ".")
_ASIDE_SUFFIXES = (".md", ".pdf", ".png", ".py", ".html")
_SHOWN = 10


class InputFile:
    """A file of structures, opened once if it is a pipe and as often as needed if it is not.

    Compression (gzip, bzip2, xz) and archives (tar, zip) that hold a single file are seen through, by content, not by
    name, and as a stream; a byte order mark is left out.

    Attributes:
        source: what messages call it.
        name: its file name without the suffixes of packing, or that of the file in an archive.
        head: its first bytes, unpacked.

    Raises:
        DataError: it is no file that can be opened, it is empty, or an archive of several files.
    """

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self.name = path.name
        self._path = path
        self._kept: BinaryIO | None = None
        self._pipe: BinaryIO | None = None
        self._packed = False
        try:
            self._connect()
            with self._open(once=False) as stream:
                self.head = _read(stream, PEEK)
        except DataError:
            raise
        except FileNotFoundError:
            raise DataError("no such file.", str(path)) from None
        except UNREADABLE as error:
            raise DataError(f"cannot be read ({reason(error)}).", str(path)) from error
        except RuntimeError as error:  # a password
            raise DataError(f"cannot be read ({reason(error)}). Unpack it first.", str(path)) from error
        if not self.head:
            raise DataError("the file is empty; expected at least one structure.", str(path))
        self._mark = byte_order_mark(self.head)
        self.head = self.head[self._mark :]
        if path.suffix in _COMPRESSED and not (self._packed or is_xyz(self.head)):
            raise DataError(f"cannot be read (its name says {path.suffix}, its content is not so).", str(path))
        self.name = _without_packing(self.name)

    def _connect(self) -> None:
        if str(self._path) == STANDARD_INPUT:
            self._pipe = sys.stdin.buffer
        elif not stat.S_ISREG(self._path.stat().st_mode):
            self._pipe = self._path.open("rb")
        if self._pipe is None:
            return
        head = _read(self._pipe, PEEK)
        self._pipe = _Rejoined.buffered(head, self._pipe)
        if archive(head) or compression(head):
            self.keep()  # unpacking goes through the bytes more than once

    @property
    def begin(self) -> int | None:
        """Where the content of a plain file begins, whose bytes may be read at any place; None of any other."""
        return self._mark if self._pipe is None and self._kept is None and not self._packed else None

    def keep(self) -> None:
        """Copies a pipe to an anonymous file, so that it can be read again."""
        if self._pipe is None:
            return
        kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed when nobody reads it any more
        shutil.copyfileobj(self._pipe, kept)
        self._pipe, self._kept = None, cast("BinaryIO", kept)

    @contextmanager
    def binary(self) -> Iterator[BinaryIO]:
        """The unpacked bytes from the beginning; of a pipe that was not kept, once."""
        with self._open(once=True) as stream:
            _read(stream, self._mark)
            yield stream

    @contextmanager
    def text(self) -> Iterator[TextIO]:
        """The unpacked text from the beginning: a stray byte in some comment must not end a long file."""
        with self.binary() as stream:
            wrapper = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
            try:
                yield wrapper
            finally:
                wrapper.detach()

    @contextmanager
    def path(self) -> Iterator[Path]:
        """A plain file for readers that want one: itself, or an unpacked copy with its name that is then removed."""
        if self._pipe is None and self._kept is None and not self._packed and not self._mark:
            yield self._path
            return
        with tempfile.TemporaryDirectory(prefix="etn-gpu-") as folder:
            copy = Path(folder) / self.name
            with self.binary() as stream, copy.open("wb") as out:
                shutil.copyfileobj(stream, out)
            yield copy

    @contextmanager
    def _open(self, *, once: bool) -> Iterator[BinaryIO]:
        """The bytes as a stream, layer by layer of packing; a pipe is only looked into unless read for good."""
        if self._pipe is not None:
            if once:
                yield self._pipe
                return
            head = _read(self._pipe, PEEK)
            self._pipe = _Rejoined.buffered(head, self._pipe)
            yield io.BytesIO(head)
            return
        base = self._kept or self._path.open("rb")
        base.seek(0)
        layers: list[Any] = [] if base is self._kept else [base]
        try:
            stream: Any = base
            for _ in range(_MOST_LAYERS):
                head = _read(stream, PEEK) if stream is not base else _read(stream, 512)
                stream.seek(0)
                if (how := compression(head)) is not None:
                    stream = _DECOMPRESS[how](stream)
                elif (how := archive(head)) is not None:
                    stream = self._member(stream, how, layers)
                else:
                    break
                self._packed = True
                layers.append(stream)
            yield stream
        finally:
            for layer in reversed(layers):
                layer.close()

    def _member(self, stream: Any, how: str, layers: list[Any]) -> IO[bytes]:
        """The single file in an archive."""
        packed: Any
        if how == "zip":
            packed = zipfile.ZipFile(stream)
            names = [item.filename for item in packed.infolist() if not item.is_dir()]
        else:
            packed = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - closed with the other layers
            names = [item.name for item in packed if item.isfile()]
        layers.append(packed)
        inside = [name for name in names if _may_hold_structures(name)]
        if len(inside) != 1:
            shown = ", ".join(inside[:_SHOWN]) + (f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else "")
            what = f"{len(inside)} files ({shown})" if inside else "no file of structures"
            if inside and all(name.endswith(".npy") for name in inside):
                what += ", which are NumPy arrays,"
            if any(name.endswith(".pkl") for name in inside):
                what += ", some of them pickles, as PyTorch saves them,"
            raise DataError(
                f"a {how} archive with {what}: expected a single file of structures. Unpack it, and give the files "
                "that are meant.",
                self.source,
            )
        self.name = PurePath(inside[0]).name
        return cast("IO[bytes]", packed.open(inside[0]) if how == "zip" else packed.extractfile(inside[0]))


class _Rejoined(io.RawIOBase):
    """Bytes that were read already, and then the stream they come from."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head = head
        self._rest = rest

    @classmethod
    def buffered(cls, head: bytes, rest: BinaryIO) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(cls(head, rest), PEEK))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._rest.read1(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _read(stream: Any, size: int) -> bytes:
    """So many bytes, or fewer where the stream ends or breaks."""
    parts: list[bytes] = []
    try:
        while size > 0 and (part := stream.read(min(size, _PIECE))):
            parts.append(part)
            size -= len(part)
    except UNREADABLE:
        if not parts:
            raise
    return b"".join(parts)


def _without_packing(name: str) -> str:
    while PurePath(name).suffix.lower() in _SUFFIXES and PurePath(name).stem:
        name = PurePath(name).stem
    return name


def _may_hold_structures(name: str) -> bool:
    path = PurePath(name.lower())
    return not (path.name.startswith(_ASIDE) or path.suffix in _ASIDE_SUFFIXES or path.parts[0] == "__macosx")
