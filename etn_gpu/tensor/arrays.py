"""The little that differs between array libraries: NumPy on the host, CuPy on a device.

Everything else in this package calls functions that both libraries have under one name, taken from the library that
owns the array. Constants (index arrays, recoupling coefficients) are made once on the host and copied once per device.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TensorError

#: A one- or more-dimensional array of NumPy or CuPy; there is no static type for both.
Array = Any


def namespace(array: Array) -> Any:
    """The library of an array, ``numpy`` or ``cupy``."""
    if isinstance(array, np.ndarray):
        return np
    return sys.modules[type(array).__module__.partition(".")[0]]


def on_host(array: Array) -> bool:
    """Whether a call costs little and moving numbers much; on a device it is the other way round."""
    return isinstance(array, np.ndarray)


def to_host(array: Array) -> NDArray[Any]:
    """The array as a NumPy array; copied only from a device."""
    return array if on_host(array) else array.get()


def to_device(host: NDArray[Any], like: Array) -> Array:
    """`host` in the library and on the device of `like`."""
    if on_host(like):
        return host
    with _device(like):
        return namespace(like).asarray(host)


class Constants:
    """Immutable host arrays with one copy per device; those of floating point take the precision of the data."""

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = tuple(arrays)
        self.nbytes = sum(array.nbytes for array in self._arrays)
        self._copies: dict[tuple[str, str, str], tuple[Array, ...]] = {}

    def beside(self, data: Array) -> tuple[Array, ...]:
        """The arrays in the library, on the device and in the real precision of `data`."""
        real = np.empty(0, data.dtype).real.dtype
        key = (type(data).__module__, str(getattr(data, "device", "")), real.str)
        if key not in self._copies:
            cast = [a.astype(real, copy=False) if a.dtype.kind == "f" else a for a in self._arrays]
            self._copies[key] = tuple(to_device(a, data) for a in cast)
        return self._copies[key]


def require_one_namespace(first: Array, second: Array) -> None:
    """TensorError if one array lies on the host and the other on a device: nothing is copied in secret."""
    libraries = namespace(first), namespace(second)
    if libraries[0] is not libraries[1]:
        names = " and ".join(library.__name__ for library in libraries)
        raise TensorError(f"the tensors hold arrays of {names}: bring one to the other with tensor.to(library)")


def join(parts: Sequence[Array], like: Array) -> Array:
    """One-dimensional arrays one after the other; an empty array like `like` for none."""
    return namespace(like).concatenate(parts) if parts else like[:0]


def is_finite(array: Array) -> bool:
    """Whether all numbers are finite."""
    return bool(namespace(array).isfinite(array).all())


def root(value: float) -> float:
    """Square root that takes the rounding of a sum of squares below zero for zero."""
    return math.sqrt(max(value, 0.0))


def _device(array: Array) -> Any:
    device = getattr(array, "device", None)
    return device if hasattr(device, "__enter__") else nullcontext()
