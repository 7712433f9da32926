"""Failures of the system, which are no wrong use: what was asked for was right, and could not be completed."""

from __future__ import annotations

import errno

__all__ = ["is_system_failure"]

_NUMBERS = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ENOMEM", "EMFILE", "ENFILE", "ENODEV", "ENXIO", "EPIPE", "ESTALE",
        "ETIMEDOUT", "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip


def is_system_failure(error: BaseException) -> bool:
    """Whether an error comes from a full disk, a quota, a size limit, a broken device or pipe, or want of memory."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError) or (isinstance(found, OSError) and found.errno in _NUMBERS):
            return True
        found = found.__cause__
    return False
