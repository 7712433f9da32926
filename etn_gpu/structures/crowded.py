"""How a search for neighbours says that they are too many to store; it never leaves this library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class CrowdedError(Exception):
    """More edges than allowed: ``edges`` [S] of each structure, all of them counted, none stored."""

    def __init__(self, edges: NDArray[np.int64]) -> None:
        super().__init__(f"{edges.sum()} edges")
        self.edges = edges
