"""A formula for the bonds of PACE, with numbers that may depend on the pair of species."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.interop.pace_file import Bond
from etn_gpu.plan.formula import Formula, Number

Array = NDArray[np.float64]
Bonds = Sequence[Sequence[Bond]]


class Pairs:
    """A formula whose numbers may depend on the pair of species."""

    def __init__(self, bonds: Bonds) -> None:
        self.formula = Formula()
        self.bonds = bonds
        self.columns: list[Array] = []

    def number(self, of: Callable[[Bond], float], kind: str | None = None) -> Number:
        """The number that a bond has: written into the formula where it is the same for all.

        With ``kind`` it matters for bonds of this kind only, and others are given what one of those has.
        """
        values = self._values(of, kind)
        if (values == values[0, 0]).all():
            return self.formula.number(float(values[0, 0]))
        for k, known in enumerate(self.columns):
            if (known == values).all():
                return self.formula.parameter(k)
        self.columns.append(values)
        return self.formula.parameter(len(self.columns) - 1)

    def common(self, of: Callable[[Bond], float], kind: str) -> float | None:
        """A number that is the same for all bonds of a kind."""
        values = self._values(of, kind)
        return float(values[0, 0]) if (values == values[0, 0]).all() else None

    def _values(self, of: Callable[[Bond], float], kind: str | None) -> Array:
        bonds = [bond for row in self.bonds for bond in row]
        first = next(bond for bond in bonds if kind in (None, bond.basis))
        values = [float(of(bond if kind in (None, bond.basis) else first)) for bond in bonds]
        return np.array(values).reshape(len(self.bonds), -1)


def fade(u: Number) -> Number:
    """The quintic from 1 at u = 0 to 0 at u = 1, with two derivatives; constant beyond."""
    x = 1.0 - 2.0 * u
    square = x * x
    inner = 0.5 + x * (0.9375 + square * (-0.625 + 0.1875 * square))
    return u.below(0.0, 1.0, u.below(1.0, inner, 0.0))
