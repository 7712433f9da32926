"""Numbers as text are what ``repr`` gives, to the last character."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etn_gpu.screening.number_text import lines_of, optional_lines, tables_of


@settings(max_examples=500)
@given(st.lists(st.floats(), min_size=1, max_size=8))
@example([0.0, -0.0, 1.0, 1e15, 1e16, 1e17, 123456789012345680.0])
@example([1e-4, 1e-5, 0.001, 9.999e-5, 0.1, 0.30000000000000004])
@example([2.2250738585072014e-308, 1.7976931348623157e308, 5e-324, 9007199254740993.0])
@example([float("nan"), float("inf"), -float("inf")])
def test_numbers_are_those_of_repr(values: list[float]) -> None:
    expected = " ".join(map(repr, values))
    assert lines_of(np.array([values, values])) == [expected, expected]


@pytest.mark.parametrize("kind", ["bits", "ordinary", "round", "powers"])
def test_many_numbers(kind: str) -> None:
    rng = np.random.default_rng(5)
    if kind == "bits":
        values = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
        values = values[np.isfinite(values) & (np.abs(values) > 1e-307)]
    elif kind == "ordinary":
        values = rng.normal(size=20_000) * 10.0 ** rng.integers(-8, 5, 20_000)
    elif kind == "round":
        values = np.round(rng.normal(size=20_000) * 100.0, 8)
    else:
        values = np.concatenate([2.0 ** np.arange(-1022, 1024), 10.0 ** np.arange(-307, 309)])
        values = np.concatenate([values, np.nextafter(values, 0.0)[1:], np.nextafter(values, np.inf)[:-1]])
        values = values[(values >= 2.2250738585072014e-308) & (values < np.inf)]
    assert lines_of(values[:, None]) == [*map(repr, values.tolist())]


def test_arrays_of_any_layout() -> None:
    values = np.arange(12.0).reshape(3, 4)
    assert lines_of(values.T)[0] == "0.0 4.0 8.0"
    assert lines_of(np.empty((0, 2))) == []


@settings(max_examples=300)
@given(st.lists(st.tuples(*[st.none() | st.floats()] * 3), max_size=5))
@example([(1.0, None, 0.1), (None, None, None)])
@example([(float("nan"), None, 0.1), (1.0, 2.0, 5e-324)])
def test_missing_numbers_leave_their_places_empty(rows: list[tuple[float | None, ...]]) -> None:
    expected = [",".join("" if number is None else repr(number) for number in row) for row in rows]
    assert optional_lines(rows, ",") == expected


@pytest.mark.parametrize("odd", [1.0, 5e-324])
def test_tables_have_characters_before_their_numbers(odd: float) -> None:
    values = np.array([[0.1, -0.0], [1e22, 3.0], [odd, 7.0]])
    before = np.array([list(b"W  "), list(b"Mo "), list(b"Ta ")], dtype=np.uint8)
    expected = ["W  0.1 -0.0\n", "", f"Mo 1e+22 3.0\nTa {odd!r} 7.0\n"]
    assert tables_of(values, [1, 0, 2], before) == expected
