"""The prior: a ridge in units of each parameter's natural size.

It decides what the data leave open. A training set without ternary structures, say, says nothing about some directions
of the parameter space; without a prior they would stay at their random start, and every ternary alloy would be
predicted at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """1/2 sum precision theta^2, with ``precision`` [P] = strength / size^2; zero for parameters of infinite size."""

    precision: Array

    @staticmethod
    def from_scales(layout: ParameterVector, scales: Mapping[str, Array], strength: float) -> Prior:
        """The prior of ``strength`` in which every parameter is as large as ``scales`` says."""
        return Prior(strength / layout.pack(scales) ** 2)

    def scaled(self, share: float) -> Prior:
        """The part of the prior that goes with a share of the data."""
        return Prior(share * self.precision)

    def value(self, theta: Array) -> float:
        """Its contribution to the loss."""
        return 0.5 * float(np.sum(self.precision * theta**2))

    def gradient(self, theta: Array) -> Array:
        """Its contribution to the gradient."""
        return self.precision * theta
