"""Extrapolation grades from what a Program gives, in one pass; see ``site_grades`` of the potentials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from etn_gpu.backend.cpu.loops import compiled


@compiled
def grades_of_sites(squares: Any, weights: Any, most_lost: float, grades: Any) -> None:
    """Into ``grades`` [N] from ``squares`` [N] and ``weights`` [N], or None."""
    for i in range(len(grades)):
        square = np.float64(squares[i])
        grades[i] = math.inf if np.isnan(square) else math.sqrt(square)
        if weights is not None:
            grades[i] += (1.0 - weights[i]) / max(weights[i], 1.0 / most_lost)
