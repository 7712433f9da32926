r"""Wigner 6j symbols and the recoupling of three degrees in the conventions of :mod:`etn_gpu.symmetry`.

Write X = C / sqrt(2 l3 + 1) for the real coupling C(l1 l2 -> l3). X is a 3j symbol in the real basis: a cyclic
permutation of its legs changes nothing, swapping two of them gives (-1)^(l1+l2+l3). The phase (-i)^(l1+l2+l3) of C is
chosen such that four X joined to a tetrahedron are the 6j symbol itself, without any further sign:

.. math:: \sum_m X(j_1 j_2 j_3) X(j_1 j_5 j_6) X(j_4 j_2 j_6) X(j_4 j_5 j_3)
          = \begin{Bmatrix} j_1 & j_2 & j_3 \\ j_4 & j_5 & j_6 \end{Bmatrix},

since the metric (-1)^(j-m) of the complex definition is (-1)^j times the identity in the real basis.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry._checks import as_degree


def six_j(j1: int, j2: int, j3: int, j4: int, j5: int, j6: int) -> float:
    """The Wigner 6j symbol {j1 j2 j3; j4 j5 j6} of integer degrees, correct to the last bits.

    Zero unless the triads (j1 j2 j3), (j1 j5 j6), (j4 j2 j6) and (j4 j5 j3) each satisfy the triangle rule.

    Racah's formula in exact rational numbers: D. A. Varshalovich et al., Quantum Theory of Angular Momentum (1988),
    section 9.2.1. Raises :class:`~etn_gpu.errors.IrrepsError` if a degree is not a non-negative integer.
    """
    degrees = [as_degree(j, f"j{i}") for i, j in enumerate((j1, j2, j3, j4, j5, j6), start=1)]
    return six_j_of_spins(*(2 * j for j in degrees))


@cache
def six_j_of_spins(j1: int, j2: int, j3: int, j4: int, j5: int, j6: int) -> float:
    """The 6j symbol of integers and half-integers, given as twice their values; correct to the last bits."""
    triads = ((j1, j2, j3), (j1, j5, j6), (j4, j2, j6), (j4, j5, j3))
    if any(sum(triad) % 2 or not triangle(*triad) for triad in triads):
        return 0.0
    lower = [sum(triad) // 2 for triad in triads]
    upper = [(j1 + j2 + j4 + j5) // 2, (j2 + j3 + j5 + j6) // 2, (j3 + j1 + j6 + j4) // 2]
    first, last = max(lower), min(upper)
    # All terms over the largest factorial of each factor of the denominator: integers, hence exact.
    largest = [last - k for k in lower] + [k - first for k in upper]
    total = 0
    for t in range(first, last + 1):
        here = [t - k for k in lower] + [k - t for k in upper]
        ratio = math.prod(math.perm(a, a - b) for a, b in zip(largest, here, strict=True))
        total += (-1) ** t * math.factorial(t + 1) * ratio
    above, below = total * total, math.prod(map(math.factorial, largest)) ** 2
    for a, b, c in triads:
        above *= math.prod(math.factorial(k // 2) for k in (a + b - c, a - b + c, -a + b + c))
        below *= math.factorial((a + b + c) // 2 + 1)
    # Dividing Python integers rounds correctly however long they are.
    size = math.sqrt(above / below)
    return -size if total < 0 else size


def triangle(l1: int, l2: int, l3: int) -> bool:
    """Whether l1 and l2 couple to l3."""
    return abs(l1 - l2) <= l3 <= l1 + l2


def coupled_degrees(l1: int, l2: int) -> range:
    """The degrees to which l1 and l2 couple: |l1 - l2|, ..., l1 + l2."""
    return range(abs(l1 - l2), l1 + l2 + 1)


def exchange_degrees(e: int, a: int, b: int, g: int) -> tuple[int, ...]:
    """The degrees f between e and g in ((e a)f b)g, ascending."""
    return tuple(f for f in coupled_degrees(e, a) if triangle(f, b, g))


@cache
def exchange_matrix(e: int, a: int, b: int, g: int) -> NDArray[np.float64]:
    r"""The orthogonal matrix R[f', f] that exchanges a and b: ((e a)f b)g = sum over f' of R[f', f] ((e b)f' a)g.

    .. math:: R_{f'f} = (-1)^{a+b+f+f'} \sqrt{(2f+1)(2f'+1)}
              \begin{Bmatrix} e & a & f \\ g & b & f' \end{Bmatrix}

    Columns are the degrees f of ``exchange_degrees(e, a, b, g)``, rows the f' of ``exchange_degrees(e, b, a, g)``. The
    array is cached and read-only. It follows from the tetrahedron of the module's description: two of the four
    vertices have to be turned over, which gives the sign.

    Raises :class:`~etn_gpu.errors.IrrepsError` if e, a and b cannot couple to g.
    """
    before, after = exchange_degrees(e, a, b, g), exchange_degrees(e, b, a, g)
    if not before:
        raise IrrepsError(f"the degrees {e}, {a} and {b} do not couple to {g}")
    matrix = np.array(
        [
            [
                (-1) ** (a + b + f + new) * math.sqrt((2 * f + 1) * (2 * new + 1)) * six_j(e, a, f, g, b, new)
                for f in before
            ]
            for new in after
        ]
    )
    matrix.flags.writeable = False
    return matrix
