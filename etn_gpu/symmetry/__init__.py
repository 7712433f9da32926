r"""Irreps of O(3), Clebsch-Gordan coefficients, spherical harmonics and Wigner matrices: pure float64 maths, cached.

The conventions of the whole package, written once:

**Irreps.** ``Irrep(l, p)`` with degree l >= 0 and parity p = +1 (even, ``e``) or -1 (odd, ``o``), written as in e3nn:
``1o``. A *leg* is an :class:`Irreps`, a direct sum of irreps with multiplicities such as ``8x0e+6x1o``. Data on a leg
is laid out block after block, each block ``[mul, 2l+1]`` in row-major order.

**Basis.** Real and orthonormal, m = -l, ..., l. The components of a vector, l = 1, are ordered (y, z, x). Harmonics
carry no Condon-Shortley phase: with associated Legendre functions P_lm that are positive near the north pole,

.. math:: Y_{l,m}(\theta, \phi) \propto P_{l|m|}(\cos\theta) \times
          \{\sqrt{2} \sin(|m|\phi),\ 1,\ \sqrt{2} \cos(m\phi)\} \quad\text{for}\ m < 0,\ m = 0,\ m > 0 .

These are the harmonics of sphericart, and those of e3nn evaluated at (y, z, x) instead of (x, y, z).

**Rotations.** An orthogonal matrix Q acts on column vectors, ``Q @ v``, and Y_l(Q v) = D_l(Q) Y_l(v). An improper
Q = -R, R being a rotation, acts on the irrep (l, p) as p D_l(R); harmonics have p = (-1)^l.

**Coupling.** ``clebsch_gordan(l1, l2, l3)[m1, m2, m3]`` is real and isometric: the products
C[m1, m2, m3] C[m1, m2, m3'] summed over m1 and m2 are delta(m3, m3'). It is :math:`(-i)^{l_1+l_2+l_3} \sqrt{2 l_3+1}`
times the Wigner 3j symbol carried to the real basis, the same phase for every triple. Hence

* if l1 + l2 + l3 is even, the harmonics l1 and l2 of one direction couple to a positive multiple of the harmonic l3 of
  that direction; (l, 0, l) and (0, l, l) are the identity, and (l, l, 0) is delta(m1, m2) / sqrt(2l+1);
* (1, 1, 1) is the cross product over sqrt(2);
* C / sqrt(2 l3 + 1) does not change when its three legs are permuted cyclically, and gains the sign (-1)^(l1+l2+l3)
  when two of them are swapped.
"""

from __future__ import annotations

from etn_gpu.symmetry.coupling import clebsch_gordan, stretch_factor
from etn_gpu.symmetry.harmonics import (
    XYZ_TO_YZX,
    YZX_TO_XYZ,
    solid_harmonics,
    solid_harmonics_gradient,
    spherical_harmonics,
    spherical_harmonics_gradient,
)
from etn_gpu.symmetry.irreps import Irrep, Irreps, MulIrrep
from etn_gpu.symmetry.rotations import random_orthogonal, random_rotation, wigner_d

__all__ = [
    "XYZ_TO_YZX",
    "YZX_TO_XYZ",
    "Irrep",
    "Irreps",
    "MulIrrep",
    "clebsch_gordan",
    "random_orthogonal",
    "random_rotation",
    "solid_harmonics",
    "solid_harmonics_gradient",
    "spherical_harmonics",
    "spherical_harmonics_gradient",
    "stretch_factor",
    "wigner_d",
]
