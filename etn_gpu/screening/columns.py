"""What a column of the results holds: its kind and its unit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

__all__ = ["Field", "Kind", "ResultColumn", "common_kind", "kind_of", "scalar"]

#: A value of a column; None is an empty field.
Field = str | int | float | bool | None
_LARGEST_INTEGER = 2**63
#: All integers up to here are floats as well.
_LARGEST_EXACT = 2**53
#: Python makes no text of integers of some more digits.
_LARGEST_NUMBER = 2**1024


class Kind(StrEnum):
    """The type of a column; every column may have empty fields."""

    text = "text"
    integer = "integer"
    number = "number"
    flag = "flag"
    #: Integers that a number would round; no column is of this kind (:func:`common_kind`).
    large = "large integer"


@dataclass(frozen=True)
class ResultColumn:
    """A column: its name, its kind, and the unit of its numbers."""

    name: str
    kind: Kind
    unit: str = ""


def scalar(value: Any) -> Field:
    """A value of `info` as one field; None for what is no scalar.

    Arrays with a single entry and no axes count as scalars, complex numbers and integers beyond all floats do not.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
        return None
    return value if isinstance(value, str | int | float | bool) else None


def kind_of(value: str | int | float | bool) -> Kind:
    """The kind of a column that holds this value."""
    if isinstance(value, bool):
        return Kind.flag
    if isinstance(value, int):
        if abs(value) <= _LARGEST_EXACT:
            return Kind.integer
        return Kind.large if -_LARGEST_INTEGER <= value < _LARGEST_INTEGER else Kind.text
    return Kind.number if isinstance(value, float) else Kind.text


def common_kind(kinds: Collection[Kind]) -> Kind:
    """The kind of a column that holds values of all of these; text where nothing else does without a loss."""
    if kinds and set(kinds) <= {Kind.integer, Kind.large}:
        return Kind.integer
    if len(kinds) == 1:
        return next(iter(kinds))
    return Kind.number if kinds and set(kinds) <= {Kind.integer, Kind.number} else Kind.text
