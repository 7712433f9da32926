"""Which elements structures and phases are made of, and in what shares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.html.content import Array
from etn_gpu.screening.hull import EnergyHull

__all__ = ["Compositions", "Phases"]

_PART = re.compile(r"([A-Z][a-z]?)(\d*)")
_FORMULA = re.compile(rf"(?:{_PART.pattern})+")
_NONE = 1e-9
#: Shares that are no ratios of numbers up to this are shown as they are.
_LARGEST_CELL = 120


class Compositions:
    """The compositions of formulas [N]; what is no formula has none."""

    def __init__(self, formulas: Sequence[str | None]) -> None:
        known: dict[str | None, int] = {}
        self._place = np.array([known.setdefault(formula, len(known)) for formula in formulas], dtype=np.int64)
        self._counts = [_counts(formula) for formula in known]
        number = np.bincount(self._place, minlength=len(known)).tolist()
        systems: Counter[tuple[str, ...]] = Counter()
        for counts, n in zip(self._counts, number, strict=True):
            if counts:
                systems[tuple(sorted(counts))] += n
        #: How many structures have exactly these elements.
        self.systems = dict(sorted(systems.items()))

    @property
    def elements(self) -> tuple[str, ...]:
        """All elements, in alphabetical order."""
        return tuple(sorted({symbol for system in self.systems for symbol in system}))

    def within(self, elements: Sequence[str]) -> tuple[NDArray[np.int64], Array]:
        """The structures that have no other elements: their places [n] and shares [n, k] of the elements."""
        inside = np.array([bool(counts) and counts.keys() <= set(elements) for counts in self._counts], dtype=bool)
        shares = np.array(
            [
                [c.get(e, 0) for e in elements] if i else [0] * len(elements)
                for c, i in zip(self._counts, inside, strict=True)
            ],
            dtype=np.float64,
        ).reshape(len(inside), len(elements))
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
        rows = np.flatnonzero(inside[self._place]) if len(self._place) else np.empty(0, np.int64)
        return rows, shares[self._place[rows]]


def _counts(formula: str | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    if formula and _FORMULA.fullmatch(formula):
        for symbol, number in _PART.findall(formula):
            counts[symbol] = counts.get(symbol, 0) + int(number or 1)
    return {symbol: n for symbol, n in counts.items() if n}


@dataclass(frozen=True)
class Phases:
    """The phases on a hull.

    Attributes:
        elements: chemical symbols.
        shares: [P, k] of the elements.
        energies: [P] in eV per atom, on the scale of the hull.
    """

    elements: tuple[str, ...]
    shares: Array
    energies: Array

    @staticmethod
    def of(hull: EnergyHull | None) -> Phases:
        """The phases on a hull, none where there is none; elements in alphabetical order."""
        found = hull.stable() if hull else []
        elements = hull.elements if hull else ()
        order = sorted(range(len(elements)), key=lambda z: elements[z])
        shares = np.array([shares for shares, _ in found]).reshape(len(found), len(elements))[:, order]
        return Phases(tuple(elements[z] for z in order), shares, np.array([energy for _, energy in found]))

    def within(self, elements: Sequence[str]) -> Phases:
        """The phases made of some elements only: those on the hull of these elements."""
        places = [self.elements.index(symbol) for symbol in elements if symbol in self.elements]
        shares = np.zeros((len(self.shares), len(elements)))
        for column, symbol in enumerate(elements):
            if symbol in self.elements:
                shares[:, column] = self.shares[:, self.elements.index(symbol)]
        kept = self.shares[:, places].sum(axis=1) > 1.0 - _NONE
        return Phases(tuple(elements), shares[kept], self.energies[kept])

    @cached_property
    def formation(self) -> Array:
        """Energies [P] relative to the pure elements among the phases, in eV per atom; nan where one is missing."""
        pure = np.full(len(self.elements), np.nan)
        for shares, energy in zip(self.shares, self.energies, strict=True):
            if shares.max() > 1.0 - _NONE:
                pure[shares.argmax()] = energy
        parts = np.where(self.shares > _NONE, self.shares * pure, 0.0)
        formed: Array = self.energies - parts.sum(axis=1)
        return np.where(np.abs(formed) < _NONE, 0.0, formed)

    @cached_property
    def formulas(self) -> list[str]:
        """Reduced formulas."""
        return [self._formula(shares) for shares in self.shares]

    def _formula(self, shares: Array) -> str:
        for n in range(1, _LARGEST_CELL + 1):
            counts = np.round(shares * n)
            if np.abs(counts - shares * n).max() < 1e-7 * n:
                parts = [f"{e}{int(c) if c > 1 else ''}" for e, c in zip(self.elements, counts, strict=True) if c]
                return "".join(parts)
        return "".join(f"{e}{s:.3f}" for e, s in zip(self.elements, shares, strict=True) if s > _NONE)
