"""Radial functions of PACE as formulas of r^2, exact where the native engines interpolate tables.

Numbers that are the same for all pairs of species are part of the formula; the others come with the edges. Formulas:
Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021), and A. Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, pi

import numpy as np

from etn_gpu.interop.pace_file import Bond
from etn_gpu.interop.pace_pairs import Array, Bonds, Pairs, fade
from etn_gpu.interop.pace_zbl import zbl
from etn_gpu.plan.formula import Number
from etn_gpu.plan.operations import Functions


@dataclass(frozen=True)
class RadialPart:
    """``operation`` makes g_k, k < ``count``, with ``core`` the core repulsion, with ``marked`` the switch of ZBL.

    ``pairs`` [n, n, numbers] are what it takes.
    """

    operation: Functions
    count: int
    core: bool
    marked: bool
    pairs: Array

    @property
    def size(self) -> int:
        """Functions of an edge."""
        return self.count + self.core + self.marked


def radial_part(bonds: Bonds, count: int, elements: Sequence[str]) -> RadialPart:
    """The first ``count`` radial functions of every pair, and its core repulsion where any pair has one."""
    pairs = Pairs(bonds)
    formula = pairs.formula
    r = formula.variable**0.5
    q = r * pairs.number(lambda b: 1.0 / b.cutoff)
    kinds = sorted({b.basis for row in bonds for b in row})
    total: list[Number] = [formula.number(0.0)] * count
    for number, kind in enumerate(kinds):
        made = _RULES[kind](pairs, kind, r, q, count)
        total = made if number == 0 else [a + b for a, b in zip(total, made, strict=True)]
    inner = bonds[0][0].inner_kind
    if inner != "density":
        switch = fade(r * pairs.number(lambda b: _over(b.inner_width)) + pairs.number(_start))
    if inner == "distance":
        total = [(1.0 - switch) * g for g in total]
    core = inner == "zbl" or any(b.core_prefactor for row in bonds for b in row)
    if inner == "zbl":
        total += [zbl(pairs, elements, r, q), switch]
    elif core:
        repulsion = _core(pairs, r, q)
        total.append(switch * repulsion if inner == "distance" else repulsion)
    table = np.stack(pairs.columns, axis=-1) if pairs.columns else np.zeros((len(bonds), len(bonds), 0))
    return RadialPart(formula.functions(total), count, core, inner == "zbl", table)


def _over(width: float) -> float:
    return 1.0 / width if width else 0.0


def _start(bond: Bond) -> float:
    """Where u = 0 lies, in widths; without a width u is 1 everywhere."""
    return 1.0 - bond.inner_cutoff / bond.inner_width if bond.inner_width else 1.0


def _mine(pairs: Pairs, kind: str) -> Number:
    """1 for the pairs that have functions of this kind, 0 for others."""
    return pairs.number(lambda b: float(b.basis == kind))


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


def _exponential(pairs: Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
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


def _power(pairs: Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
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


def _linear(pairs: Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
    """(1 - T_k(1 - q)) / 2, k = 1 .. count: not zero at the cutoff."""
    mine = q.below(1.0, 0.5 * _mine(pairs, kind), 0.0)
    return [mine - mine * t for t in _chebyshev(1.0 - q, count + 1)[1:]]


def _bessel(pairs: Pairs, kind: str, r: Number, q: Number, count: int) -> list[Number]:
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


def _core(pairs: Pairs, r: Number, q: Number) -> Number:
    """The repulsion of the cores: a Gaussian over r below a cosine, 0 where the Gaussian is less than e^-50."""
    decay = pairs.formula.variable * pairs.number(lambda b: abs(b.core_decay))
    value = pairs.number(lambda b: abs(b.core_prefactor)) * (-decay).exp() / r * _wave(q)
    return q.below(1.0, decay.below(50.0, value, 0.0), 0.0)


_RULES: dict[str, Callable[[Pairs, str, Number, Number, int], list[Number]]] = {
    "ChebExpCos": _exponential, "ChebPow": _power, "ChebLinear": _linear, "SBessel": _bessel,
}  # fmt: skip
