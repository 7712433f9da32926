"""Formulas on NumPy arrays: each number is an array, computed when it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.jets import Jets
from etn_gpu.plan.operations import Functions

Array = NDArray[np.floating]
_names = count()


@dataclass(frozen=True)
class Numbers:
    """An array under a name of its own."""

    array: Array
    name: str = field(default_factory=lambda: f"n{next(_names)}")


class ArrayArithmetic:
    """Operations of :class:`~etn_gpu.backend.arithmetic.Arithmetic` on arrays of one type."""

    def __init__(self, dtype: np.dtype) -> None:
        self._type = dtype.type

    def constant(self, value: float) -> Numbers:
        """``value``, which NumPy spreads."""
        return Numbers(np.asarray(value, self._type))

    def add(self, a: Numbers, b: Numbers) -> Numbers:
        """a + b."""
        return Numbers(a.array + b.array)

    def subtract(self, a: Numbers, b: Numbers) -> Numbers:
        """a - b."""
        return Numbers(a.array - b.array)

    def multiply(self, a: Numbers, b: Numbers) -> Numbers:
        """a b."""
        return Numbers(a.array * b.array)

    def divide(self, a: Numbers, b: Numbers) -> Numbers:
        """a / b."""
        return Numbers(a.array / b.array)

    def negate(self, a: Numbers) -> Numbers:
        """-a."""
        return Numbers(-a.array)

    def fma(self, a: Numbers, b: Numbers, c: Numbers | None) -> Numbers:
        """a b + c, a b without c."""
        return self.multiply(a, b) if c is None else Numbers(a.array * b.array + c.array)

    def sqrt(self, a: Numbers) -> Numbers:
        """The square root."""
        return Numbers(np.sqrt(a.array))

    def exp(self, a: Numbers) -> Numbers:
        """e^a."""
        return Numbers(np.exp(a.array))

    def log(self, a: Numbers) -> Numbers:
        """The natural logarithm."""
        return Numbers(np.log(a.array))

    def sin(self, a: Numbers) -> Numbers:
        """The sine."""
        return Numbers(np.sin(a.array))

    def cos(self, a: Numbers) -> Numbers:
        """The cosine."""
        return Numbers(np.cos(a.array))

    def tanh(self, a: Numbers) -> Numbers:
        """The hyperbolic tangent."""
        return Numbers(np.tanh(a.array))

    def below(self, a: Numbers, limit: Numbers, then: Numbers, otherwise: Numbers) -> Numbers:
        """``then`` where a < limit or a is not a number, else ``otherwise``."""
        return Numbers(np.where(a.array >= limit.array, otherwise.array, then.array))


def functions(operation: Functions, x: Array, parameters: Sequence[Array] = ()) -> Array:
    """Derivatives of the operation's order of all functions of x [count, n] -> [functions * count, n].

    ``parameters`` are [n] each.
    """
    arithmetic = ArrayArithmetic(x.dtype)
    with np.errstate(all="ignore"):
        rules: Jets[Numbers] = Jets(arithmetic, operation.order)
        jets = rules.functions(operation, Numbers(x), [Numbers(p) for p in parameters])
    found = [jet[operation.order] for jet in jets]
    return np.concatenate([np.zeros_like(x) if v is None else np.broadcast_to(v.array, x.shape) for v in found])
