"""One thread at a time compiles, and none while the process forks.

A forked child has only the thread that forked. A lock that another one held then stays shut for ever, and what it
guarded is half done. So whoever forks waits until nothing is being compiled.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from functools import cached_property
from threading import RLock
from typing import Any

import llvmlite.binding as llvm
from numba.core.compiler_lock import global_compiler_lock

#: Numba's own lock, so that there is no second one that could be taken in another order.
compiling: Any = global_compiler_lock

#: Each call of LLVM takes this one, those that free memory do without the other.
_llvm: Any = getattr(llvm.ffi.lib, "_lock", nullcontext())


def _before_fork() -> None:
    # Nothing is remembered of who holds what: other threads may fork as soon as this one has.
    compiling.__enter__()
    _llvm.__enter__()


def _after_fork() -> None:
    _llvm.__exit__(None, None, None)
    compiling.__exit__(None, None, None)


def _in_child() -> None:
    _after_fork()
    _renew_locks_of_properties()


def _renew_locks_of_properties() -> None:
    """Up to Python 3.11 a cached property has a lock, which another thread may have held."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == __package__.partition(".")[0]:
            for kind in list(vars(module).values()):
                if isinstance(kind, type):
                    for attribute in vars(kind).values():
                        if isinstance(attribute, cached_property) and hasattr(attribute, "lock"):
                            attribute.lock = RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
