"""What counts as a number."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from etn_gpu.checks import is_number, is_whole


@pytest.mark.parametrize("value", [0, -3, 0.5, np.float32(1.5), np.int64(4), Fraction(1, 3)])
def test_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize(
    "value", [True, np.True_, "3", None, float("nan"), float("inf"), np.float32("nan"), 1j, 10**400, np.ones(1)]
)
def test_what_is_no_number(value: Any) -> None:
    assert not is_number(value)


@pytest.mark.parametrize(("value", "whole"), [(2, True), (np.int32(2), True), (1, False), (2.0, False), (True, False)])
def test_whole_numbers(value: Any, whole: bool) -> None:
    assert is_whole(value, 2) is whole
