"""What straight-line code is written with: one interface for every language that a backend prints."""

from __future__ import annotations

from typing import Protocol, TypeVar


class Number(Protocol):
    """A value of the written code, or a literal."""

    @property
    def name(self) -> str:
        """Its name, or its text: two numbers with one name are the same number."""


N = TypeVar("N", bound=Number)


class Arithmetic(Protocol[N]):
    """Writes operations on numbers, one result each, in the order of the calls."""

    def constant(self, value: float) -> N:
        """``value``, rounded to the precision of the written code."""

    def add(self, a: N, b: N) -> N:
        """a + b."""

    def subtract(self, a: N, b: N) -> N:
        """a - b."""

    def multiply(self, a: N, b: N) -> N:
        """a b."""

    def divide(self, a: N, b: N) -> N:
        """a / b."""

    def negate(self, a: N) -> N:
        """-a."""

    def fma(self, a: N, b: N, c: N | None) -> N:
        """a b + c, rounded once; a b without c."""

    def sqrt(self, a: N) -> N:
        """The square root."""

    def exp(self, a: N) -> N:
        """e^a."""

    def log(self, a: N) -> N:
        """The natural logarithm."""

    def sin(self, a: N) -> N:
        """The sine of a in radians, |a| < 1e5."""

    def cos(self, a: N) -> N:
        """The cosine of a in radians, |a| < 1e5."""

    def tanh(self, a: N) -> N:
        """The hyperbolic tangent."""

    def below(self, a: N, limit: N, then: N, otherwise: N) -> N:
        """``then`` where a < limit or a is not a number, else ``otherwise``."""
