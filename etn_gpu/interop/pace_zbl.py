"""The ZBL repulsion of PACE: Ziegler, Biersack and Littmark's, shifted and faded to end at the outer cutoff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers

from etn_gpu.backend.terms import DECAYS, SHARES
from etn_gpu.interop.pace_file import Bond
from etn_gpu.interop.pace_pairs import Pairs, fade
from etn_gpu.interop.zbl import EXPONENT, LENGTH, closing
from etn_gpu.plan.formula import Number

#: e^2 / (4 pi eps_0) in eV A, as python-ace has it.
COULOMB = 14.399645351950543


def zbl(pairs: Pairs, elements: Sequence[str], r: Number, q: Number) -> Number:
    """Half the repulsion of two atoms at distance ``r``, ``q`` outer cutoffs."""
    places = {id(bond): (i, j) for i, row in enumerate(pairs.bonds) for j, bond in enumerate(row)}

    def charges(bond: Bond) -> tuple[int, int]:
        i, j = places[id(bond)]
        return atomic_numbers[elements[i]], atomic_numbers[elements[j]]

    def range_of(bond: Bond) -> float:
        z, other = charges(bond)
        return LENGTH / (z**EXPONENT + other**EXPONENT)

    def amplitude(bond: Bond) -> float:
        z, other = charges(bond)
        return bond.core_prefactor * COULOMB / 2 * z * other

    x = r * pairs.number(lambda b: 1.0 / range_of(b))
    screened = pairs.formula.number(0.0)
    for share, decay in zip(SHARES, DECAYS, strict=True):
        screened = screened + share * (-decay * x).exp()
    inside = r - pairs.number(lambda b: b.cutoff - b.width)
    w = inside.below(0.0, 0.0, inside)
    third = pairs.number(lambda b: _shift(b, range_of(b))[0])
    fourth = pairs.number(lambda b: _shift(b, range_of(b))[1])
    smooth = pairs.number(lambda b: _shift(b, range_of(b))[2]) + w * w * w * (third + fourth * w)
    faded = fade(inside * pairs.number(lambda b: 1.0 / b.width if b.width else 0.0))
    return q.below(1.0, pairs.number(amplitude) * (screened / r + smooth) * faded, 0.0)


def _shift(bond: Bond, a: float) -> tuple[float, ...]:
    """Factors of w^3 and w^4 and the constant that take away value, slope and curvature at the outer cutoff."""
    return tuple(map(float, closing(bond.cutoff, bond.width, np.ones(()), np.array(1.0 / a))))
