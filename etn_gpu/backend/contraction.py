"""Products of a few small arrays summed over named indices: matrix products, in an order that is found once.

NumPy's einsum takes longer to find out what to do than such arrays take to multiply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class _Operand:
    """How an array becomes a stack of matrices: axes to sum, the order of the others, the shape they are merged to."""

    summed: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]

    def matrices(self, array: Array) -> Array:
        if self.summed:
            array = np.asarray(array.sum(axis=self.summed))  # not a scalar where nothing is left
        if array.ndim == len(self.order):
            return array.transpose(self.order).reshape(self.shape)
        # An axis of samples comes before those that have names.
        order = (0, *(k + 1 for k in self.order))
        return array.transpose(order).reshape((len(array), *self.shape))


@dataclass(frozen=True)
class _Product:
    """A product of two of the arrays at hand, [stack, rows, inner] times [stack, inner, columns]."""

    places: tuple[int, int]
    first: _Operand
    second: _Operand
    shape: tuple[int, ...]

    def of(self, arrays: list[Array]) -> Array:
        found: Array = np.matmul(
            self.first.matrices(arrays[self.places[0]]), self.second.matrices(arrays[self.places[1]])
        )
        return found.reshape((*found.shape[:-3], *self.shape))


def contract(names: Sequence[str], result: str, factors: Sequence[Array]) -> Array:
    """What ``einsum`` gives for ``names -> result``, one letter for each axis, none twice in one array.

    An array may have one axis of samples in front of those with names, which the result then has too: no sample
    depends on the others.
    """
    shapes = tuple(factor.shape[factor.ndim - len(n) :] for n, factor in zip(names, factors, strict=True))
    products, last = _plan(tuple(names), result, shapes)
    arrays = list(factors)
    for product in products:
        found = product.of(arrays)
        for place in sorted(product.places, reverse=True):
            del arrays[place]
        arrays.append(found)
    (array,) = arrays
    return last.matrices(array)


@lru_cache(maxsize=4096)
def _plan(
    names: tuple[str, ...], result: str, shapes: tuple[tuple[int, ...], ...]
) -> tuple[tuple[_Product, ...], _Operand]:
    size = {letter: n for own, shape in zip(names, shapes, strict=True) for letter, n in zip(own, shape, strict=True)}
    held, products = list(names), []
    for places in _pairs(names, result, shapes):
        first, second = (held[place] for place in places)
        others = {letter for k, own in enumerate(held) if k not in places for letter in own} | set(result)
        both = [letter for letter in first if letter in second]
        stack = "".join(letter for letter in both if letter in others)
        inner = "".join(letter for letter in both if letter not in others)
        rows, columns = (
            "".join(letter for letter in own if letter not in both and letter in others) for own in (first, second)
        )
        made = stack + rows + columns
        products.append(
            _Product(
                places,
                _operand(first, (stack, rows, inner), size),
                _operand(second, (stack, inner, columns), size),
                tuple(size[letter] for letter in made),
            )
        )
        held = [own for k, own in enumerate(held) if k not in places] + [made]
    return tuple(products), _operand(held[0], tuple(result), size)


def _pairs(names: tuple[str, ...], result: str, shapes: tuple[tuple[int, ...], ...]) -> list[tuple[int, int]]:
    """The order of products, each by the places of its factors among what is left; a product goes to the end."""
    arrays = [np.broadcast_to(np.float64(0.0), shape) for shape in shapes]
    steps = np.einsum_path(f"{','.join(names)}->{result}", *arrays, optimize="optimal")[0][1:]
    count, found = len(names), []
    for step in steps:
        group = sorted(step)
        for _ in pairwise(step):
            first, second = group[:2]
            count -= 1
            found.append((first, second))
            # the product is now the last one, and what stood behind its factors has moved up
            group = [*(place - 2 for place in group[2:]), count - 1]
    return found


def _operand(names: str, groups: tuple[str, ...], size: dict[str, int]) -> _Operand:
    wanted = "".join(groups)
    kept = [letter for letter in names if letter in wanted]
    return _Operand(
        tuple(k - len(names) for k, letter in enumerate(names) if letter not in wanted),
        tuple(kept.index(letter) for letter in wanted),
        tuple(prod(size[letter] for letter in group) for group in groups),
    )
