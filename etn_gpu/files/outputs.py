"""What may be written: the one check for the outputs of every command, before any of them is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Hashable, Iterable, Sequence
from pathlib import Path

from etn_gpu.errors import EtnGpuError
from etn_gpu.files.folders import others_in
from etn_gpu.files.identity import AnyPath, identity, is_stream

__all__ = ["check_outputs", "check_replaced"]


def check_outputs(
    outputs: Sequence[AnyPath],
    inputs: Iterable[AnyPath],
    error: type[EtnGpuError],
    folders: Collection[AnyPath] = (),
) -> None:
    """Refuses outputs that cannot be written, or that would destroy an input or each other.

    Files are compared by :func:`~etn_gpu.files.identity.identity`, not by name.

    Args:
        outputs: all files that the run writes.
        inputs: all files that it reads, its model included.
        error: the class of the error.
        folders: outputs that are to be folders of parts.

    Raises:
        error: a folder does not exist, an output is a folder that is to be none, or one with other files in it, or is a
            device, is one of the inputs, is given twice, or is
            where standard output goes.
    """
    taken: dict[Hashable, str] = {identity(path): f"the input file {os.fspath(path)}" for path in inputs}
    for path in outputs:
        _check_place(path, error, folder=path in folders)
        if _discards(path):
            continue
        if other := taken.get(identity(path)):
            raise error(f"cannot write {os.fspath(path)}: it is {other}; choose another name")
        taken[identity(path)] = f"the output {os.fspath(path)} already"
        if not is_stream(path) and identity(path) in _standard_outputs():
            raise error(
                f"cannot write {os.fspath(path)}: what is printed goes there as well; choose another name, or print "
                "somewhere else"
            )


def check_replaced(outputs: Sequence[AnyPath], overwrite: bool, error: type[EtnGpuError], hint: str = "") -> None:
    """Refuses to replace files, unless that is wanted.

    Args:
        outputs: all files that the run writes.
        overwrite: whether files that exist may be replaced.
        error: the class of the error.
        hint: what else to do, a sentence without its full stop.

    Raises:
        error: some of the files exist, and `overwrite` is False.
    """
    existing = [os.fspath(path) for path in outputs if not is_stream(path) and os.path.exists(path)]
    if existing and not overwrite:
        verb, them = ("exists", "it") if len(existing) == 1 else ("exist", "them")
        more = f"; {hint}" if hint else ""
        raise error(
            f"{', '.join(existing)} {verb} already: choose another name, or replace {them} with --overwrite "
            f"(overwrite=True in Python){more}"
        )


def _check_place(path: AnyPath, error: type[EtnGpuError], *, folder: bool) -> None:
    name = os.fspath(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = 0
    except (OSError, ValueError) as problem:
        if not isinstance(problem, NotADirectoryError):
            raise error(f"cannot write {name}: {getattr(problem, 'strerror', None) or problem}") from problem
        mode = 0
    if folder and mode and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise error(f"cannot write {name}: it is a pipe or a device, and a folder is to be there")
    if folder and stat.S_ISDIR(mode):
        if others := others_in(path):
            raise error(
                f"cannot write {name}: the folder holds {others[0]}, which is no part of a table; choose another name"
            )
    elif stat.S_ISDIR(mode):
        raise error(f"cannot write {name}: it is a folder; give the name of a file")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise error(f"cannot write {name}: it is a device or a socket; give the name of a file")
    parent = Path(path).parent
    if not parent.is_dir():
        raise error(f"cannot write {name}: the folder {parent} does not exist; create it first")


def _discards(path: AnyPath) -> bool:
    """Whether a path is a device, /dev/null for instance, which may well be input and output at once."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _standard_outputs() -> set[Hashable]:
    """Identities of the files to which standard output and standard error are redirected."""
    found: set[Hashable] = set()
    for number in (1, 2):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found
