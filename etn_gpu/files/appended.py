"""A file that grows by whole records and holds nothing else, whatever happens between."""

from __future__ import annotations

import fcntl
import gzip
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from etn_gpu.errors import EtnGpuError
from etn_gpu.files.atomic import open_stream, write_all
from etn_gpu.files.identity import AnyPath, is_stream
from etn_gpu.files.locks import busy, take_lock
from etn_gpu.files.outputs import check_replaced

__all__ = ["AppendedFile"]

_LEVEL = 6  # of the compression; 9, the default, takes twice as long for a percent


class AppendedFile:
    """An output to which batches of records are appended, each at once and without a buffer.

    Opened, it is locked, and still holds what it held; :meth:`start` empties it, :meth:`go_on` keeps its beginning.
    When an append fails, the file keeps as many records of the batch as there is room for; when it is interrupted,
    none. With the suffix ``.gz`` every batch is a complete member of the compressed file, so that all batches can be
    read wherever the run was stopped.

    Attributes:
        appended: how many records of the last batch are in the file, empty ones included.

    Args:
        path: the file; pipes and devices are written to as they are.
        records: what it holds, for messages: "rows".
        overwrite: whether a file that exists may be replaced.
        error: the class of the errors.
        compressed: whether every batch is compressed; by default if the name ends in ``.gz``.

    Raises:
        error: the file exists and must not be replaced, another run is writing it, or it cannot be opened.
    """

    def __init__(
        self,
        path: AnyPath,
        records: str,
        *,
        overwrite: bool,
        error: type[EtnGpuError],
        compressed: bool | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.appended = 0
        self._records, self._error = records, error
        self._compressed = self.path.lower().endswith(".gz") if compressed is None else compressed
        self._count = 0
        self._before = 0  # length before the last batch
        self._batch: Sequence[str] = ()
        self._stream = is_stream(path)
        existed = os.path.exists(path)
        try:
            self._file = open_stream(path) if self._stream else self._open(overwrite)
        except OSError as problem:
            if isinstance(problem, FileExistsError):
                check_replaced([path], overwrite, error)
            raise error(f"cannot write {self.path}: {problem.strerror or problem}") from problem
        self._created = not (existed or self._stream)
        if not self._stream and not take_lock(self._file):
            os.close(self._file)
            raise error(busy(path))
        self._cuttable = self._is_cuttable()

    def start(self, heading: str = "") -> None:
        """Empties the file, and writes a heading that is no record.

        Raises:
            error: the system refuses.
        """
        try:
            if not self._stream:
                os.ftruncate(self._file, 0)
            self._write([heading])
        except OSError as problem:
            raise self._failed(problem) from problem

    def go_on(self, length: int, count: int) -> None:
        """Keeps the first `length` bytes, which hold `count` records, and appends behind them; for plain files only.

        Raises:
            error: the system refuses.
        """
        try:
            os.ftruncate(self._file, length)
            os.lseek(self._file, length, os.SEEK_SET)
        except OSError as problem:
            raise self._failed(problem) from problem
        self._count = count

    @property
    def count(self) -> int:
        """How many records are in the file, empty ones not counted."""
        return self._count

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file).st_size

    def sync(self) -> None:
        """Returns when the system has on its disk what was appended.

        Raises:
            error: it could not keep what it had accepted.
        """
        try:
            os.fsync(self._file)
        except OSError as problem:
            raise self._failed(problem) from problem

    def append(self, batch: Sequence[str]) -> None:
        """Appends records; empty ones do not count.

        Raises:
            error: the system refuses, because the disk is full for instance; the message says how many records in the
                file are whole.
        """
        self._batch, self.appended, self._before = batch, 0, os.fstat(self._file).st_size
        try:
            self._write(batch)
            self.appended = len(batch)
        except OSError as problem:
            self._write_what_fits(batch)
            self._count += self._counted()
            raise self._failed(problem) from problem
        self._count += self._counted()

    def keep(self, count: int) -> None:
        """Takes back the last batch but for its first `count` records, if that can be done.

        It cannot for a stream, nor for a part of what was compressed at once.
        """
        if not self._cuttable or count >= self.appended or (self._compressed and count):
            return
        self._count -= self._counted()
        self.appended = count
        self._count += self._counted()
        self._cut(self._before + len("".join(self._batch[:count]).encode("utf-8", "backslashreplace")))

    def close(self, *, complete: bool) -> None:
        """Closes the file; when it is `complete`, only after the system has it on its disk.

        Raises:
            error: the system could not keep what it had accepted.
        """
        try:
            try:
                if complete and self._cuttable:
                    os.fsync(self._file)
            finally:
                os.close(self._file)
        except OSError as problem:
            if complete:
                raise self._failed(problem) from problem

    def discard(self) -> None:
        """Closes the file and, if it was not there before, removes it."""
        if self._created:
            with suppress(OSError):
                os.unlink(os.path.realpath(self.path))
        with suppress(OSError):
            os.close(self._file)

    def _open(self, overwrite: bool) -> int:
        # Never truncated here: it may be another run's.
        new = 0 if overwrite else os.O_EXCL
        return os.open(os.path.realpath(self.path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | new, 0o666)

    def _is_cuttable(self) -> bool:
        """Whether the end of the file is this run's alone: it is a plain file, and nobody else appends to it."""
        shared = self._stream and fcntl.fcntl(self._file, fcntl.F_GETFL) & os.O_APPEND
        return stat.S_ISREG(os.fstat(self._file).st_mode) and not shared

    def _write(self, batch: Sequence[str]) -> None:
        """All of a batch, or nothing where the file can be cut."""
        # A name that is no valid text must not cost the results of its batch.
        content = "".join(batch).encode("utf-8", "backslashreplace")
        if not content:
            return
        if self._compressed:
            content = gzip.compress(content, _LEVEL, mtime=0)
        before = os.fstat(self._file).st_size
        try:
            write_all(self._file, content)
        except BaseException:
            self._cut(before)
            raise

    def _write_what_fits(self, batch: Sequence[str]) -> None:
        """The first records of a batch that did not fit as a whole, found by halves."""
        while len(batch) > 1 and self._cuttable:
            half = batch[: len(batch) // 2]
            try:
                self._write(half)
            except OSError:
                batch = half
            else:
                self.appended += len(half)
                batch = batch[len(half) :]

    def _counted(self) -> int:
        return sum(map(bool, self._batch[: self.appended]))

    def _cut(self, length: int) -> None:
        """Cuts the file, which needs no room on a full disk."""
        if self._cuttable:
            with suppress(OSError):
                os.ftruncate(self._file, length)
                os.lseek(self._file, length, os.SEEK_SET)

    def _failed(self, problem: OSError) -> EtnGpuError:
        return self._error(
            f"cannot write {self.path}: {problem.strerror or problem}; whole {self._records} in it: {self._count}"
        )
