"""An output that grows beside its place, and the names that it has there."""

from __future__ import annotations

import os
from dataclasses import dataclass

from etn_gpu.files.identity import AnyPath


@dataclass(frozen=True)
class Growing:
    """An output: its path, what it holds, for messages ("rows"), and what stands before all records."""

    path: AnyPath
    records: str
    heading: str = ""


def with_suffix(path: AnyPath, suffix: str) -> str:
    """Beside the file that a path means, through symbolic links."""
    return os.path.realpath(path) + suffix
