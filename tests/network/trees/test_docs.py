"""The example in the documentation of the package does what it says."""

from __future__ import annotations

import doctest

from etn_gpu import network


def test_example() -> None:
    result = doctest.testmod(network)
    assert result.attempted > 5
    assert result.failed == 0


def test_public_names_are_there_and_sorted() -> None:
    assert all(hasattr(network, name) for name in network.__all__)
    assert sorted(network.__all__) == network.__all__
