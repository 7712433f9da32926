"""The screened Coulomb repulsion of Ziegler, Biersack and Littmark, as the pair style ``zbl`` of LAMMPS has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import ModelFileError
from etn_gpu.plan.formula import Number

#: e^2 / (4 pi epsilon_0) in eV A, the Bohr radius over 1.1295 in A and its exponent: the constants of LAMMPS (metal).
COULOMB, LENGTH, EXPONENT = 14.399645, 0.46850, 0.23
#: (c, d) of the screening function sum c exp(-d r / a).
SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))
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
        value, slope, curvature = _derivatives(self.outer, charge, inverse)
        width = self.outer - self.inner
        a = (-3 * slope + width * curvature) / width**2
        b = (2 * slope - width * curvature) / width**3
        c = -value + width / 2 * slope - width**2 / 12 * curvature
        return np.stack([charge, inverse, a / 3, b / 4, c], axis=-1)

    def energy(self, r: Number, numbers: Sequence[Number]) -> Number:
        """Energy of a pair in eV at the distance ``r``, zero from ``outer`` on; ``numbers`` as in :meth:`table`."""
        charge, inverse, cubic, quartic, shift = numbers
        x = inverse * r
        screening = sum(((x * -d).exp() * c for c, d in SCREENING[1:]), (x * -SCREENING[0][1]).exp() * SCREENING[0][0])
        t = r - self.inner
        switch = t.below(0.0, shift, t**2 * t * (cubic + quartic * t) + shift)
        return r.below(self.outer, charge * screening / r + switch, 0.0)


def _derivatives(
    r: float, charge: NDArray[np.float64], inverse: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The unswitched energy and its first and second derivative."""
    parts = [(c * np.exp(-d * inverse * r), d * inverse) for c, d in SCREENING]
    f = sum(p for p, _ in parts)
    f1 = sum(-k * p for p, k in parts)
    f2 = sum(k * k * p for p, k in parts)
    return charge * f / r, charge * (f1 - f / r) / r, charge * (f2 - 2 * f1 / r + 2 * f / r**2) / r
