"""Lowest mixtures: the phases that the solver finds, without it where there is no doubt."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.screening import mixtures
from etn_gpu.screening.mixtures import lowest_mixture


def refuse(*arguments: object) -> None:
    raise AssertionError("the solver was called")


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_phases_are_those_of_the_solver(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(k)
    counts = np.vstack([rng.integers(0, 6, size=(80, k)) + np.eye(k, dtype=int)[rng.integers(k, size=80)], np.eye(k)])
    shares = np.unique(counts / counts.sum(axis=1, keepdims=True), axis=0)
    energies = rng.normal(scale=0.2, size=len(shares)) - 10.0
    over = [*shares[:30], *rng.dirichlet(np.ones(k), size=30)]
    expected = [mixtures._by_highs(shares, energies, share) for share in over]
    monkeypatch.setattr(mixtures, "_by_highs", refuse)
    for share, phases in zip(over, expected, strict=True):
        assert phases is not None
        np.testing.assert_array_equal(lowest_mixture(shares, energies, share), phases)


def test_the_solver_decides_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    line = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5], [0.0, 1.0]])
    asked: list[int] = []

    def solver(shares: object, energies: object, composition: object) -> None:
        asked.append(1)

    monkeypatch.setattr(mixtures, "_by_highs", solver)
    assert lowest_mixture(line, np.array([0.0, -1.0, -2.0, -1.0]), np.array([0.9, 0.1])) is None  # three on one line
    assert lowest_mixture(line[1:], np.array([-1.5, -2.0, -1.0]), np.array([0.6, 0.4])) is None  # without an element
    assert len(asked) == 2
    found = lowest_mixture(line, np.array([0.0, -1.5, -2.0, -1.0]), np.array([0.6, 0.4]))
    np.testing.assert_array_equal(found, [1, 2])
    assert len(asked) == 2


def test_no_phases_and_no_mixture() -> None:
    assert lowest_mixture(np.empty((0, 2)), np.empty(0), np.array([0.5, 0.5])) is None
    assert lowest_mixture(np.array([[1.0, 0.0]]), np.array([-1.0]), np.array([0.5, 0.5])) is None
