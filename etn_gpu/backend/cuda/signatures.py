"""What the kernels of a source expect: names, types and order of arguments, threads of a block."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etn_gpu.errors import BackendError

#: C++ types of arguments and what they are in NumPy.
_DTYPES = {
    "bool": np.dtype(np.bool_),
    "unsigned char": np.dtype(np.uint8),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "unsigned int": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
}
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\(([^()]*)\)\s*)?(\w+)\s*\(([^()]*)\)', re.DOTALL
)
_PARAMETER = re.compile(r"(const\s+)?([a-z][\w ]*?)\s*(\*)?\s*(?:__restrict__\s*)?(\w+)")
_CONSTANT = r"(?:#\s*define\s+{0}\s+|constexpr\s+int\s+{0}\s*=\s*)(\d+)\b"


@dataclass(frozen=True)
class Parameter:
    """One argument of a kernel: a scalar, or where ``is_array`` a pointer to the first element of an array."""

    name: str
    dtype: np.dtype
    is_array: bool
    #: Whether the kernel may write to the array.
    is_output: bool

    @cached_property
    def _types(self) -> tuple[type, ...]:
        return ({"i": int, "u": int, "f": float}.get(self.dtype.kind, bool),) if self.dtype != np.float32 else ()

    @cached_property
    def _limits(self) -> tuple[float, float]:
        if self.dtype.kind not in "iu":
            return -math.inf, math.inf
        return np.iinfo(self.dtype).min, np.iinfo(self.dtype).max

    def holds(self, value: Any) -> bool:
        """Whether this is a number of Python's own that certainly is one of the argument's dtype."""
        least, most = self._limits
        return type(value) in self._types and bool(least <= value <= most)


@dataclass(frozen=True)
class Signature:
    """Name and arguments of a kernel, and the threads of a block from its ``__launch_bounds__``."""

    name: str
    parameters: tuple[Parameter, ...]
    threads: int


def parse(text: str, origin: str) -> dict[str, Signature]:
    """The signature of every kernel in ``text``, which is called ``origin`` in messages.

    Raises:
        BackendError: no kernel at all, a type that cannot be passed, a kernel without ``__launch_bounds__`` of a
            number of threads that is a multiple of 32 and at most 1024.
    """
    plain = _COMMENT.sub(" ", text)
    found = {}
    for bounds, name, parameters in _KERNEL.findall(plain):
        threads = _threads(plain, bounds)
        if threads is None or not 0 < threads <= 1024 or threads % 32:
            raise BackendError(
                f"{origin}, kernel {name}: __launch_bounds__({bounds}) was found, expected one that starts with the "
                "threads of a block: a number or an integer constant of the same source, a multiple of 32 up to 1024."
            )
        listed = [p for p in (p.strip() for p in parameters.split(",")) if p]
        found[name] = Signature(name, tuple(_parameter(p, f"{origin}, kernel {name}") for p in listed), threads)
    if not found:
        raise BackendError(f'{origin} holds no kernel: expected functions that begin with extern "C" __global__ void.')
    return found


def _threads(text: str, bounds: str) -> int | None:
    first = bounds.split(",")[0].strip()
    if first.isdigit():
        return int(first)
    constant = re.search(_CONSTANT.format(re.escape(first)), text) if first else None
    return int(constant.group(1)) if constant else None


def _parameter(text: str, where: str) -> Parameter:
    match = _PARAMETER.fullmatch(text)
    const, kind, star, name = match.groups() if match else (None, "", None, "")
    dtype = _DTYPES.get(" ".join(kind.split()))
    if dtype is None:
        raise BackendError(
            f"{where}: the argument {' '.join(text.split())!r} cannot be passed; expected a scalar or a pointer of one "
            f"of the types {', '.join(_DTYPES)}."
        )
    return Parameter(name, dtype, star is not None, star is not None and const is None)
