"""Compiled: lines of numbers as text, each number as ``repr`` gives it: the fewest digits that are read back as it.

The digits are found as by R. Giulietti, The Schubfach way to render doubles (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled

#: The longest text of a number, -2.2250738585072014e-308, and what stands behind it.
_LONGEST = 25
_LEAST_POWER, _LARGEST_POWER = -324, 292
_HALF = np.uint64(2**63 - 1)
#: Smaller numbers have fewer bits, and ``repr`` is asked for them.
_SMALLEST = 2.2250738585072014e-308


def lines_of(values: NDArray[np.float64]) -> list[str]:
    """The rows of an array [n, k], k above 0, each as one text with spaces between the numbers.

    >>> lines_of(np.array([[1.0, 0.1], [1e-5, -2e16]]))
    ['1.0 0.1', '1e-05 -2e+16']
    """
    lines = _lines(values, " ", gaps=False)
    return [" ".join(map(repr, row)) for row in values.tolist()] if lines is None else lines


def optional_lines(rows: Sequence[Sequence[float | None]], between: str) -> list[str]:
    """The same for rows of numbers, each of the same length above 0, where None leaves its place empty.

    >>> optional_lines([(1.0, None, 0.1)], ",")
    ['1.0,,0.1']
    """
    if not rows:
        return []
    values = np.array(rows, dtype=np.float64)
    # NaN may stand for None where no number is NaN.
    gaps = int(np.isnan(values).sum()) == sum(row.count(None) for row in rows)
    lines = _lines(values, between, gaps=True) if gaps else None
    if lines is None:
        return [between.join("" if number is None else repr(float(number)) for number in row) for row in rows]
    return lines


def tables_of(values: NDArray[np.float64], sizes: Sequence[int], before: NDArray[np.uint8]) -> list[str]:
    """Tables of so many rows each, which stand one below the other in an array [n, k], as one text each: a line for
    each row, with the characters [n, w] before its numbers.

    >>> tables_of(np.array([[1.0], [2.0], [3.0]]), [1, 2], np.array([[65], [66], [67]], np.uint8))
    ['A1.0\\n', 'B2.0\\nC3.0\\n']
    """
    ends = np.cumsum([0, *sizes])
    written = _written(values, " ", before, gaps=False)
    if written is None:
        rows = zip(before, values.tolist(), strict=True)
        lines = [f"{first.tobytes().decode('ascii')}{' '.join(map(repr, row))}\n" for first, row in rows]
        return ["".join(lines[begin:end]) for begin, end in pairwise(ends.tolist())]
    text, lengths = written
    return [text[begin:end] for begin, end in pairwise(lengths[ends].tolist())]


def _lines(values: NDArray[np.float64], between: str, *, gaps: bool) -> list[str] | None:
    written = _written(values, between, np.empty((len(values), 0), np.uint8), gaps=gaps)
    return None if written is None else written[0].split("\n")[:-1]


def _written(
    values: NDArray[np.float64], between: str, before: NDArray[np.uint8], *, gaps: bool
) -> tuple[str, NDArray[np.int64]] | None:
    """The rows of numbers as lines, with nothing in the place of NaN where there may be `gaps`, and where each begins;
    None where this code knows no text of a number."""
    values = np.ascontiguousarray(values, dtype=np.float64)
    text = np.empty(values.size * _LONGEST + before.size, dtype=np.uint8)
    places = np.zeros(len(values) + 1, dtype=np.int64)
    _write(values, values.view(np.uint64), *_powers(), before.shape[1], ord(between), gaps, places, text)
    if places[-1] < 0:
        return None
    _fill(before, places, text)
    return text[: places[-1]].tobytes().decode("ascii"), places


@cache
def _powers() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Upper and lower 63 bits of powers of ten, from 10^324 down, scaled to 126 bits and rounded up."""
    upper, lower = [], []
    for k in range(_LEAST_POWER, _LARGEST_POWER + 1):
        shift = ((-k * 913124641741) >> 38) - 125
        power = (10**-k, 1) if k <= 0 else (1, 10**k)
        scaled = (power[0] << -shift) // power[1] if shift < 0 else power[0] // (power[1] << shift)
        upper.append((scaled + 1) >> 63)
        lower.append((scaled + 1) & int(_HALF))
    return np.array(upper, dtype=np.uint64), np.array(lower, dtype=np.uint64)


