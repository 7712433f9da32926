"""A file that appears in one piece: until it is complete, a file of that name stays as it was."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from etn_gpu.errors import EtnGpuError
from etn_gpu.files.identity import AnyPath, descriptor, is_stream

__all__ = ["open_stream", "permissions", "write_all", "write_atomically"]


def write_atomically(
    path: AnyPath, content: bytes, error: type[EtnGpuError], what: str = "", *, temporary: AnyPath | None = None
) -> None:
    """Writes a whole file, over one that exists, and leaves nothing else behind.

    Symbolic links are followed. A new file has the permissions that the umask leaves, one that is replaced keeps its
    own. A pipe, a terminal or ``/dev/null`` is written to as it is.

    Args:
        path: the file.
        content: what it is to hold.
        error: the class of the error.
        what: what the file is, for the message: "the checkpoint".
        temporary: a file beside it that nobody else uses, of which a killed run leaves one at most; by default one of a
            random name.

    Raises:
        error: the file cannot be written; what was there is as it was.
    """
    try:
        if is_stream(path):
            file = open_stream(path)
            try:
                write_all(file, content)
            finally:
                os.close(file)
        else:
            _replace(Path(os.path.realpath(path)), content, temporary)
    except OSError as problem:
        name = f"{what} {os.fspath(path)}".lstrip()
        raise error(f"cannot write {name}: {problem.strerror or problem}") from problem


def open_stream(path: AnyPath) -> int:
    """A pipe, a device or an open file, opened for writing; the file that stands for ``/dev/stdout`` is its own copy.

    A copy shares its place with the original, so that what both write follows on one another.
    """
    number = descriptor(path)
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC) if number is None else os.dup(number)


def write_all(file: int, content: bytes) -> None:
    """Writes all of `content`, in as many steps as the system wants."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _replace(path: Path, content: bytes, own: AnyPath | None) -> None:
    mode = permissions(path)
    # of its own length, so that a name may be as long as the file system allows
    temporary = path.with_name(f".etn_gpu-{secrets.token_hex(8)}.tmp") if own is None else Path(own)
    try:
        with temporary.open("xb" if own is None else "wb") as file:
            file.write(content)
            file.flush()
            if mode is not None:
                with suppress(OSError):  # file systems without permissions
                    os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def permissions(path: AnyPath) -> int | None:
    """The permissions of a file that is there; one that may not be written must not be replaced either.

    Raises:
        PermissionError: it may not be written.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(found.st_mode) and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return stat.S_IMODE(found.st_mode)
