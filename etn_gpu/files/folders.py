"""A folder of numbered files as one output: made beside its place, and put there as a whole."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from etn_gpu.files.identity import AnyPath

__all__ = ["others_in", "part_name", "parts_in", "put_folder", "remove"]

_PART = re.compile(r"part-(\d{5,})\.\w+")


def part_name(number: int, suffix: str) -> str:
    """The name of a part, like ``part-00003.parquet``; in the order of names parts are in their order."""
    return f"part-{number:05d}{suffix}"


def parts_in(folder: AnyPath) -> list[str]:
    """Names of the parts in a folder, in order."""
    found = [(int(match[1]), match[0]) for match in map(_PART.fullmatch, os.listdir(folder)) if match]
    return [name for _, name in sorted(found)]


def others_in(folder: AnyPath) -> list[str]:
    """Names of what else is in a folder, but for hidden files, which readers of tables pass over."""
    return sorted(name for name in os.listdir(folder) if not _PART.fullmatch(name) and name[0] not in "._")


def put_folder(made: AnyPath, place: AnyPath) -> None:
    """Moves a folder of parts to its place. What was stopped on the way can be done again.

    Parts that are there are replaced, and further ones removed; all other files stay.

    Raises:
        OSError: the system refuses.
    """
    made, place = os.fspath(made), os.fspath(place)
    if not os.path.isdir(place):
        with suppress(FileNotFoundError):
            os.unlink(place)
        os.rename(made, place)
        return
    new = parts_in(made)
    if new:
        for name in parts_in(place):
            if _number(name) > _number(new[-1]):
                os.unlink(os.path.join(place, name))
    # The last one moves last, so that what is beyond it can be told at any time.
    for name in new:
        os.replace(os.path.join(made, name), os.path.join(place, name))
    os.rmdir(made)


def _number(name: str) -> int:
    match = _PART.fullmatch(name)
    return int(match[1]) if match else -1


def remove(path: AnyPath) -> None:
    """Removes a file, or a folder of parts with nothing else in it.

    Raises:
        OSError: it is not there, or the system refuses.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return
    for name in parts_in(path):
        os.unlink(os.path.join(path, name))
    os.rmdir(path)
