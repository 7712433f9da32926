"""The screened Coulomb repulsion of Ziegler, Biersack and Littmark, as the pair style ``zbl`` of LAMMPS has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.terms import DECAYS, SHARES
from etn_gpu.errors import ModelFileError
from etn_gpu.plan.formula import Number

#: e^2 / (4 pi epsilon_0) in eV A, the Bohr radius over 1.1295 in A and its exponent: the constants of LAMMPS (metal).
COULOMB, LENGTH, EXPONENT = 14.399645, 0.46850, 0.23
#: (c, d) of the screening function sum c exp(-d r / a), the smallest first.
SCREENING = tuple(zip(reversed(SHARES), reversed(DECAYS), strict=True))
#: Numbers of a pair of species that :meth:`ZBL.energy` reads.
NUMBERS = 5


@dataclass(frozen=True)
class ZBL:
    """From ``inner`` to ``outer`` (A) a polynomial brings energy, force and its slope to zero."""

    inner: float
    outer: float

    def __post_init__(self) -> None:
        if not (isfinite(self.inner) and isfinite(self.outer) and 0 <= self.inner < self.outer):
            raise ModelFileError(
                f"zbl=({self.inner}, {self.outer}): expected the two radii of 'pair_style zbl inner outer' in A, "
                "0 <= inner < outer"
            )

    def table(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """The numbers of each pair of atomic ``numbers``, [species, species, NUMBERS]."""
        z = np.array(numbers, dtype=float)
        charge = COULOMB * z[:, None] * z
        inverse = (z[:, None] ** EXPONENT + z**EXPONENT) / LENGTH
        return np.stack([charge, inverse, *closing(self.outer, self.outer - self.inner, charge, inverse)], axis=-1)

    def energy(self, r: Number, numbers: Sequence[Number]) -> Number:
        """Energy of a pair in eV at the distance ``r``, zero from ``outer`` on; ``numbers`` as in :meth:`table`."""
        charge, inverse, cubic, quartic, shift = numbers
        x = inverse * r
        screening = sum(((x * -d).exp() * c for c, d in SCREENING[1:]), (x * -SCREENING[0][1]).exp() * SCREENING[0][0])
        t = r - self.inner
        switch = t.below(0.0, shift, t**2 * t * (cubic + quartic * t) + shift)
        return r.below(self.outer, charge * screening / r + switch, 0.0)


def closing(
    r: float, width: float, charge: NDArray[np.float64], inverse: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What brings value, slope and curvature of charge screening(inverse r) / r to zero at the outer radius ``r``.

    Factors of t^3 and t^4, t the distance beyond r - ``width``, and a constant; with no width the constant alone.
    """
    value, slope, curvature = _derivatives(r, charge, inverse)
    constant = -value + width / 2 * slope - width**2 / 12 * curvature
    if not width:
        return np.zeros_like(value), np.zeros_like(value), constant
    a = (-3 * slope + width * curvature) / width**2
    b = (2 * slope - width * curvature) / width**3
    return a / 3, b / 4, constant


def _derivatives(
    r: float, charge: NDArray[np.float64], inverse: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The unswitched energy and its first and second derivative."""
    parts = [(c * np.exp(-d * inverse * r), d * inverse) for c, d in SCREENING]
    f = sum(p for p, _ in parts)
    f1 = sum(-k * p for p, k in parts)
    f2 = sum(k * k * p for p, k in parts)
    return charge * f / r, charge * (f1 - f / r) / r, charge * (f2 - 2 * f1 / r + 2 * f / r**2) / r
