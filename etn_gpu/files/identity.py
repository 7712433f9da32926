"""Which file a path means: through hard links, symbolic links, ``..``, and upper and lower case."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Hashable

__all__ = ["AnyPath", "descriptor", "identity", "is_stream"]

AnyPath = str | os.PathLike[str]

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/([0-9]+)")


def identity(path: AnyPath) -> Hashable:
    """Equal for two paths if they mean one file.

    A file that exists is known by its device and number. One that does not is known by its folder and its name, in
    which case and the composition of letters do not count: on some file systems they make no second file.
    """
    try:
        status = os.stat(path)
    except OSError:
        folder, name = os.path.split(os.path.realpath(path))
        return identity(folder), unicodedata.normalize("NFC", name).casefold()
    return status.st_dev, status.st_ino


def descriptor(path: AnyPath) -> int | None:
    """The open file that a path like ``/dev/stdout`` or ``/dev/fd/3`` stands for; None for any other path."""
    text = os.path.normpath(os.fspath(path))
    numbered = _NUMBERED.fullmatch(text)
    return int(numbered[1]) if numbered else _STANDARD.get(text)


def is_stream(path: AnyPath) -> bool:
    """Whether what is written to a path goes on elsewhere: to a pipe, a terminal, ``/dev/null`` or an open file.

    There is nothing at such a path that could be replaced, and nothing that a second writer could not share.
    """
    if descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
