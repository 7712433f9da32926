"""Real isometric Clebsch-Gordan coefficients, each the square root of an exactly known rational number."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry._checks import as_degree


def clebsch_gordan(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Coefficients that couple degrees l1 and l2 to l3 in the real basis (conventions: :mod:`etn_gpu.symmetry`).

    Returns a cached, read-only array of shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1). Entries are accurate to the last bits at
    any degree, and those that vanish are exactly 0.0.

    Raises :class:`~etn_gpu.errors.IrrepsError` if a degree is not a non-negative integer or if l3 is not one of
    |l1 - l2|, ..., l1 + l2.
    """
    l1, l2, l3 = as_degree(l1, "l1"), as_degree(l2, "l2"), as_degree(l3, "l3")
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise IrrepsError(
            f"degrees l1={l1} and l2={l2} do not couple to l3={l3}: "
            f"expected l3 from |l1 - l2| = {abs(l1 - l2)} to l1 + l2 = {l1 + l2}"
        )
    return _clebsch_gordan(l1, l2, l3)


def stretch_factor(l: int) -> float:
    """The factor a_l = sqrt((2l - 1) / l), l >= 1, of the stretched recursion of Racah-normalised solid harmonics.

    R_l = a_l C(1, l-1 -> l)(R_1, R_{l-1}). Since R_l is the symmetric traceless product of l equal vectors, its
    differential is dR_l = l a_l C(1, l-1 -> l)(dR_1, R_{l-1}). At the north pole every R_l is the unit vector m = 0,
    hence a_l = 1 / <1 0; l-1 0 | l 0>.

    Raises :class:`~etn_gpu.errors.IrrepsError` unless l is an integer >= 1.
    """
    l = as_degree(l, "l")
    if l == 0:
        raise IrrepsError("the stretched recursion has a factor for l >= 1, got l = 0: it starts from R_0 = 1")
    return math.sqrt((2 * l - 1) / l)


@cache
def _clebsch_gordan(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    # Real harmonics mix +m and -m only, so at most two complex 3j symbols feed a real entry: those of (m1, m2, m3) and
    # (-m1, -m2, -m3), which are equal up to sign. Each entry is thus one complex symbol times 0, +-1 or +-1/sqrt(2):
    # nothing cancels, and zeros are exact.
    coefficients = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(l1 + 1):
        for m2 in range(-l2 if m1 > 0 else 0, l2 + 1):
            ms = (m1, m2, -m1 - m2)
            if abs(ms[2]) > l3:
                continue
            sign, numerator, denominator = _three_j(l1, l2, l3, m1, m2)
            if numerator == 0:
                continue
            if all(ms):
                denominator *= 2
            value = sign * math.sqrt((2 * l3 + 1) * numerator / denominator)
            for signs in itertools.product(*((1, -1) if m else (1,) for m in ms)):
                i1, i2, i3 = (s * abs(m) for s, m in zip(signs, ms, strict=True))
                phase = _phase(ms, signs, l1 + l2 + l3)
                if phase:
                    coefficients[l1 + i1, l2 + i2, l3 + i3] = phase * value
    coefficients.flags.writeable = False
    return coefficients


def _phase(ms: tuple[int, int, int], signs: tuple[int, ...], total: int) -> int:
    """Sign, or 0, of the 3j symbol of `ms` in the real entry (signs[k] |ms[k]|), the overall phase (-i)^total included.

    For a = |m| > 0 the real harmonics are ((-1)^a Y^a + Y^-a) / sqrt(2) and ((-1)^a Y^a - Y^-a) / (i sqrt(2)).
    """
    power_of_i = -total
    power_of_minus = 0
    for m, sign in zip(ms, signs, strict=True):
        if m > 0:
            power_of_minus += m
        if sign < 0:
            power_of_i += -1 if m > 0 else 1
    if power_of_i % 2:
        return 0
    return -1 if (power_of_minus + power_of_i // 2) % 2 else 1


def _three_j(l1: int, l2: int, l3: int, m1: int, m2: int) -> tuple[int, int, int]:
    """The 3j symbol (l1 l2 l3; m1 m2 -m1-m2), exactly: its sign, and numerator and denominator of its square.

    Racah's formula (G. Racah, Phys. Rev. 62, 438 (1942)) with its sum multiplied through to binomial coefficients, so
    that everything is an integer: D. A. Varshalovich et al., Quantum Theory of Angular Momentum (1988), section 8.2.
    """
    a, b, c = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3
    total = 0
    for t in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(a, l1 - m1, l2 + m2) + 1):
        total += (-1) ** t * math.comb(a, t) * math.comb(b, l1 - m1 - t) * math.comb(c, l2 + m2 - t)
    numerator = total * total
    for l, m in ((l1, m1), (l2, m2), (l3, m1 + m2)):
        numerator *= math.factorial(l + m) * math.factorial(l - m)
    denominator = math.factorial(l1 + l2 + l3 + 1)
    for excess in (a, b, c):
        denominator *= math.factorial(excess)
    negative = (total < 0) != bool((l1 - l2 + m1 + m2) % 2)
    return -1 if negative else 1, numerator, denominator
