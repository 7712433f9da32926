"""Loops compiled by numba: how they are compiled, and how threads share the chunks of one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
import numba.extending
from llvmlite import ir
from numba import types

import etn_gpu.backend.cpu.compiling  # noqa: F401 - whatever compiles is safe beside threads and forks
from etn_gpu.backend.cpu.numba_cache import LoopCache

intrinsic: Any = numba.extending.intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` as machine code that runs beside other threads; kept on disk, if there is a folder for it."""
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError):  # no folder: each process compiles anew
        dispatcher._cache = LoopCache(function)
    return dispatcher


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """The number in ``counter`` [1] (int64), which is one more afterwards: no two threads get the same one."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), codegen
