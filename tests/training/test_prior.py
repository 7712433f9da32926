"""The ridge in units of each parameter's natural size."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.training.prior import Prior
from etn_gpu.training.vector import ParameterVector

LAYOUT = ParameterVector({"a": (2,), "free": (1,)})
SCALES = {"a": np.array([0.5, 2.0]), "free": np.array([np.inf])}


def test_value_counts_natural_sizes() -> None:
    prior = Prior.from_scales(LAYOUT, SCALES, strength=3.0)
    assert prior.value(np.array([0.5, 2.0, 1e6])) == pytest.approx(0.5 * 3.0 * 2)


def test_gradient() -> None:
    prior = Prior.from_scales(LAYOUT, SCALES, strength=3.0)
    theta = np.array([0.3, -1.0, 5.0])
    steps = 1e-6 * np.eye(3)
    expected = [(prior.value(theta + step) - prior.value(theta - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(prior.gradient(theta), expected, rtol=1e-6, atol=1e-9)


def test_share_of_the_data_is_the_share_of_the_prior() -> None:
    prior = Prior.from_scales(LAYOUT, SCALES, strength=3.0)
    theta = np.array([0.3, -1.0, 5.0])
    assert prior.scaled(0.25).value(theta) == pytest.approx(0.25 * prior.value(theta))
