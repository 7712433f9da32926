"""How far atoms have moved since a neighbour list was built."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from etn_gpu.backend.cpu.loops import compiled


@compiled
def furthest_moved(positions: Any, old: Any, forward: Any, largest: float) -> float:
    """max_i |u_i| in A, with u_i = r'_i - r_i F less its mean over the atoms, for positions r' and ``old`` ones r
    [N, 3] and the matrix F [3, 3], ``forward``; inf where a coordinate is beyond ``largest`` or nan."""
    moved, mean, tame = np.empty((len(positions), 3)), np.zeros(3), True
    for i in range(len(positions)):
        for k in range(3):
            tame &= abs(positions[i, k]) <= largest  # nan, for which every comparison is false, is not
            carried = old[i, 0] * forward[0, k] + old[i, 1] * forward[1, k] + old[i, 2] * forward[2, k]
            moved[i, k] = positions[i, k] - carried
            mean[k] += moved[i, k]
    furthest = 0.0
    for i in range(len(positions)):
        square = 0.0
        for k in range(3):
            apart = moved[i, k] - mean[k] / len(positions)
            square += apart * apart
        furthest = max(furthest, square)
    return math.sqrt(furthest) if tame else math.inf
