"""Energies above the hull: against the linear program of each structure alone, and what must hold of any hull."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from etn_gpu.screening.hull import EnergyHull

SYMBOLS = ("Nb", "Mo", "Ta", "W", "Re")


def random_phases(seed: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, size=(n, k))
    counts[counts.sum(axis=1) == 0, 0] = 1
    return counts, rng.normal(scale=0.3, size=n) - 10.0


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("elements", [True, False])
def test_equals_the_program_of_each_structure(k: int, elements: bool) -> None:
    counts, energies = random_phases(k, k, 40)
    if elements:
        counts, energies = np.vstack([counts, np.eye(k)]), np.append(energies, np.full(k, -10.0))
    hull = EnergyHull(SYMBOLS[:k], counts, energies)
    shares = counts / counts.sum(axis=1, keepdims=True)
    for share, energy, above in zip(shares, energies, hull.above(counts, energies), strict=True):
        lowest = linprog(energies, A_eq=shares.T, b_eq=share).fun
        assert above == pytest.approx(energy - lowest, abs=1e-7)
    assert hull.above(counts, energies).min() == pytest.approx(0.0, abs=1e-9)


def test_equals_the_facets_of_a_ternary_hull() -> None:
    counts, energies = random_phases(1, 3, 200)
    counts, energies = np.vstack([counts, np.eye(3)]), np.append(energies, [-10.0, -11.0, -9.0])
    shares = counts / counts.sum(axis=1, keepdims=True)
    facets = ConvexHull(np.column_stack([shares[:, :2], energies])).equations
    lower = facets[facets[:, 2] < -1e-9]
    planes = -(shares[:, :2] @ lower[:, :2].T + lower[:, 3]) / lower[:, 2]
    np.testing.assert_allclose(
        EnergyHull(SYMBOLS[:3], counts, energies).above(counts, energies), energies - planes.max(axis=1), atol=1e-9
    )


def test_binary_by_hand() -> None:
    hull = EnergyHull.of_formulas([({"Mo": 2}, -10.9), ({"W": 1}, -12.9), ({"Mo": 2, "W": 2}, -12.0)])
    assert hull.elements == ("Mo", "W")
    np.testing.assert_allclose(hull.above([[3, 1], [1, 1], [1, 3]], [-11.4, -12.0, -12.46]), [0.05, 0.0, -0.01])
    assert [(share.tolist(), energy) for share, energy in hull.stable()] == [
        ([0.0, 1.0], -12.9),
        ([0.5, 0.5], -12.0),
        ([1.0, 0.0], -10.9),
    ]


def test_no_mixture_of_that_composition() -> None:
    hull = EnergyHull(SYMBOLS[:3], [[1, 1, 0], [0, 1, 0]], [-1.0, -2.0])
    np.testing.assert_array_equal(
        np.isnan(hull.energies([[1, 0, 0], [1, 1, 1], [1, 2, 0], [1, 1, 0]])), [True, True, False, False]
    )
    assert np.isnan(EnergyHull(SYMBOLS[:1], [], []).energies([[1]])).all()


def test_no_phases_at_all() -> None:
    hull = EnergyHull.of_formulas([])
    assert hull.elements == ()
    assert hull.stable() == []
    assert len(hull.energies(np.empty((0, 0)))) == 0


def test_compositions_in_a_part_of_the_space() -> None:
    """Oxides of two metals: no corner is there, and all compositions lie on a line."""
    counts = np.array([[x, 4 - x, 4] for x in range(5)])
    energies = np.array([-5.0, -5.3, -5.4, -5.1, -5.2])
    np.testing.assert_allclose(
        EnergyHull(("Mg", "Ca", "O"), counts, energies).above(counts, energies), [0, 0, 0, 0.2, 0], atol=1e-12
    )


@given(st.integers(0, 10_000), st.integers(2, 4), st.floats(-5, 5), st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_what_any_hull_has(seed: int, k: int, shift: float, times: int) -> None:
    counts, energies = random_phases(seed, k, 15)
    hull = EnergyHull(SYMBOLS[:k], counts, energies)
    above = hull.above(counts, energies)
    assert above.min() > -1e-7
    # Cells may be repeated, and every element may have another reference.
    references = shift * np.arange(1, k + 1)
    moved = energies + counts @ references / counts.sum(axis=1)
    np.testing.assert_allclose(EnergyHull(SYMBOLS[:k], times * counts, moved).above(counts, moved), above, atol=1e-7)
    # A further phase can only lower it.
    more = EnergyHull(SYMBOLS[:k], np.vstack([counts, np.ones(k)]), np.append(energies, -11.0))
    assert (more.above(counts, energies) >= above - 1e-7).all()
