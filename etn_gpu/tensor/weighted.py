"""Sums over coupled sectors weighted with 2c+1, of buffers that hold one sector after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from etn_gpu.tensor.arrays import Array, Constants, on_host
from etn_gpu.tensor.cache import PlanCache

#: Weight and length of each part of a buffer.
Parts = tuple[tuple[int, int], ...]


def weighted_inner(parts: Parts, left: Array, right: Array) -> Any:
    """Sum over all parts of weight times left . right, a number of the library of the buffers.

    Nothing is conjugated. On a device that is one product and one sum, whatever the number of parts; the host sums part
    by part and moves nothing.
    """
    if not on_host(left):
        (weights,) = _weights(parts).beside(left)
        return (left * weights) @ right
    total = left.dtype.type(0)
    start = 0
    for weight, length in parts:
        total += weight * (left[start : start + length] @ right[start : start + length])
        start += length
    return total


def _make_weights(parts: Parts) -> Constants:
    weights, lengths = zip(*parts, strict=True) if parts else ((), ())
    return Constants((np.repeat(np.array(weights, dtype=np.float64), lengths),))


_weights = PlanCache(_make_weights, limit=1 << 26)
