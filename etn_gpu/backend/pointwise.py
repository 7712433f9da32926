"""Operations on edges as straight-line code: every component is a value in a register.

Functions of scalars come as :mod:`jets <etn_gpu.backend.jets>`, with their derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb, sqrt
from typing import Generic

import numpy as np

from etn_gpu.backend.arithmetic import Arithmetic, N
from etn_gpu.backend.coupling import accumulate, cheapest, coefficients, contract
from etn_gpu.backend.jets import Jet, Jets
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    Couple,
    CoupleBlock,
    Functions,
    Harmonics,
    OfScalars,
    Powers,
    Products,
    Radial,
)
from etn_gpu.plan.program import Step, Term

Components = list[N | None]


def copied(operation: Copy, slot: int) -> Iterator[tuple[int, int]]:
    """(component of the output, component of the operand) for each number that is copied."""
    for block in operation.blocks:
        for index in np.ndindex(block.counts):
            to, of = (
                block.offsets[s] + sum(i * k for i, k in zip(index, block.strides[s], strict=True))
                for s in (slot, 1 - slot)
            )
            yield to, of


def derivative_order(steps: Sequence[Step]) -> int:
    """Largest order of a derivative in these steps."""
    return max((t.operation.order for s in steps for t in s.terms if isinstance(t.operation, OfScalars)), default=0)


class Pointwise(Generic[N]):
    """Writes terms between edge values; ``values`` holds the components of each of them, by name.

    ``order`` is the largest order of a derivative that will be asked for.
    """

    def __init__(self, f: Arithmetic[N], order: int) -> None:
        self.f = f
        self.order = order
        self.values: dict[str, list[N]] = {}
        self._rules = Jets(f, order)
        self._jets: dict[tuple[object, ...], list[Jet[N]]] = {}
        self._pairs: dict[tuple[str, str], N] = {}

    def term(self, term: Term, out: Components[N]) -> None:
        """Add ``term`` to the components of its output; None stands for zero."""
        operation = term.operation
        given = [self.values[name] for name in term.operands]
        if isinstance(operation, Couple):
            for block in operation.blocks:
                self._couple(block, term.slot, term.scale, given, out)
        elif isinstance(operation, Products):
            self._products(operation, term.slot, term.scale, given, out)
        elif isinstance(operation, Copy):
            for to, of in copied(operation, term.slot):
                out[to] = self._add(given[0][of], out[to], term.scale)
        elif isinstance(operation, Constant):
            constant = self.f.constant(term.scale * operation.value)
            for k in range(operation.offset, operation.offset + operation.count):
                out[k] = self._add(constant, out[k], 1.0)
        elif isinstance(operation, Radial):
            self._take(self._radial(operation, given[0][0]), operation.order, term.scale, out)
        elif isinstance(operation, Powers):
            self._take(self._powers(operation.lmax, given[0][0]), operation.order, term.scale, out)
        elif isinstance(operation, Functions):
            self._functions(operation, term.scale, given, out)
        else:
            assert isinstance(operation, Harmonics), operation
            for k, value in enumerate(self._harmonics(operation.lmax, given[0])):
                out[k] = self._add(value, out[k], term.scale)

    def _take(self, jets: Sequence[Jet[N]], order: int, scale: float, out: Components[N]) -> None:
        """Add one derivative of several functions."""
        for k, jet in enumerate(jets):
            if (derivative := jet[order]) is not None:
                out[k] = self._add(derivative, out[k], scale)

    def _add(self, value: N, total: N | None, scale: float) -> N:
        if scale != 1.0:
            return self.f.fma(self.f.constant(scale), value, total)
        return value if total is None else self.f.add(value, total)

    def _couple(
        self, block: CoupleBlock, slot: int, scale: float, given: Sequence[Sequence[N]], out: Components[N]
    ) -> None:
        table = scale * block.coefficient * coefficients(block.ls, slot)
        operands = [s for s in range(3) if s != slot]
        strides = [tuple(k * (2 * block.ls[s] + 1) for k in block.strides[s]) for s in (slot, *operands)]
        work = cheapest(table, block.counts, strides[1], strides[2])
        matrices: dict[int, dict[tuple[int, int], N]] = {}
        for index in np.ndindex(block.counts):
            at = [
                block.offsets[s] + sum(i * k for i, k in zip(index, steps, strict=True))
                for s, steps in zip((slot, *operands), strides, strict=True)
            ]
            first, second, oriented = (2, 1, np.swapaxes(table, 1, 2)) if work == "a" else (1, 2, table)
            x = given[first - 1][at[first] :]
            if work == "pairs":
                part = slice(at[0], at[0] + table.shape[0])
                out[part] = accumulate(self.f, table, x, given[1][at[2] :], out[part])
                continue
            if at[second] not in matrices:
                matrices[at[second]] = contract(self.f, oriented, given[second - 1][at[second] :])
            for (o, k), value in matrices[at[second]].items():
                out[at[0] + o] = self.f.fma(value, x[k], out[at[0] + o])

    def _products(
        self, operation: Products, slot: int, scale: float, given: Sequence[Sequence[N]], out: Components[N]
    ) -> None:
        first, second = (s for s in range(3) if s != slot)
        for row in operation.rows:
            a, b = given[0][int(row[first])], given[1][int(row[second])]
            key = (a.name, b.name)
            if key not in self._pairs:
                self._pairs[key] = self.f.multiply(a, b)
            to, factor = int(row[slot]), scale * row[3]
            out[to] = self._add(self._pairs[key], out[to], factor)

    def _functions(self, operation: Functions, scale: float, given: Sequence[Sequence[N]], out: Components[N]) -> None:
        x, *rest = given
        parameters = rest[0] if rest else ()
        for c in range(operation.count):
            key = ("functions", operation.code, operation.results, x[c].name, *(p.name for p in parameters))
            if key not in self._jets:
                self._jets[key] = self._rules.functions(operation, x[c], parameters)
            for number, jet in enumerate(self._jets[key]):
                if (derivative := jet[operation.order]) is not None:
                    at = number * operation.count + c
                    out[at] = self._add(derivative, out[at], scale)

    def _harmonics(self, lmax: int, vector: Sequence[N]) -> list[N]:
        """F_lm c_m and F_lm s_m, see :func:`~etn_gpu.symmetry.solid_harmonics`; None stands for 1."""
        f = self.f
        y, z, x = vector
        r2 = f.fma(x, x, f.fma(y, y, f.multiply(z, z)))
        out: Components = [None] * (lmax + 1) ** 2
        c: N | None = None
        s: N | None = None
        for m in range(lmax + 1):
            if c is None or s is None:
                c, s = (x, y) if m else (None, None)
            else:
                c, s = f.fma(x, c, f.negate(f.multiply(y, s))), f.fma(x, s, f.multiply(y, c))
            for l, (factor, g) in enumerate(_polynomials(f, m, lmax, z, r2), m):
                radial = _scaled(f, factor, g)
                out[l * l + l + m] = _times(f, radial, c)
                if m:
                    out[l * l + l - m] = _times(f, radial, s)
        return [f.constant(1.0) if v is None else v for v in out]

    def _root(self, s: N) -> list[N]:
        """sqrt(s), 1/s."""
        key = ("root", s.name)
        if key not in self._jets:
            self._jets[key] = [[self.f.sqrt(s), self.f.divide(self.f.constant(1.0), s)]]
        return [v for v in self._jets[key][0] if v is not None]

    def _power(self, first: N, exponent: float, over: N) -> Jet[N]:
        """s^exponent, given as ``first``, and its derivatives."""
        jet: Jet = [first]
        for k in range(self.order):
            factor = self.f.constant(exponent - k)
            jet.append(self.f.multiply(self.f.multiply(factor, over), self._last(jet)))
        return jet

    @staticmethod
    def _last(jet: Jet[N]) -> N:
        assert jet[-1] is not None
        return jet[-1]

    def _powers(self, lmax: int, s: N) -> list[Jet[N]]:
        """r^-l, l = 0 .. lmax."""
        key = ("powers", lmax, s.name)
        if key not in self._jets:
            root, over = self._root(s)
            inverse = self.f.multiply(root, over)
            jets: list[Jet[N]] = [[self.f.constant(1.0)] + [None] * self.order]
            power = inverse
            for l in range(1, lmax + 1):
                jets.append(self._power(power, -0.5 * l, over))
                power = self.f.multiply(power, inverse)
            self._jets[key] = jets
        return self._jets[key]

    def _radial(self, spec: Radial, s: N) -> list[Jet[N]]:
        """T_b(x(r)) (1 - s/cutoff^2)^3 and its derivatives; zero from the cutoff on.

        The recursion of T_b starts from the envelope instead of 1, so that nothing is left to multiply.
        """
        f = self.f
        key = ("radial", spec.count, spec.cutoff, spec.inner, s.name)
        if key not in self._jets:
            limit = spec.cutoff**2
            bound, zero = f.constant(limit), f.constant(0.0)
            inside = f.below(s, bound, s, bound)
            root, over = self._root(inside)
            slope = 2.0 / (spec.cutoff - spec.inner)
            x = [f.multiply(f.constant(slope), v) for v in self._power(root, 0.5, over) if v is not None]
            x[0] = f.subtract(x[0], f.constant(1.0 + slope * spec.inner))
            twice = [f.add(v, v) for v in x]
            envelope = [v and f.below(s, bound, v, zero) for v in self._cutoff(inside, limit)]
            jets = [envelope, self._rules.product(x, envelope)]
            while len(jets) < spec.count:
                jets.append(self._rules.product(twice, jets[-1], [v and f.negate(v) for v in jets[-2]]))
            self._jets[key] = jets[: spec.count]
        return self._jets[key]

    def _cutoff(self, s: N, limit: float) -> Jet[N]:
        """u^3 with u = 1 - s/limit, and its derivatives in s."""
        f = self.f
        u = f.fma(f.constant(-1.0 / limit), s, f.constant(1.0))
        powers: list[N] = [f.constant(1.0), u, f.multiply(u, u)]
        powers.append(f.multiply(powers[2], u))
        jet: Jet = []
        factor = 1.0
        for k in range(self.order + 1):
            jet.append(f.multiply(f.constant(factor), powers[3 - k]) if k <= 3 else None)
            factor *= -(3 - k) / limit
        return jet


def _polynomials(f: Arithmetic[N], m: int, lmax: int, z: N, r2: N) -> Iterator[tuple[float, N | None]]:
    """(k, G), l = m .. lmax: Schmidt semi-normalised Legendre functions F_lm = k G, G = z^(l-m) + ... ; None is 1."""
    below: N | None = None
    g: N | None = None
    k = sqrt((2 if m else 1) * comb(2 * m, m) / 4**m)
    for l in range(m, lmax + 1):
        if l > m:
            last = _times(f, r2, below)
            ratio = ((l - 1) ** 2 - m**2) / ((2 * l - 1) * (2 * l - 3))
            below, g = g, z if g is None else f.fma(z, g, _scaled(f, -ratio, last))
            k *= (2 * l - 1) / sqrt(l**2 - m**2)
        yield k, g


def _times(f: Arithmetic[N], a: N | None, b: N | None) -> N | None:
    """a b, where None stands for 1."""
    return f.multiply(a, b) if a and b else a or b


def _scaled(f: Arithmetic[N], number: float, a: N | None) -> N | None:
    """``number`` a, where None stands for 1."""
    return _times(f, None if number == 1.0 else f.constant(number), a)
