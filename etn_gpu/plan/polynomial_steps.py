"""Polynomials as steps of a Program: products of components of atoms, level by level, and linear forms of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.plan.builder import ProgramBuilder
from etn_gpu.plan.operations import Mix, MixBlock, Products
from etn_gpu.plan.polynomials import SharedProducts
from etn_gpu.plan.program import Term, Value

#: Value, real part and imaginary part (None for a real number) of a factor.
Place = tuple[Value, int, int | None]
Row = tuple[int, int, int, float]


@dataclass(frozen=True)
class Monomials:
    """``places``: for each monomial the number of a value in ``values`` and the component that holds its real part."""

    values: tuple[Value, ...]
    places: tuple[tuple[int, int], ...]

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First component and number of components that hold monomials, for each value."""
        reached: list[list[int]] = [[] for _ in self.values]
        for value, component in self.places:
            reached[value].append(component)
        return tuple((min(r), max(r) - min(r) + 1) if r else (0, 0) for r in reached)

    def weights(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients [..., outputs, monomials] in the order in which :meth:`linear_forms` reads them: [..., size]."""
        *lead, outputs, _ = coefficients.shape
        spans = self.spans
        parts = [np.zeros((*lead, outputs, count)) for _, count in spans]
        for monomial, (value, component) in enumerate(self.places):
            parts[value][..., component - spans[value][0]] += coefficients[..., monomial]
        return np.concatenate([p.reshape(*lead, -1) for p in parts], axis=-1)

    def linear_forms(self, outputs: int, weights: Value, first: int = 0, species_stride: int = 0) -> list[Term]:
        """The terms of a step of ``outputs`` components; see :class:`Mix` for the weights, which start at ``first``."""
        terms = []
        for value, (source, count) in zip(self.values, self.spans, strict=True):
            if count:
                block = MixBlock(first, count, outputs, count, 1, source, 0)
                mix = Mix((weights.size, value.size, outputs), (block,), species_stride)
                terms.append(Term(mix, 2, (weights.name, value.name)))
                first += outputs * count
        return terms


def product_steps(builder: ProgramBuilder, plan: SharedProducts, variables: Sequence[Place]) -> Monomials:
    """Steps that make all products of ``plan`` of complex numbers that lie where ``variables`` says."""
    places = list(variables)
    single = {m[0] - 1 for m in plan.monomials if len(m) == 1}
    by_level: dict[int, list[int]] = {}
    for number in range(plan.n_variables, len(plan.real)):
        by_level.setdefault(plan.levels[number], []).append(number)
    places += [(variables[0][0], 0, None)] * len(plan.nodes)
    for _, numbers in sorted(by_level.items()):
        # What is a monomial too comes first, so that linear forms read neighbours.
        numbers.sort(key=lambda k: k not in single)
        size = len(numbers) + sum(not plan.real[k] for k in numbers)
        imaginary = iter(range(len(numbers), size))
        rows = _Rows(size)
        ends = [(k, None if plan.real[k] else next(imaginary)) for k in numbers]
        for re, (number, im) in enumerate(ends):
            rows.multiply(plan.nodes[number - plan.n_variables], places, re, im)
        value = builder.step("products", "atom", rows.terms())
        for re, (number, im) in enumerate(ends):
            places[number] = (value, re, im)
    pairs = [m for m in plan.monomials if len(m) == 2]
    values: list[Value] = []
    if pairs:
        rows = _Rows(len(pairs))
        for re, (a, b) in enumerate(pairs):
            rows.multiply((a, b), places, re, None)
        values.append(builder.step("monomials", "atom", rows.terms()))
    found, last = [], 0
    for m in plan.monomials:
        if len(m) == 2:
            found.append((0, last))
            last += 1
            continue
        value, re, _ = places[m[0] - 1]
        if value not in values:
            values.append(value)
        found.append((values.index(value), re))
    return Monomials(tuple(values), tuple(found))


class _Rows:
    """Rows of products of complex numbers, gathered by the values that they read."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: dict[tuple[Value, Value], dict[tuple[int, int, int], float]] = {}

    def multiply(self, pair: tuple[int, int], places: Sequence[Place], re: int, im: int | None) -> None:
        """The product of two factors, its real part in component ``re``, its imaginary part in ``im`` if wanted."""
        (x, x_re, x_im), (y, y_re, y_im) = (places[abs(v) - 1] for v in pair)
        sx, sy = (1.0 if v > 0 else -1.0 for v in pair)
        self._add(x, x_re, y, y_re, re, 1.0)
        if x_im is not None and y_im is not None:
            self._add(x, x_im, y, y_im, re, -sx * sy)
        if im is not None:
            if y_im is not None:
                self._add(x, x_re, y, y_im, im, sy)
            if x_im is not None:
                self._add(x, x_im, y, y_re, im, sx)

    def _add(self, x: Value, i: int, y: Value, j: int, k: int, factor: float) -> None:
        if (y.name, j) < (x.name, i):
            x, i, y, j = y, j, x, i
        rows = self._rows.setdefault((x, y), {})
        rows[i, j, k] = rows.get((i, j, k), 0.0) + factor

    def terms(self) -> list[Term]:
        """The terms of a step."""
        terms = []
        for (x, y), rows in self._rows.items():
            table = tuple((i, j, k, c) for (i, j, k), c in rows.items() if c)
            terms.append(Term(Products((x.size, y.size, self._size), table), 2, (x.name, y.name)))
        return terms
