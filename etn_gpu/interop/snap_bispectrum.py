r"""The bispectrum of SO(4), written with couplings of O(3).

A neighbour at distance r in direction n is the rotation by 2 theta about n, theta from 0 at the centre on. Its matrix
U^j (j = 0, 1/2, 1, ...; here twice of it, q = 2 j) holds the same numbers as the irreps l = 0 .. q of O(3)

.. math:: u_{qlm} = 2^l l! \sqrt{(2l+1) \frac{(q-l)!}{(q+l+1)!}} \sin^l\theta\, C^{(l+1)}_{q-l}(\cos\theta)\, R_{lm}(n)

(Racah-normalised real harmonics, Gegenbauer polynomials): the sum of the squares is that of :math:`|U^j_{mm'}|`. The
invariant of three matrices in the normalisation of LAMMPS, :math:`\sum U^{j *} (C C U^{j_1} U^{j_2})`, is

.. math:: B_{q_1 q_2 q} = (q+1) \sum_{l_1 l_2 l} \sqrt{(2l_1+1)(2l_2+1)(2l+1)}
          \begin{Bmatrix} j_1 & j_1 & l_1 \\ j_2 & j_2 & l_2 \\ j & j & l \end{Bmatrix}
          \sum_{m} X_{l_1 l_2 l}(u_{q_1 l_1}, u_{q_2 l_2}, u_{q l})

over even l1 + l2 + l, with the 3j symbol X in the real basis. Generalised characters and the expansion of U^j: D. A.
Varshalovich et al., Quantum Theory of Angular Momentum (1988), sections 4.5 and 4.15; bispectrum: A. P. Thompson et
al., J. Comput. Phys. 285, 316 (2015).
"""

from __future__ import annotations

import math
from functools import cache

from etn_gpu.symmetry.recoupling import coupled_degrees, six_j_of_spins

Triple = tuple[int, int, int]


@cache
def components(twojmax: int) -> tuple[Triple, ...]:
    """(2 j1, 2 j2, 2 j) of the bispectrum components, in the order of SNAP files: j1 >= j2, j >= j1."""
    return tuple(
        (q1, q2, q)
        for q1 in range(twojmax + 1)
        for q2 in range(q1 + 1)
        for q in range(q1 - q2, min(twojmax, q1 + q2) + 1, 2)
        if q >= q1
    )


def radial_factor(q: int, l: int) -> float:
    """The number before sin^l C^(l+1)_(q-l) in u_qlm."""
    below = math.factorial(q + l + 1) // math.factorial(q - l)
    return 2.0**l * math.factorial(l) * math.sqrt((2 * l + 1) / below)


@cache
def degrees(triple: Triple) -> tuple[tuple[Triple, float], ...]:
    """((l1, l2, l), c) of the terms c X(u_q1l1, u_q2l2, u_ql) of a component."""
    q1, q2, q = triple
    out = []
    for l1 in range(q1 + 1):
        for l2 in range(q2 + 1):
            for l in coupled_degrees(l1, l2):
                if l <= q and (l1 + l2 + l) % 2 == 0 and (c := _nine_j(triple, (l1, l2, l))):
                    out.append(((l1, l2, l), (q + 1) * math.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l + 1)) * c))
    return tuple(out)


def _nine_j(spins: Triple, degrees: Triple) -> float:
    """{j1 j1 l1; j2 j2 l2; j j l} by 6j symbols (Varshalovich et al., section 10.2.4); ``spins`` are twice the j."""
    (q1, q2, q), (l1, l2, l) = spins, (2 * k for k in degrees)
    total = 0.0
    first = max(abs(q1 - l), abs(q1 - l2), abs(q2 - q))
    for x in range(first, min(q1 + l, q1 + l2, q2 + q) + 1, 2):
        product = six_j_of_spins(q1, q1, l1, l2, l, x)
        if product:
            product *= six_j_of_spins(q2, q2, l2, q1, x, q) * six_j_of_spins(q, q, l, x, q1, q2)
            total += (-1) ** x * (x + 1) * product
    return total
