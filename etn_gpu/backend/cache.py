"""The folder where compiled models are kept."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "ETN_GPU_CACHE"


def folder() -> Path:
    """The folder named by ETN_GPU_CACHE, else ``etn_gpu`` in the user's cache folder."""
    if given := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "etn_gpu"
