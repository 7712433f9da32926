"""The bispectrum as LAMMPS defines it, complex and written to be read."""

from __future__ import annotations

from functools import cache
from math import factorial, sqrt

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]


def wigner_u(twojmax: int, vectors: NDArray[np.float64], theta: NDArray[np.float64]) -> list[Complex]:
    """U^j [edge, ma, mb] for 2 j = 0 .. twojmax, by the recursion of VMK 4.8.2."""
    r = np.linalg.norm(vectors, axis=1)
    z0 = r / np.tan(theta)
    r0 = np.sqrt(r * r + z0 * z0)
    x, y, z = vectors.T
    a, b = (z0 - 1j * z) / r0, (y - 1j * x) / r0
    out = [np.ones((len(r), 1, 1), complex)]
    for j in range(1, twojmax + 1):
        u, below = np.zeros((len(r), j + 1, j + 1), complex), out[-1]
        for mb in range(j // 2 + 1):
            for ma in range(j):
                u[:, mb, ma] += sqrt((j - ma) / (j - mb)) * np.conj(a) * below[:, mb, ma]
                u[:, mb, ma + 1] -= sqrt((ma + 1) / (j - mb)) * np.conj(b) * below[:, mb, ma]
        for mb in range(j // 2 + 1):
            for ma in range(j + 1):
                sign = 1 if (ma + mb) % 2 == 0 else -1
                u[:, j - mb, j - ma] = sign * np.conj(u[:, mb, ma])
        out.append(u)
    return out


@cache
def coupling(j1: int, j2: int, j: int) -> NDArray[np.float64]:
    """<j1 m1 j2 m2 | j m> as [m1, m2, m], all given twice, by Racah's formula."""
    table = np.zeros((j1 + 1, j2 + 1, j + 1))
    f = factorial
    triangle = f((j1 + j2 - j) // 2) * f((j1 - j2 + j) // 2) * f((j2 - j1 + j) // 2) / f((j1 + j2 + j) // 2 + 1)
    for k1 in range(j1 + 1):
        for k2 in range(j2 + 1):
            m1, m2 = 2 * k1 - j1, 2 * k2 - j2
            k = (m1 + m2 + j) // 2
            if not 0 <= k <= j:
                continue
            total = 0.0
            for t in range(j1 + j2 + 1):
                lower = [
                    t, (j1 + j2 - j) // 2 - t, (j1 - m1) // 2 - t, (j2 + m2) // 2 - t,
                    (j - j2 + m1) // 2 + t, (j - j1 - m2) // 2 + t,
                ]  # fmt: skip
                if min(lower) >= 0:
                    total += (-1) ** t / np.prod([float(f(n)) for n in lower])
            ends = [f((s + e * m) // 2) for s, m in ((j1, m1), (j2, m2), (j, m1 + m2)) for e in (1, -1)]
            table[k1, k2, k] = total * sqrt(triangle * np.prod([float(n) for n in ends]) * (j + 1))
    return table


def invariant(us: list[Complex], j1: int, j2: int, j: int) -> float:
    """Sum of conj(U^j) (C C U^j1 U^j2) for sums over edges U^j [ma, mb]; three different lists would do as well."""
    c = coupling(j1, j2, j)
    z = np.einsum("abc,xyz,ax,by->cz", c, c, us[0], us[1])
    return float(np.sum(np.conj(us[2]) * z).real)
