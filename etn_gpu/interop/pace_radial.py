"""Radial functions of PACE as formulas of r^2, exact where the native engines interpolate tables.

Numbers that are the same for all pairs of species are part of the formula; the others come with the edges. Formulas:
Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021), and A. Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, pi

import numpy as np
from numpy.typing import NDArray

from etn_gpu.interop.pace_file import Bond
from etn_gpu.plan.formula import Formula, Number
from etn_gpu.plan.operations import Functions

Array = NDArray[np.float64]
Bonds = Sequence[Sequence[Bond]]


@dataclass(frozen=True)
class RadialPart:
    """``operation`` makes g_k, k < ``count``, and with ``core`` the core repulsion; ``pairs`` [n, n, numbers] it takes."""

    operation: Functions
    count: int
    core: bool
    pairs: Array


class _Pairs:
    """A formula whose numbers may depend on the pair of species."""

    def __init__(self, bonds: Bonds) -> None:
        self.formula = Formula()
        self._bonds = bonds
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
        bonds = [bond for row in self._bonds for bond in row]
        first = next(bond for bond in bonds if kind in (None, _kind(bond)))
        values = [float(of(bond if kind in (None, _kind(bond)) else first)) for bond in bonds]
        return np.array(values).reshape(len(self._bonds), -1)


def radial_part(bonds: Bonds, count: int) -> RadialPart:
    """The first ``count`` radial functions of every pair, and its core repulsion where any pair has one."""
    pairs = _Pairs(bonds)
    formula = pairs.formula
    r = formula.variable**0.5
    q = r * pairs.number(lambda b: 1.0 / b.cutoff)
    kinds = sorted({_kind(b) for row in bonds for b in row})
    total: list[Number] = [formula.number(0.0)] * count
    for number, kind in enumerate(kinds):
        made = _RULES[kind](pairs, kind, r, q, count)
        total = made if number == 0 else [a + b for a, b in zip(total, made, strict=True)]
    by_distance = bonds[0][0].inner_kind == "distance"
    if by_distance:
        start = r * pairs.number(lambda b: _over(b.inner_width)) + pairs.number(_start)
        switch = fade(start)
        total = [(1.0 - switch) * g for g in total]
    core = any(b.core_prefactor for row in bonds for b in row)
    if core:
        repulsion = _core(pairs, r, q)
        total.append(switch * repulsion if by_distance else repulsion)
    table = np.stack(pairs.columns, axis=-1) if pairs.columns else np.zeros((len(bonds), len(bonds), 0))
    return RadialPart(formula.functions(total), count, core, table)


def fade(u: Number) -> Number:
    """The quintic from 1 at u = 0 to 0 at u = 1, with two derivatives; constant beyond."""
    x = 1.0 - 2.0 * u
    square = x * x
    inner = 0.5 + x * (0.9375 + square * (-0.625 + 0.1875 * square))
    return u.below(0.0, 1.0, u.below(1.0, inner, 0.0))


def _kind(bond: Bond) -> str:
    return bond.kind.removeprefix("TEST_")


def _over(width: float) -> float:
    return 1.0 / width if width else 0.0


def _start(bond: Bond) -> float:
    """Where u = 0 lies, in widths; without a width u is 1 everywhere."""
    return 1.0 - bond.inner_cutoff / bond.inner_width if bond.inner_width else 1.0


def _mine(pairs: _Pairs, kind: str) -> Number:
    """1 for the pairs that have functions of this kind, 0 for others."""
    return pairs.number(lambda b: float(_kind(b) == kind))


def _wave(q: Number) -> Number:
    """(1 + cos(pi q)) / 2."""
    return 0.5 + 0.5 * (pi * q).cos()


def _chebyshev(x: Number, count: int) -> list[Number]:
    """T_0 .. T_(count - 1)."""
    values = [x.formula.number(1.0), x]
    twice = 2.0 * x
    while len(values) < count:
        values.append(twice * values[-1] - values[-2])
    return values[:count]


def _exponential(pairs: _Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
    """Chebyshev polynomials of an exponential below a cosine, and a second cosine just before the cutoff."""
    far = pairs.number(lambda b: exp(-b.parameters[0]), kind)
    slope = pairs.number(lambda b: -2.0 / (1.0 - exp(-b.parameters[0])), kind)
    x = 1.0 + slope * ((q * pairs.number(lambda b: -b.parameters[0], kind)).exp() - far)
    v = r * pairs.number(lambda b: _over(b.width), kind) + pairs.number(_window, kind)
    envelope = _wave(q) * v.below(0.0, 1.0, _wave(v))
    envelope = q.below(1.0, envelope * _mine(pairs, kind), 0.0)
    half = 0.5 * envelope
    return [envelope, *(half - half * t for t in _chebyshev(x, count)[1:])][:count]


def _window(bond: Bond) -> float:
    """Where the second cosine begins, in its widths; without a width it stays at its beginning, which is 1."""
    return 1.0 - bond.cutoff / bond.width if bond.width else 0.0


def _power(pairs: _Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
    """(1 - T_k(x)) / 2, k = 1 .. count, with x = 1 - 2 (1 - q)^p."""
    exponent = pairs.common(lambda b: b.parameters[0], kind)
    rest = q.below(1.0, 1.0 - q, 1.0)
    if exponent is not None and float(2 * exponent).is_integer():
        y = rest**exponent
    else:
        y = (rest.log() * pairs.number(lambda b: b.parameters[0], kind)).exp()
    # Where y = 0 all functions are 0.
    y = q.below(1.0, y * _mine(pairs, kind), 0.0)
    return [0.5 - 0.5 * t for t in _chebyshev(1.0 - 2.0 * y, count + 1)[1:]]


def _linear(pairs: _Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
    """(1 - T_k(1 - q)) / 2, k = 1 .. count: not zero at the cutoff."""
    mine = q.below(1.0, 0.5 * _mine(pairs, kind), 0.0)
    return [mine - mine * t for t in _chebyshev(1.0 - q, count + 1)[1:]]


def _bessel(pairs: _Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
    """Orthogonalised sums of two spherical Bessel functions: E. Kocer et al., J. Chem. Phys. 150, 154102 (2019)."""
    angle = pi * q
    twice = 2.0 * angle.cos()
    sines = [pairs.formula.number(0.0), angle.sin()]
    while len(sines) < count + 2:
        sines.append(twice * sines[-1] - sines[-2])
    over = pairs.number(lambda b: b.cutoff**-1.5) / angle
    over = q.below(1.0, over * _mine(pairs, kind), 0.0)
    found: list[Number] = []
    d = 1.0
    for n in range(count):
        a, b = n + 1, n + 2
        factor = (-1) ** n * 2.0**0.5 * pi / (a * a + b * b) ** 0.5
        raw = over * (sines[a] * (factor * b) + sines[b] * (factor * a))
        if n:
            e = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
            before, d = d, 1.0 - e / d
            raw = (raw + (e / before) ** 0.5 * found[-1]) * (1.0 / d**0.5)
        found.append(raw)
    return found


def _core(pairs: _Pairs, r: Number, q: Number) -> Number:
    """The repulsion of the cores: a Gaussian over r below a cosine, 0 where the Gaussian is less than e^-50."""
    decay = pairs.formula.variable * pairs.number(lambda b: abs(b.core_decay))
    value = pairs.number(lambda b: abs(b.core_prefactor)) * (-decay).exp() / r * _wave(q)
    return q.below(1.0, decay.below(50.0, value, 0.0), 0.0)


_RULES: dict[str, Callable[[_Pairs, str, Number, Number, int], list[Number]]] = {
    "ChebExpCos": _exponential, "ChebPow": _power, "ChebLinear": _linear, "SBessel": _bessel,
}  # fmt: skip
