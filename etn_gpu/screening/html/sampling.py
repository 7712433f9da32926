"""What of very many points is drawn, and the range of an axis that a few wild ones do not spoil."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.html.content import Array

__all__ = ["axis_range", "chosen_points"]

#: Knuth's multiplier: multiples of it, modulo 2^32, are spread evenly whatever period the points have.
_MULTIPLIER = 2654435761
_WIDEST = 6.0


def chosen_points(x: Array, y: Array, limit: int) -> NDArray[np.int64]:
    """At most `limit` of the points [N], in their order: the extremes of both coordinates, those with the lowest `y`, a
    quarter of all, and others spread evenly. The same ones for the same points."""
    n = len(x)
    if n <= limit:
        return np.arange(n)
    lowest = np.argsort(y, kind="stable")
    must = np.r_[x.argmin(), x.argmax(), y.argmax(), lowest[: limit // 4]][:limit]
    order = np.argsort(np.arange(n, dtype=np.uint64) * _MULTIPLIER % 2**32, kind="stable")
    others = order[~np.isin(order, must)]
    return np.sort(np.concatenate([np.unique(must), others[: limit - len(np.unique(must))]]))


def axis_range(values: Array, margin: float = 0.05) -> tuple[float, float]:
    """The range that an axis shows: that of all values, or, where a few lie far outside, that of the others."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    inner = np.quantile(values, [0.01, 0.99])
    width = float(inner[1] - inner[0])
    if width > 0.0 and high - low > _WIDEST * width:
        low, high = max(low, float(inner[0]) - width / 2), min(high, float(inner[1]) + width / 2)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        width = 0.05 * abs(low) or 1.0
        return low - width, high + width
    return low - margin * (high - low), high + margin * (high - low)
