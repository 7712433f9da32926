"""How many threads the compiled loops use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba

numba_config: Any = numba.config


@contextmanager
def at_most(threads: int | None) -> Iterator[int]:
    """Run compiled loops on at most ``threads`` threads (None: all cores); gives the number."""
    most: int = numba_config.NUMBA_NUM_THREADS
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads or most, most))
    try:
        yield numba.get_num_threads()
    finally:
        numba.set_num_threads(before)
