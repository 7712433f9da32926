"""Checks of the arguments that the functions of this layer share."""

from __future__ import annotations

import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.errors import IrrepsError

# Above the rounding of single precision and of matrices read from text, far below a rotation that is wrong.
_ORTHOGONALITY_TOLERANCE = 1e-6


def as_degree(value: SupportsIndex, name: str) -> int:
    """`value` as a Python integer >= 0; IrrepsError naming the argument otherwise."""
    try:
        degree = operator.index(value)
    except TypeError:
        raise IrrepsError(f"{name} must be an integer >= 0, got {value!r}") from None
    if degree < 0:
        raise IrrepsError(f"{name} must be an integer >= 0, got {degree}")
    return degree


def as_vectors(vectors: ArrayLike) -> NDArray[np.float64]:
    """`vectors` as a float64 array of finite numbers of shape (..., 3)."""
    array = _as_finite(vectors, "vectors")
    if array.shape[-1:] != (3,):
        raise IrrepsError(f"vectors must have shape (..., 3), components x, y, z, got shape {array.shape}")
    return array


def as_orthogonal(rotation: ArrayLike) -> NDArray[np.float64]:
    """`rotation` as a float64 array of orthogonal matrices of shape (..., 3, 3)."""
    array = _as_finite(rotation, "rotation")
    if array.shape[-2:] != (3, 3):
        raise IrrepsError(f"rotation must have shape (..., 3, 3), got shape {array.shape}")
    deviation = np.abs(array @ np.swapaxes(array, -1, -2) - np.eye(3)).max(initial=0.0)
    if deviation > _ORTHOGONALITY_TOLERANCE:
        raise IrrepsError(f"rotation must be orthogonal, but Q Q^T deviates from the identity by {deviation:.2g}")
    return array


def _as_finite(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise IrrepsError(f"{name} must be an array of real numbers: {error}") from None
    finite = np.isfinite(array)
    if not finite.all():
        raise IrrepsError(f"{name} must be finite, but {np.count_nonzero(~finite)} of {array.size} numbers are not")
    return array
