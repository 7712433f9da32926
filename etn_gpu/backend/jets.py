"""Jets: a function of one variable with its derivatives of order 1, 2, ... in it, as numbers of written code.

None stands for zero. Recursions are those of Taylor arithmetic: a differential equation of first order that the
function obeys, such as y' = a' y for y = exp(a), differentiated by the Leibniz rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb
from typing import Generic

from etn_gpu.backend.arithmetic import Arithmetic, N
from etn_gpu.plan.operations import Functions

Jet = list[N | None]


class Jets(Generic[N]):
    """Writes jets up to derivatives of ``order``."""

    def __init__(self, f: Arithmetic[N], order: int) -> None:
        self.f, self.order = f, order

    def constant(self, value: float) -> Jet[N]:
        """A number that does not change."""
        return [self.f.constant(value)] + [None] * self.order

    def variable(self, x: N) -> Jet[N]:
        """The variable itself."""
        return ([x, self.f.constant(1.0)] + [None] * self.order)[: self.order + 1]

    def add(self, a: Jet[N], b: Jet[N]) -> Jet[N]:
        """a + b."""
        return [q if p is None else p if q is None else self.f.add(p, q) for p, q in zip(a, b, strict=True)]

    def product(self, a: Sequence[N | None], b: Sequence[N | None], start: Jet[N] | None = None) -> Jet[N]:
        """``start`` + a b."""
        return [
            self._sum(((comb(k, j), a[j], b[k - j]) for j in range(k + 1)), start[k] if start else None)
            for k in range(len(a))
        ]

    def power(self, a: Jet[N], exponent: float) -> Jet[N]:
        """a^exponent for multiples of 1/2, from a y' = exponent a' y; for whole exponents >= 0 also where a = 0."""
        f = self.f
        if exponent >= 0 and exponent.is_integer():
            return self._whole_power(a, int(exponent))
        first = _there(a[0])
        over = f.divide(f.constant(1.0), first)
        jet: Jet[N] = [self._value(first, over, exponent)]
        for k in range(1, self.order + 1):
            total = self._chained(a, jet, k)
            if total is not None:
                total = f.multiply(f.constant(exponent), total)
            rest = self._sum((comb(k - 1, j), a[j], jet[k - j]) for j in range(1, k))
            if rest is not None:
                total = f.negate(rest) if total is None else f.subtract(total, rest)
            jet.append(None if total is None else f.multiply(over, total))
        return jet

    def exp(self, a: Jet[N]) -> Jet[N]:
        """e^a."""
        jet: Jet[N] = [self.f.exp(_there(a[0]))]
        for k in range(1, self.order + 1):
            jet.append(self._chained(a, jet, k))
        return jet

    def log(self, a: Jet[N]) -> Jet[N]:
        """log a, from a y' = a'."""
        f = self.f
        first = _there(a[0])
        jet: Jet[N] = [f.log(first)]
        if self.order:
            over = f.divide(f.constant(1.0), first)
        for k in range(1, self.order + 1):
            rest = self._sum((comb(k - 1, j), a[j], jet[k - j]) for j in range(1, k))
            slope = a[k]
            if rest is not None:
                slope = f.negate(rest) if slope is None else f.subtract(slope, rest)
            jet.append(None if slope is None else f.multiply(over, slope))
        return jet

    def sin_cos(self, a: Jet[N]) -> tuple[Jet[N], Jet[N]]:
        """sin a and cos a."""
        sines: Jet[N] = [self.f.sin(_there(a[0]))]
        cosines: Jet[N] = [self.f.cos(_there(a[0]))]
        for k in range(1, self.order + 1):
            sine, cosine = self._chained(a, cosines, k), self._chained(a, sines, k)
            sines.append(sine)
            cosines.append(None if cosine is None else self.f.negate(cosine))
        return sines, cosines

    def tanh(self, a: Jet[N]) -> Jet[N]:
        """tanh a, from y' = (1 - y^2) a'."""
        jet: Jet[N] = [self.f.tanh(_there(a[0]))]
        rest: Jet[N] = []
        for k in range(1, self.order + 1):
            square = self._sum((comb(k - 1, j), jet[j], jet[k - 1 - j]) for j in range(k))
            square = None if square is None else self.f.negate(square)
            rest.append(square if k > 1 or square is None else self.f.add(self.f.constant(1.0), square))
            jet.append(self._chained(a, rest, k))
        return jet

    def below(self, a: Jet[N], limit: float, then: Jet[N], otherwise: Jet[N]) -> Jet[N]:
        """``then`` where a < limit or a is not a number, else ``otherwise``."""
        zero, bound = self.f.constant(0.0), self.f.constant(limit)

        def choose(p: N | None, q: N | None) -> N | None:
            if p is None and q is None:
                return None
            return self.f.below(_there(a[0]), bound, zero if p is None else p, zero if q is None else q)

        return [choose(p, q) for p, q in zip(then, otherwise, strict=True)]

    def functions(self, operation: Functions, x: N, parameters: Sequence[N] = ()) -> list[Jet[N]]:
        """The functions of one variable, each with its derivatives."""
        numbers: list[Jet[N]] = []
        angles: dict[int, tuple[Jet[N], Jet[N]]] = {}
        for name, *arguments in operation.code:
            if name == "variable":
                numbers.append(self.variable(x))
                continue
            if name == "parameter":
                numbers.append([parameters[int(arguments[0])]] + [None] * self.order)
                continue
            if name == "constant":
                numbers.append(self.constant(float(arguments[0])))
                continue
            a = numbers[int(arguments[0])]
            if name in ("add", "multiply"):
                combine = self.add if name == "add" else self.product
                numbers.append(combine(a, numbers[int(arguments[1])]))
            elif name == "power":
                numbers.append(self.power(a, float(arguments[1])))
            elif name in ("sin", "cos"):
                at = int(arguments[0])
                if at not in angles:
                    angles[at] = self.sin_cos(a)
                numbers.append(angles[at][name == "cos"])
            elif name == "below":
                then, otherwise = (numbers[int(k)] for k in arguments[2:])
                numbers.append(self.below(a, float(arguments[1]), then, otherwise))
            else:
                numbers.append({"exp": self.exp, "log": self.log, "tanh": self.tanh}[str(name)](a))
        return [numbers[k] for k in operation.results]

    def _whole_power(self, a: Jet[N], exponent: int) -> Jet[N]:
        result: Jet[N] | None = None
        while exponent:
            if exponent & 1:
                result = a if result is None else self.product(result, a)
            exponent >>= 1
            if exponent:
                a = self.product(a, a)
        return self.constant(1.0) if result is None else result

    def _value(self, a: N, over: N, exponent: float) -> N:
        """a^exponent, exponent a multiple of 1/2; ``over`` is 1/a."""
        f = self.f
        whole, half = divmod(round(2 * abs(exponent)), 2)
        base = over if exponent < 0 else a
        result: N | None = None
        for _ in range(whole):
            result = base if result is None else f.multiply(result, base)
        if half:
            root = f.sqrt(a)
            root = f.multiply(root, over) if exponent < 0 else root
            result = root if result is None else f.multiply(result, root)
        return _there(result)

    def _chained(self, a: Jet[N], y: Jet[N], k: int) -> N | None:
        """The derivative of order k - 1 of a' y."""
        return self._sum((comb(k - 1, j), a[j + 1], y[k - 1 - j]) for j in range(k))

    def _sum(self, products: Iterable[tuple[int, N | None, N | None]], total: N | None = None) -> N | None:
        """``total`` + the sum of (number, left, right)."""
        for number, left, right in products:
            if left is None or right is None:
                continue
            if number != 1:
                left = self.f.multiply(self.f.constant(number), left)
            total = self.f.fma(left, right, total)
        return total


def _there(number: N | None) -> N:
    assert number is not None
    return number
