"""The folder where compiled models are kept: private, because what lies in it is run.

Whoever can write a file there runs code as this user. So the folder and each file must belong to this user or to root,
and nobody else may write them; a folder that is made here has the mode 0700. Checksums in the files find accidents,
such as a write that was cut short. They are no protection from somebody who writes a file on purpose: permissions are.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from etn_gpu.errors import CacheError

ENVIRONMENT_VARIABLE = "ETN_GPU_CACHE"
#: Opening anything but a regular file neither follows it elsewhere nor waits for its other end.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def folder() -> Path:
    """The folder named by ETN_GPU_CACHE, else ``etn_gpu`` in the user's cache folder.

    Raises:
        FileNotFoundError: this user has no home.
    """
    if given := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "etn_gpu"
    try:
        return Path.home() / ".cache" / "etn_gpu"
    except RuntimeError as error:
        raise FileNotFoundError(f"{error}: set {ENVIRONMENT_VARIABLE} to a folder for compiled models") from error


def read(name: str) -> bytes | None:
    """Content of the file ``name`` in the folder; None where there is no regular file that can be read.

    Raises:
        CacheError: others can write the folder or the file.
    """
    with suppress(OSError), _opened(folder()) as directory:
        descriptor = os.open(name, _READ, dir_fd=directory)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                _check(folder() / name, status)
                with open(descriptor, "rb", closefd=False) as file:
                    return file.read()
        finally:
            os.close(descriptor)
    return None


def write(name: str, content: bytes) -> Path:
    """Write the file ``name`` of the folder, which is made if need be, as a whole or not at all; its path.

    Raises:
        OSError: it cannot be written.
        CacheError: others can write the folder.
    """
    make_private(folder())
    temporary = f".{name}.{secrets.token_hex(8)}"
    with _opened(folder()) as directory:
        descriptor = os.open(temporary, _CREATE, 0o600, dir_fd=directory)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # whatever the umask
                file.write(content)
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
    return folder() / name


def make_private(path: Path) -> None:
    """Make a folder, and those above it that are missing, with the mode 0700 whatever the umask.

    Raises:
        OSError: it cannot be made.
    """
    for part in (*reversed(path.parents), path):
        if not part.is_dir():
            with suppress(FileExistsError):  # another process was faster
                part.mkdir(mode=0o700)
                part.chmod(0o700)


def check_folder(path: Path) -> None:
    """
    Raises:
        CacheError: others can write a folder, or put another one in its place.
        OSError: it cannot be opened.
    """
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A folder, checked; names looked up in the descriptor are in this very folder, whatever is renamed meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(descriptor))
        for parent in {*path.absolute().parents, *path.resolve().parents}:
            status = parent.stat()
            if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
                raise CacheError(
                    f"{path} holds machine code that is run, and everybody can put another folder in its place: "
                    f"{parent} has mode {stat.S_IMODE(status.st_mode):04o}. Run `chmod o-w {parent}` or "
                    f"`chmod +t {parent}`, or set {ENVIRONMENT_VARIABLE} to a folder of your own."
                )
        yield descriptor
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result) -> None:
    """
    Raises:
        CacheError: somebody other than this user and root can write a folder or file.
    """
    user, mode = os.geteuid(), stat.S_IMODE(status.st_mode)
    if status.st_uid not in (0, user):
        what, remedy = f"it belongs to the user {status.st_uid}, not to you ({user})", f"Remove {path}"
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"others can write it: its mode is {mode:04o}"
        remedy = f"Run `chmod go-w {path}` if nobody else has put anything there, else remove it"
    else:
        return
    raise CacheError(
        f"{path} holds machine code that is run, and {what}. {remedy}, or set {ENVIRONMENT_VARIABLE} to a folder of "
        "your own."
    )
