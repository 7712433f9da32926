"""Checks of options that are numbers, with one wording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etn_gpu.checks import is_number, is_whole
from etn_gpu.errors import LearningError

__all__ = ["check_number", "check_positive", "check_whole"]


def check_whole(name: str, value: Any, least: int) -> None:
    """LearningError unless ``value`` is a whole number of at least ``least``."""
    if not is_whole(value, least):
        raise LearningError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_number(
    name: str, value: Any, expected: str = "a finite number", holds: Callable[[Any], bool] = lambda number: True
) -> None:
    """LearningError unless ``value`` is a finite number for which ``holds``: ``expected`` in words."""
    if not is_number(value) or not holds(value):
        raise LearningError(f"{name} must be {expected}, got {value!r}")


def check_positive(name: str, value: Any) -> None:
    """LearningError unless ``value`` is a finite number above zero."""
    check_number(name, value, "a positive number", lambda number: number > 0)
