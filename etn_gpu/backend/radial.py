"""Radial functions and their derivatives in s = r^2 with NumPy: the definition that every backend is held to."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from etn_gpu.plan.operations import Powers, Radial

Jet = list[NDArray[np.floating]]


def radial_functions(spec: Radial, s: NDArray[np.floating]) -> NDArray[np.floating]:
    """Derivatives of given order in s of T_b(x(r)) (1 - s/cutoff^2)^3, r = sqrt(s).

    s [n] in A^2 -> [count, n]. What is not a number stays one.
    """
    order = spec.order
    limit = s.dtype.type(spec.cutoff**2)
    outside = s >= limit
    s = np.where(outside, limit, s)
    cut = _cutoff_jet(s, float(limit), order)
    chebyshev = _chebyshev_jets(spec, s, order)
    return np.stack([np.where(outside, 0.0, _product(jet, cut)[order]) for jet in chebyshev])


def inverse_powers(spec: Powers, s: NDArray[np.floating]) -> NDArray[np.floating]:
    """Derivatives of given order in s of r^-l: s [n] in A^2 -> [lmax+1, n]."""
    return np.stack([_power_jet(s, -0.5 * l, spec.order)[spec.order] for l in range(spec.lmax + 1)])


def _power_jet(s: NDArray[np.floating], exponent: float, order: int) -> Jet:
    """s^exponent and its derivatives up to ``order``."""
    jet: Jet = []
    factor = 1.0
    for k in range(order + 1):
        jet.append(factor * s ** s.dtype.type(exponent - k))
        factor *= exponent - k
    return jet


def _cutoff_jet(s: NDArray[np.floating], limit: float, order: int) -> Jet:
    jet: Jet = []
    factor = 1.0
    for k in range(order + 1):
        jet.append(factor * (1.0 - s / limit) ** (3 - k) if k <= 3 else np.zeros_like(s))
        factor *= -(3 - k) / limit
    return jet


def _chebyshev_jets(spec: Radial, s: NDArray[np.floating], order: int) -> list[Jet]:
    slope = 2.0 / (spec.cutoff - spec.inner)
    x = [slope * value for value in _power_jet(s, 0.5, order)]
    x[0] = x[0] - (1.0 + slope * spec.inner)
    jets: list[Jet] = [[np.ones_like(s)] + [np.zeros_like(s)] * order, x]
    while len(jets) < spec.count:
        jets.append([2.0 * a - b for a, b in zip(_product(x, jets[-1]), jets[-2], strict=True)])
    return jets[: spec.count]


def _product(a: Jet, b: Jet) -> Jet:
    """Leibniz rule."""
    return [sum((comb(k, j) * a[j] * b[k - j] for j in range(k + 1)), np.zeros_like(a[0])) for k in range(len(a))]
