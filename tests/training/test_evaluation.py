"""Errors collected and summed up."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.training.data import Piece
from etn_gpu.training.evaluation import CHANCE, GOOD_ENOUGH, collect_errors, score, summary
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


def repeated(energy: float, force: float, structures: int) -> Errors:
    """Errors of structures of 54 atoms that are all alike; no stress."""
    return Errors(np.full(structures, energy), np.full((54 * structures, 3), force), np.full((structures, 6), NAN))


def test_score_is_a_product_of_powers_of_mae_over_sigma() -> None:
    weights = Weights(energy=1 / 0.05**2, forces=1 / 0.5**2, stress=1.0)
    energy = (0.2 / 0.05 + GOOD_ENOUGH) ** (2 / (2 + CHANCE))
    forces = ((7 / 3) / 0.5 + GOOD_ENOUGH) ** (3 / (3 + CHANCE))
    assert score(ERRORS, weights) == pytest.approx(energy * forces)
    without = score(ERRORS, Weights(energy=0.0, forces=4.0, stress=1.0))
    assert without == pytest.approx(forces)


@pytest.mark.parametrize(("structures", "energy_decides"), [(16, False), (1000, True)])
def test_few_energies_are_luck_and_many_are_not(structures: int, energy_decides: bool) -> None:
    """As in a run on Mo: the first iteration had the best energies of 16 structures and by far the worst forces."""
    weights = Weights(energy=1 / 0.00075**2, forces=1 / 0.1**2, stress=1 / 0.003**2)
    first = score(repeated(2.26e-3, 0.0947, structures), weights)
    third = score(repeated(3.41e-3, 0.0853, structures), weights)
    assert (first < third) is energy_decides


def test_unlabelled_structures_do_not_change_the_score() -> None:
    weights = Weights(energy=1.0, forces=1.0, stress=1.0)
    more = Errors(*(np.concatenate((values, np.full_like(values, NAN))) for values in vars(ERRORS).values()))
    assert score(more, weights) == score(ERRORS, weights)


def test_a_few_per_cent_of_the_energies_do_not_outweigh_better_forces() -> None:
    """As in the first iterations on Mo: forces get better by a fifth, energies of a few structures worse by a tenth."""
    weights = Weights(energy=1 / 0.00075**2, forces=1 / 0.1**2, stress=1 / 0.003**2)
    assert score(repeated(2.9e-3, 0.08, 1), weights) < score(repeated(2.6e-3, 0.10, 1), weights)


def test_noise_of_the_last_digit_decides_nothing() -> None:
    """A single structure, whose energy the reference energies give exactly."""
    weights = Weights(energy=1 / 0.00075**2, forces=1 / 0.1**2, stress=0.0)
    assert score(repeated(1e-14, 0.09, 1), weights) < score(repeated(1e-16, 0.1, 1), weights)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [np.inf, -np.inf])
def test_an_error_that_is_not_finite_is_not_dropped(wrong: float) -> None:
    errors = Errors(np.array([0.1, wrong, NAN]), np.array([[0.5, -0.5, 0.5]]), np.full((3, 6), NAN))
    found = summary(errors)
    assert found["energy_mae"] == found["energy_rmse"] == np.inf
    assert found["forces_mae"] == 0.5
    assert found["stress_mae"] is None
    assert score(errors, Weights(energy=1.0, forces=4.0, stress=1.0)) == np.inf
    assert score(errors, Weights(energy=0.0, forces=4.0, stress=1.0)) == (1.0 + GOOD_ENOUGH) ** (3 / (3 + CHANCE))


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
