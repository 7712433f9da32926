"""Standard output and standard error that never end a run: closed, full, without the characters, obeying names.

A run leaves its results in files; what is shown of them must not cost them. Text that cannot be written is lost, and
at the end the exit code says so, unless the reader of a pipe has gone, who wants no more (`... | head`).
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from etn_gpu.cli.console import UNEXPECTED
from etn_gpu.screening.text import harmless

__all__ = ["sturdy_streams"]

# What rich writes to style text and to redraw a bar; everything else that a terminal would obey is shown instead.
_OWN_CODES = re.compile(r"(\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]*A|[0-2]?K)|\r(?!\n))")
# The reader of a pipe has gone, the stream was closed, the terminal has gone.
_NO_READER = (errno.EPIPE, errno.EBADF, errno.EIO)


class SturdyStream:
    """A text stream whose `write` and `flush` do not fail; `error` is why there is nothing to write to any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Writes the text, with what a terminal would obey or the encoding lacks escaped."""
        if self.error is None:
            try:
                styled = self._stream.isatty() or "FORCE_COLOR" in os.environ
                self._stream.write(self._encodable(_without_codes(text) if styled else harmless(text)))
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Writes what is still in buffers."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _encodable(self, text: str) -> str:
        encoding = self._stream.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.encode(encoding, "backslashreplace").decode(encoding)
        return text

    def _give_up(self, error: OSError) -> None:
        self.error = error
        # What is in buffers would fail once more when the process ends.
        with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def sturdy_streams() -> Iterator[None]:
    """Inside, printing never fails. It also decorates a function.

    Raises:
        SystemExit: with code 3 in the place of 0 or 1 when standard output was lost for another reason than that
            nobody reads it, because a disk is full for instance.
    """
    _fill_standard_descriptors()
    before = sys.stdout, sys.stderr
    output, errors = (SturdyStream(stream or _nowhere()) for stream in before)
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", errors)
    try:
        try:
            yield
        finally:
            output.flush()
            errors.flush()
    except SystemExit as stop:
        if output.error is not None and output.error.errno not in _NO_READER and stop.code in (None, 0, 1):
            errors.write(f"Error: cannot write to standard output: {output.error.strerror}\n")
            errors.flush()
            raise SystemExit(UNEXPECTED) from None
        raise
    finally:
        sys.stdout, sys.stderr = before


def _without_codes(text: str) -> str:
    """Harmless text but for the codes of rich."""
    pieces = _OWN_CODES.split(text)  # every other piece is one
    pieces[::2] = map(harmless, pieces[::2])
    return "".join(pieces)


def _fill_standard_descriptors() -> None:
    """Where a standard stream is closed, the next file that is opened takes its number, and libraries write to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
