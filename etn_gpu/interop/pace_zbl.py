"""The ZBL repulsion of PACE: Ziegler, Biersack and Littmark's, shifted and faded to end at the outer cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from ase.data import atomic_numbers

from etn_gpu.interop.pace_file import Bond
from etn_gpu.interop.pace_pairs import Pairs, fade
from etn_gpu.plan.formula import Number

#: e^2 / (4 pi eps_0) in eV A, as python-ace has it.
COULOMB = 14.399645351950543
SCREENING = ((0.18175, -3.19980), (0.50986, -0.94229), (0.28022, -0.40290), (0.02817, -0.20162))


def zbl(pairs: Pairs, elements: Sequence[str], r: Number, q: Number) -> Number:
    """Half the repulsion of two atoms at distance ``r``, ``q`` outer cutoffs."""
    places = {id(bond): (i, j) for i, row in enumerate(pairs.bonds) for j, bond in enumerate(row)}

    def charges(bond: Bond) -> tuple[int, int]:
        i, j = places[id(bond)]
        return atomic_numbers[elements[i]], atomic_numbers[elements[j]]

    def range_of(bond: Bond) -> float:
        z, other = charges(bond)
        return 0.46850 / (z**0.23 + other**0.23)

    def amplitude(bond: Bond) -> float:
        z, other = charges(bond)
        return bond.core_prefactor * COULOMB / 2 * z * other

    x = r * pairs.number(lambda b: 1.0 / range_of(b))
    screened = pairs.formula.number(0.0)
    for factor, rate in SCREENING:
        screened = screened + factor * (rate * x).exp()
    inside = r - pairs.number(lambda b: b.cutoff - b.width)
    w = inside.below(0.0, 0.0, inside)
    third = pairs.number(lambda b: _shift(b, range_of(b))[0])
    fourth = pairs.number(lambda b: _shift(b, range_of(b))[1])
    smooth = pairs.number(lambda b: _shift(b, range_of(b))[2]) + w * w * w * (third + fourth * w)
    faded = fade(inside * pairs.number(lambda b: 1.0 / b.width if b.width else 0.0))
    return q.below(1.0, pairs.number(amplitude) * (screened / r + smooth) * faded, 0.0)


def _shift(bond: Bond, a: float) -> tuple[float, float, float]:
    """Factors of w^3 and w^4 and the constant that take away value, slope and curvature at the outer cutoff."""
    r, width = bond.cutoff, bond.width
    terms = [(c * exp(rate * r / a), rate / a) for c, rate in SCREENING]
    phi, slope, curvature = (sum(c * k**n for c, k in terms) for n in range(3))
    value, first = phi / r, slope / r - phi / r**2
    second = curvature / r - 2 * slope / r**2 + 2 * phi / r**3
    shift = -value + width * first / 2 - width**2 * second / 12
    if not width:
        return 0.0, 0.0, shift
    return (-3 * first + width * second) / (3 * width**2), (2 * first - width * second) / (4 * width**3), shift
