"""Exponentials, logarithms, sines and cosines of vectors, by polynomials in every lane.

Libraries would be called lane by lane.

Arguments are reduced with a number so large that adding it rounds to whole numbers, which then stand in the last bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import factorial, pi
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etn_gpu.backend.cpu.ir import Function, Vector

_LOG2 = math.log(2.0)


def exp(f: Function, x: Vector) -> Vector:
    """e^x, from 2^k e^y with |y| <= log(2) / 2; arguments that would overflow count as those that just do not."""
    double = f.module.dtype.itemsize == 8
    x = _between(f, x, -708.0 if double else -87.0, 709.0 if double else 88.0)
    shifted, k = _rounded(f, x, 1.0 / _LOG2)
    y = _less(f, x, k, _LOG2)
    polynomial = _polynomial(f, y, [1.0 / factorial(n) for n in range(14 if double else 8)])
    exponent = _integer(f, "shl", _bits(f, shifted), 52 if double else 23, x.lanes)
    total = f.emit(f"add {_kind(f, x.lanes)} {_bits(f, polynomial)}, {exponent}")
    return type(x)(f.emit(f"bitcast {_kind(f, x.lanes)} {total} to {f.kind(x.lanes)}"), x.lanes)


def log(f: Function, x: Vector) -> Vector:
    """k log(2) + log(m) with x = 2^k m, sqrt(1/2) <= m < sqrt(2), and log(m) = 2 artanh((m - 1)/(m + 1)).

    Infinity counts as a number just above the largest; zero gives minus infinity, less is not a number.
    """
    double = f.module.dtype.itemsize == 8
    digits, half, smallest = (52, 1022, 2.0**-1022) if double else (23, 126, 2.0**-126)
    one, two, zero = f.constant(1.0), f.constant(2.0), f.constant(0.0)
    normal = f.constant(smallest)
    # Numbers too small to have all their digits are scaled.
    scaled = f.below(x, normal, f.multiply(x, f.constant(2.0**digits)), x)
    shift = f.below(x, normal, f.constant(-float(digits)), zero)
    bits = _bits(f, scaled)
    n = x.lanes
    mantissa = _integer(f, "or", _integer(f, "and", bits, (1 << digits) - 1, n), half << digits, n)
    m = type(x)(f.emit(f"bitcast {_kind(f, n)} {mantissa} to {f.kind(n)}"), n)
    exponent = _integer(f, "sub", _integer(f, "lshr", bits, digits, n), half, n)
    k = f.add(type(x)(f.emit(f"sitofp {_kind(f, n)} {exponent} to {f.kind(n)}"), n), shift)
    bound = f.constant(0.5**0.5)
    k = f.subtract(k, f.below(m, bound, one, zero))
    m = f.below(m, bound, f.add(m, m), m)
    y = f.divide(f.subtract(m, one), f.add(m, one))
    square = f.multiply(y, y)
    series = _polynomial(f, square, [2.0 / (2 * j + 3) for j in range(10 if double else 4)])
    first, rest = _split(f, _LOG2)
    value = f.fma(f.multiply(y, square), series, f.multiply(k, f.constant(rest)))
    value = f.fma(two, y, value)
    value = f.fma(k, f.constant(first), value)
    # Not above zero: minus infinity, or not a number.
    under = f.negate(f.divide(one, f.add(f.sqrt(x), zero)))
    return f.below(x, f.constant(2.0**-1074 if double else 2.0**-149), under, value)


def sine(f: Function, x: Vector, quarter: int = 0) -> Vector:
    """The sine of x + ``quarter`` pi/2, from those of y with |y| <= pi/4."""
    shifted, k = _rounded(f, x, 2.0 / pi)
    y = _less(f, x, k, pi / 2.0)
    square = f.multiply(y, y)
    terms = 9 if f.module.dtype.itemsize == 8 else 5
    odd = f.multiply(y, _polynomial(f, square, [(-1) ** n / factorial(2 * n + 1) for n in range(terms)]))
    even = _polynomial(f, square, [(-1) ** n / factorial(2 * n) for n in range(terms)])
    turn = _integer(f, "add", _bits(f, shifted), quarter, x.lanes)
    value = _chosen(f, turn, 1, even, odd)
    return _chosen(f, turn, 2, f.negate(value), value)


def tanh(f: Function, x: Vector) -> Vector:
    """1 - 2 / (e^2x + 1)."""
    x = _between(f, x, -22.0, 22.0)
    one = f.constant(1.0)
    rest = f.divide(f.constant(2.0), f.add(exp(f, f.add(x, x)), one))
    return f.subtract(one, rest)


def _between(f: Function, x: Vector, low: float, high: float) -> Vector:
    """x, at least ``low`` and at most ``high``; what is not a number stays one."""
    bound = f.constant(high)
    x = f.below(x, bound, x, bound)
    return f.below(f.negate(x), f.constant(-low), x, f.constant(low))


def _rounded(f: Function, x: Vector, factor: float) -> tuple[Vector, Vector]:
    """The whole number next to ``factor`` x: added to a large number, in whose lowest bits it stands, and alone."""
    large = f.constant(1.5 * 2.0 ** (52 if f.module.dtype.itemsize == 8 else 23))
    shifted = f.fma(x, f.constant(factor), large)
    return shifted, f.subtract(shifted, large)


def _less(f: Function, x: Vector, k: Vector, unit: float) -> Vector:
    """x - k ``unit``, with the digits of ``unit`` that one number does not hold."""
    first, rest = _split(f, unit)
    x = f.fma(f.negate(k), f.constant(first), x)
    return f.fma(f.negate(k), f.constant(rest), x)


def _split(f: Function, unit: float) -> tuple[float, float]:
    """``unit`` as a number of the module's type, and the digits that it does not hold."""
    first = float(f.module.dtype.type(unit))
    return first, _rest(unit) if f.module.dtype.itemsize == 8 else unit - first


def _rest(unit: float) -> float:
    """What a double of pi/2 or log 2 lacks of it."""
    return {pi / 2.0: 6.123233995736766e-17, _LOG2: 2.3190468138462996e-17}[unit]


def _polynomial(f: Function, x: Vector, coefficients: Sequence[float]) -> Vector:
    """The sum of c_n x^n."""
    total = f.constant(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = f.fma(total, x, f.constant(c))
    return total


def _kind(f: Function, lanes: int) -> str:
    """The type of vectors of integers as wide as the numbers."""
    return f"<{lanes} x i{8 * f.module.dtype.itemsize}>"


def _bits(f: Function, x: Vector) -> str:
    """The bits of numbers as integers."""
    return f.emit(f"bitcast {f.kind(x.lanes)} {x.name} to {_kind(f, x.lanes)}")


def _integer(f: Function, operation: str, a: str, number: int, lanes: int) -> str:
    """'add', 'and' or 'shl' of integers with ``number``."""
    width = 8 * f.module.dtype.itemsize
    numbers = ", ".join([f"i{width} {number}"] * lanes)
    return f.emit(f"{operation} {_kind(f, lanes)} {a}, <{numbers}>")


def _chosen(f: Function, bits: str, bit: int, then: Vector, otherwise: Vector) -> Vector:
    """``then`` where the bit is set."""
    n, kind = then.lanes, f.kind(then.lanes)
    isolated = _integer(f, "and", bits, bit, n)
    condition = f.emit(f"icmp ne {_kind(f, n)} {isolated}, zeroinitializer")
    return type(then)(f.emit(f"select <{n} x i1> {condition}, {kind} {then.name}, {kind} {otherwise.name}"), n)
