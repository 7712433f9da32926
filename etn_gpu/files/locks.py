"""One run at a time: advisory locks, which the system takes back from a process however it ends, by SIGKILL as well."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from etn_gpu.errors import EtnGpuError
from etn_gpu.files.identity import AnyPath, is_stream

__all__ = ["busy", "locked", "take_lock"]


def take_lock(file: int) -> bool:
    """Whether an open file is this process's alone from now on, until it is closed; True where there are no locks.

    Some network file systems have none; two runs on one output are then not seen.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # NFS has the second
        return False
    except OSError:
        return True
    return True


def busy(path: AnyPath) -> str:
    """The message for a file that another run holds."""
    return f"another run is writing {os.fspath(path)}: wait for its end, or choose another name"


@contextmanager
def locked(paths: Iterable[AnyPath], error: type[EtnGpuError]) -> Iterator[None]:
    """Keeps other runs from files that are replaced as a whole, which therefore cannot bear a lock themselves.

    A hidden empty file ``.NAME.lock`` beside each bears it. It is removed at the end; where a run was killed it stays,
    and does not matter.

    Raises:
        error: another run holds one of the files, or the folder cannot be written to.
    """
    with ExitStack() as held:
        for path in paths:
            if not is_stream(path):
                held.enter_context(_lock_file(path, error))
        yield


@contextmanager
def _lock_file(path: AnyPath, error: type[EtnGpuError]) -> Iterator[None]:
    target = Path(os.path.realpath(path))
    place = target.with_name(f".{target.name}.lock")
    file = _open_current(place, path, error)
    try:
        yield
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)
        os.close(file)


def _open_current(place: Path, path: AnyPath, error: type[EtnGpuError]) -> int:
    """The lock file, locked. One that another run removed between opening and locking protects nothing: once more."""
    while True:
        try:
            file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as problem:
            raise error(f"cannot write {os.fspath(path)}: {problem.strerror or problem}, at {place.name}") from problem
        if not take_lock(file):
            os.close(file)
            raise error(busy(path))
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(place), os.fstat(file)):
                return file
        os.close(file)
