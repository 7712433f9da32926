"""Loops compiled by numba: how they are compiled, and how threads share the chunks of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numba.extending
from llvmlite import ir
from numba import types

import etn_gpu.backend.cpu.compiling  # noqa: F401 - whatever compiles is safe beside threads and forks

intrinsic: Any = numba.extending.intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` as machine code that runs beside other threads.

    It is kept on disk where numba finds a folder for it: NUMBA_CACHE_DIR, ``__pycache__`` beside the source, numba's
    folder in the user's cache. Where none of them can be written, each process compiles anew.
    """
    options: Any = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder
        return numba.njit(**options)(function)


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """The number in ``counter`` [1] (int64), which is one more afterwards: no two threads get the same one."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), codegen
