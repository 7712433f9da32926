"""JSON that every reader takes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from etn_gpu.files import json_text


def test_numbers_that_are_not_finite_are_null() -> None:
    value = {"a": [1.5, float("nan"), (np.float64("inf"), {"b": -np.inf})], "c": None, "d": "nan", "e": True}
    found = json.loads(json_text(value), parse_constant=pytest.fail)
    assert found == {"a": [1.5, None, [None, {"b": None}]], "c": None, "d": "nan", "e": True}


def test_whole_numbers_and_all_digits_stay() -> None:
    value = {"n": 10**20, "x": 0.1 + 0.2, "y": 5e-324}
    assert json.loads(json_text(value)) == value
    assert json_text(value).endswith("}\n")


def test_what_has_no_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        json_text({"a": object()})
