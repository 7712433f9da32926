"""A file that a command writes in one piece at its end, claimed at its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from etn_gpu import files
from etn_gpu.cli.console import WrongUseError

__all__ = ["claimed_output"]


@contextmanager
def claimed_output(path: Path, content: files.Content, inputs: Sequence[Path], overwrite: bool) -> Iterator[None]:
    """Refuses an output that cannot be written or would destroy something, and keeps other runs away from it.

    Raises:
        WrongUseError: see :mod:`etn_gpu.files`.
    """
    files.check_outputs([path], inputs, WrongUseError)
    files.check_suffix(path, content, WrongUseError)
    with files.locked([path], WrongUseError):
        files.check_replaced([path], overwrite, WrongUseError)
        yield
