"""The example in the documentation of the package does what it says."""

from __future__ import annotations

import doctest

from etn_gpu import tensor


def test_example() -> None:
    result = doctest.testmod(tensor)
    assert result.attempted > 5
    assert result.failed == 0


def test_public_names_are_there_and_sorted() -> None:
    assert all(hasattr(tensor, name) for name in tensor.__all__)
    assert len(set(tensor.__all__)) == len(tensor.__all__)
