"""The functions of PACE as monomials of atomic bases, exactly.

    A_nlm = sum over neighbours of R_nl(r) sqrt(4 pi) Y_lm,    Y_l,-m = (-1)^m Y_lm^*

With real Racah-normalised harmonics R_lm, sqrt(4 pi / (2l + 1)) Y_lm = (-1)^m (R_lm + i R_l,-m) / sqrt(2) for m > 0. So
each A is a number times z = a_m + i a_-m, or times its conjugate; sqrt(2l + 1) goes into the radial functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.interop.pace_file import Function
from etn_gpu.plan.polynomials import Monomial

Array = NDArray[np.float64]
#: Species of the neighbours, n (from 0), l, m >= 0.
Label = tuple[int, int, int, int]


@dataclass(frozen=True)
class Basis:
    """Monomials of complex ``variables`` for the functions of all species of rank 2 and more, and their coefficients.

    ``coefficients`` [species of the centre, densities, monomials].
    """

    variables: tuple[Label, ...]
    monomials: tuple[Monomial, ...]
    coefficients: Array

    @property
    def real(self) -> tuple[bool, ...]:
        """Which variables are real: those of m = 0."""
        return tuple(m == 0 for *_, m in self.variables)

    @cached_property
    def radial(self) -> dict[int, tuple[int, ...]]:
        """The n that are needed of each l, whatever the species."""
        found: dict[int, set[int]] = {}
        for _, n, l, _ in self.variables:
            found.setdefault(l, set()).add(n)
        return {l: tuple(sorted(found[l])) for l in sorted(found)}


def complex_basis(functions: Sequence[Sequence[Function]], n_densities: int) -> Basis:
    """The basis of the functions of each species of the centre."""
    labels: dict[Label, int] = {}
    monomials: dict[Monomial, list[tuple[int, float, tuple[float, ...]]]] = {}
    for species, of_species in enumerate(functions):
        for f in of_species:
            if len(f.ns) == 1:
                continue
            for ms, coefficients in zip(f.ms, f.coefficients, strict=True):
                factor, monomial = 1.0, []
                for mu, n, l, m in zip(f.species, f.ns, f.ls, ms, strict=True):
                    number = labels.setdefault((mu, n - 1, l, abs(m)), len(labels)) + 1
                    monomial.append(number if m >= 0 else -number)
                    factor *= 1.0 if m == 0 else (0.5**0.5 if m < 0 else (-1) ** m * 0.5**0.5)
                key = _canonical(monomial, [m == 0 for m in ms])
                monomials.setdefault(key, []).append((species, factor, coefficients))
    table = np.zeros((len(functions), n_densities, len(monomials)))
    for number, parts in enumerate(monomials.values()):
        for species, factor, coefficients in parts:
            table[species, : len(coefficients), number] += factor * np.array(coefficients)
    return Basis(tuple(labels), tuple(monomials), table)


def _canonical(monomial: Sequence[int], real: Sequence[bool]) -> Monomial:
    """A monomial or its conjugate, whichever stands for both."""
    conjugate = [v if r else -v for v, r in zip(monomial, real, strict=True)]
    return max(tuple(sorted(m, key=lambda v: (abs(v), v))) for m in (monomial, conjugate))
