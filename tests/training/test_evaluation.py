"""Errors collected and summed up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.training.data import Piece
from etn_gpu.training.evaluation import GOOD_ENOUGH, collect_errors, score, summary
from etn_gpu.training.objective import Errors, Objective, Weights

Array = NDArray[np.float64]
NAN = np.nan
ERRORS = Errors(np.array([0.1, -0.3, NAN]), np.array([[3.0, 0.0, -4.0], [NAN, NAN, NAN]]), np.full((3, 6), NAN))


def test_summary() -> None:
    found = summary(ERRORS)
    assert found["energy_mae"] == pytest.approx(0.2)
    assert found["energy_rmse"] == pytest.approx(np.sqrt(0.05))
    assert found["forces_mae"] == pytest.approx(7 / 3)
    assert found["forces_rmse"] == pytest.approx(np.sqrt(25 / 3))
    assert found["stress_mae"] is None
    assert found["stress_rmse"] is None


def test_score_is_the_product_of_mae_over_sigma() -> None:
    weights = Weights(energy=1 / 0.05**2, forces=1 / 0.5**2, stress=1.0)
    assert score(ERRORS, weights) == pytest.approx((0.2 / 0.05 + GOOD_ENOUGH) * ((7 / 3) / 0.5 + GOOD_ENOUGH))
    assert score(ERRORS, Weights(energy=0.0, forces=1.0, stress=1.0)) == pytest.approx(7 / 3 + GOOD_ENOUGH)


def test_a_few_per_cent_of_the_energies_do_not_outweigh_better_forces() -> None:
    """As in the first iterations on Mo: forces get better by a fifth, energies of a few structures worse by a tenth."""
    weights = Weights(energy=1 / 0.00075**2, forces=1 / 0.1**2, stress=1 / 0.003**2)
    nothing = np.full((1, 6), NAN)
    before = Errors(np.array([2.6e-3]), np.full((1, 3), 0.10), nothing)
    after = Errors(np.array([2.9e-3]), np.full((1, 3), 0.08), nothing)
    assert score(after, weights) < score(before, weights)


def test_noise_of_the_last_digit_decides_nothing() -> None:
    """A single structure, whose energy the reference energies give exactly."""
    weights = Weights(energy=1 / 0.00075**2, forces=1 / 0.1**2, stress=0.0)
    nothing = np.full((1, 6), NAN)
    before, after = (
        Errors(np.array([energy]), np.full((1, 3), force), nothing) for energy, force in ((1e-16, 0.1), (1e-14, 0.09))
    )
    assert score(after, weights) < score(before, weights)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [np.inf, -np.inf])
def test_an_error_that_is_not_finite_is_not_dropped(wrong: float) -> None:
    errors = Errors(np.array([0.1, wrong, NAN]), np.array([[0.5, -0.5, 0.5]]), np.full((3, 6), NAN))
    found = summary(errors)
    assert found["energy_mae"] == found["energy_rmse"] == np.inf
    assert found["forces_mae"] == 0.5
    assert found["stress_mae"] is None
    assert score(errors, Weights(energy=1.0, forces=4.0, stress=1.0)) == np.inf
    assert score(errors, Weights(energy=0.0, forces=4.0, stress=1.0)) == 1.0 + GOOD_ENOUGH


def test_predictions_that_overflow_show_in_the_summary(objective: Objective, pieces: list[Piece], theta: Array) -> None:
    found = summary(collect_errors(objective, 1e200 * theta, pieces))
    assert set(found.values()) == {np.inf}


def test_collected_errors_keep_the_order(objective: Objective, pieces: list[Piece], theta: Array) -> None:
    together = collect_errors(objective, theta, pieces)
    np.testing.assert_array_equal(together.energy, np.concatenate([objective.errors(theta, p).energy for p in pieces]))
    assert together.forces.shape == (sum(p.batch.n_atoms for p in pieces), 3)
    assert together.stress.shape == (sum(p.batch.n_structures for p in pieces), 6)


def test_no_pieces(objective: Objective, theta: Array) -> None:
    nothing = collect_errors(objective, theta, [])
    assert nothing.forces.shape == (0, 3)
    assert set(summary(nothing).values()) == {None}
    assert score(nothing, objective.weights) == 1.0, "an empty product: no model is better than another"