@compiled
def _upper_product(a: Any, b: Any) -> Any:
    """The upper 64 of the 128 bits of a product."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


@compiled
def _scaled(upper: Any, lower: Any, value: Any) -> Any:
    """A product with a power of ten, of which the last bit says whether anything was cut off."""
    one, most = np.uint64(1), np.uint64(63)
    z = ((upper * value) >> one) + _upper_product(lower, value)
    w = _upper_product(upper, value) + (z >> most)
    return w | (((z & _HALF) + _HALF) >> most)


@compiled
def _decimal(bits: Any, uppers: Any, lowers: Any) -> tuple[Any, Any]:
    """Digits and power of ten of a number that is positive and has all its bits."""
    exponent = np.int64((bits >> np.uint64(52)) & np.uint64(0x7FF)) - 1075
    fraction = bits & np.uint64(0xFFFFFFFFFFFFF)
    c = fraction | np.uint64(0x10000000000000)
    if -53 < exponent < 0:
        whole = c >> np.uint64(-exponent)
        if whole << np.uint64(-exponent) == c:
            return whole, 0
    out = c & np.uint64(1)
    middle = c << np.uint64(2)
    right = middle + np.uint64(2)
    if fraction != np.uint64(0) or exponent == -1074:
        left = middle - np.uint64(2)
        k = (exponent * 661971961083) >> 41
    else:
        left = middle - np.uint64(1)
        k = (exponent * 661971961083 - 274743187321) >> 41
    shift = np.uint64(exponent + ((-k * 913124641741) >> 38) + 2)
    upper, lower = uppers[k + 324], lowers[k + 324]
    v = _scaled(upper, lower, middle << shift)
    v_left, v_right = _scaled(upper, lower, left << shift) + out, _scaled(upper, lower, right << shift)
    two, ten = np.uint64(2), np.uint64(10)
    s = v >> two
    shorter = s // ten * ten
    longer = shorter + ten
    below, above = v_left <= shorter << two, (longer << two) + out <= v_right
    if below != above:
        return (shorter if below else longer), k
    t = s + np.uint64(1)
    below, above = v_left <= s << two, (t << two) + out <= v_right
    if below != above:
        return (s if below else t), k
    twice = (s + t) << np.uint64(1)
    return (s if v < twice or (v == twice and s & np.uint64(1) == np.uint64(0)) else t), k


@compiled
def _digits(number: Any, n: int, text: Any, at: int) -> Any:
    """Writes the last n digits of a number; what is left of it."""
    for place in range(at + n - 1, at - 1, -1):
        rest = number // np.uint64(10)
        text[place] = np.uint8(number - rest * np.uint64(10) + np.uint64(48))
        number = rest
    return number


@compiled
def _number(word: Any, uppers: Any, lowers: Any, text: Any, at: int) -> int:
    """Writes the number with these bits; where its text ends."""
    if word >> np.uint64(63):
        text[at] = 45
        at += 1
    word &= _HALF
    number, power = np.uint64(0), 0
    if word != np.uint64(0):
        number, power = _decimal(word, uppers, lowers)
        while number % np.uint64(10) == np.uint64(0):
            number //= np.uint64(10)
            power += 1
    n, beyond = 1, np.uint64(10)
    while number >= beyond:
        n += 1
        beyond *= np.uint64(10)
    point = n + power  # digits before the decimal point
    if not -4 < point <= 16:
        rest = _digits(number, n - 1, text, at + 2)
        text[at] = np.uint8(rest + np.uint64(48))
        if n > 1:
            text[at + 1] = 46
        return _exponent(point - 1, text, at + n + (1 if n > 1 else 0))
    if 0 < point < n:
        rest = _digits(number, n - point, text, at + point + 1)
        text[at + point] = 46
        _digits(rest, point, text, at)
        return at + n + 1
    if point <= 0:
        text[at : at + 2 - point] = 48
        text[at + 1] = 46
        at += 2 - point
        _digits(number, n, text, at)
        return at + n
    _digits(number, n, text, at)
    text[at + n : at + point + 2] = 48
    text[at + point] = 46
    return at + point + 2


@compiled
def _exponent(exponent: int, text: Any, at: int) -> int:
    text[at], text[at + 1] = 101, 45 if exponent < 0 else 43
    at += 2
    exponent = abs(exponent)
    if exponent >= 100:
        text[at] = 48 + exponent // 100
        at += 1
    text[at], text[at + 1] = 48 + exponent // 10 % 10, 48 + exponent % 10
    return at + 2


@compiled
def _write(
    values: Any, bits: Any, uppers: Any, lowers: Any, room: int, between: int, gaps: bool, places: Any, text: Any
) -> None:
    """Lines with `room` before their numbers, and the `places` where they begin; the last one is -1 for no text."""
    at = 0
    for row in range(values.shape[0]):
        at += room
        for column in range(values.shape[1]):
            size = abs(values[row, column])
            if size == 0.0 or _SMALLEST <= size < np.inf:
                at = _number(bits[row, column], uppers, lowers, text, at)
            elif not (gaps and np.isnan(size)):
                places[-1] = -1
                return
            text[at] = between if column + 1 < values.shape[1] else 10
            at += 1
        places[row + 1] = at


@compiled
def _fill(before: Any, places: Any, text: Any) -> None:
    """In a loop of its own: inside of the other one it made that a third slower."""
    for row in range(before.shape[0]):
        for k in range(before.shape[1]):
            text[places[row] + k] = before[row, k]
