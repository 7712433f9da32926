"""What counts as a number where users give one. Truth values, text and what is not finite do not."""

from __future__ import annotations

from math import isfinite
from numbers import Integral, Real
from typing import Any

__all__ = ["is_number", "is_whole"]


def is_number(value: Any) -> bool:
    """Whether it is a finite real number.

    >>> is_number(3), is_number(True), is_number(float("nan")), is_number("3")
    (True, False, False, False)
    """
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def is_whole(value: Any, least: int) -> bool:
    """Whether it is an integer of at least ``least``."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
