"""Compositions from chemical formulas in Hill order, which have no brackets."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["composition", "reduced_composition"]

_ELEMENT = re.compile(r"([A-Z][a-z]?)(\d*)")


@lru_cache(maxsize=65_536)
def composition(formula: str) -> Mapping[str, int]:
    """How many atoms there are of each element.

    >>> dict(composition("MoW3"))
    {'Mo': 1, 'W': 3}
    """
    return MappingProxyType({symbol: int(count or 1) for symbol, count in _ELEMENT.findall(formula)})


@lru_cache(maxsize=65_536)
def reduced_composition(formula: str) -> tuple[tuple[str, int], ...]:
    """The same for the smallest number of atoms of that composition, sorted by element: equal for Mo2W2 and MoW."""
    counts = composition(formula)
    divisor = math.gcd(*counts.values()) or 1
    return tuple(sorted((symbol, count // divisor) for symbol, count in counts.items()))
