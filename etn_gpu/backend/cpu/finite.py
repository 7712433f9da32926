"""Whether results are numbers, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from etn_gpu.backend.cpu.loops import compiled


@compiled
def all_finite(energy: Any, forces: Any, stress: Any, volumes: Any) -> bool:
    """Whether all of energy [S], forces [N, 3] and, where the volume [S] is a number, stress [S, 6] are finite; forces
    and stress may be None."""
    finite = True
    for s in range(len(energy)):
        finite &= np.isfinite(energy[s])
    if forces is not None:
        for i in range(len(forces)):
            finite &= np.isfinite(forces[i, 0]) and np.isfinite(forces[i, 1]) and np.isfinite(forces[i, 2])
    if stress is not None:
        for s in range(len(stress)):
            for k in range(6):
                finite &= np.isfinite(stress[s, k]) or not np.isfinite(volumes[s])
    return finite
