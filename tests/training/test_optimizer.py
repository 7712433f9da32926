"""The optimiser on functions whose minimum is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.training.optimizer import (
    MAX_DAMPING,
    MIN_DAMPING,
    MOST_STEPS,
    WINDOW,
    Point,
    Preconditioner,
    State,
    descend,
    minimise,
    trust_step,
)

Array = NDArray[np.float64]
Function = Callable[[Array], tuple[float, Array]]


def rosenbrock(x: Array) -> tuple[float, Array]:
    """Sum of squares of (1 - x_k) and 10 (x_{k+1} - x_k^2); minimum 0 at (1, ..., 1)."""
    a, b = 1 - x[:-1], 10 * (x[1:] - x[:-1] ** 2)
    gradient = np.zeros_like(x)
    gradient[:-1] += -2 * a - 40 * x[:-1] * b
    gradient[1:] += 20 * b
    return float(a @ a + b @ b), gradient


def rosenbrock_gauss_newton(x: Array) -> Array:
    """2 J^T J of its residuals."""
    n = len(x) - 1
    jacobian = np.zeros((2 * n, n + 1))
    k = np.arange(n)
    jacobian[k, k] = -1
    jacobian[n + k, k] = -20 * x[:-1]
    jacobian[n + k, k + 1] = 10
    return 2 * jacobian.T @ jacobian


def quadratic(matrix: Array, centre: Array) -> Function:
    def function(x: Array) -> tuple[float, Array]:
        gradient = matrix @ (x - centre)
        return 0.5 * float((x - centre) @ gradient), gradient

    return function


def ill_conditioned(n: int, condition: float) -> Array:
    rng = np.random.default_rng(4)
    q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return (q * np.geomspace(1.0, condition, n)) @ q.T


def lazily(function: Function) -> Callable[[Array], Point]:
    """The function as the optimiser wants it."""

    def at(x: Array) -> Point:
        loss, gradient = function(x)
        return Point(loss, lambda: gradient)

    return at


def start(function: Function, x: Array) -> State:
    return State(x, *function(x))


def losses_of(function: Function, curvature: Callable[[Array], Array], x: Array, matrices: int) -> list[float]:
    """Losses of the loop that training runs: before, and after the steps with each of some matrices."""
    state = start(function, x)
    losses = [state.loss]
    for _ in range(matrices):
        minimise(state, lazily(function), Preconditioner(curvature(state.theta), state.damping), cost=1.0)
        losses.append(state.loss)
        assert state.loss == function(state.theta)[0]
        np.testing.assert_array_equal(state.gradient, function(state.theta)[1])
    return losses


def test_solve_against_dense() -> None:
    matrix = ill_conditioned(12, 1e4)
    vector = np.random.default_rng(0).normal(size=12)
    preconditioner = Preconditioner(matrix, 0.3)
    expected = np.linalg.solve(matrix + 0.3 * np.diag(np.diag(matrix)), vector)
    np.testing.assert_allclose(preconditioner.solve(vector), expected, rtol=1e-6)
    preconditioner.damp(2.0)
    expected = np.linalg.solve(matrix + 2.0 * np.diag(np.diag(matrix)), vector)
    np.testing.assert_allclose(preconditioner.solve(vector), expected, rtol=1e-6)


def test_solve_with_pairs_is_the_inverse_bfgs_update() -> None:
    """The two-loop recursion against H <- (1 - s y^T/sy) H (1 - y s^T/sy) + s s^T/sy, pair by pair."""
    rng = np.random.default_rng(1)
    matrix, true = ill_conditioned(8, 100.0), ill_conditioned(8, 300.0)
    preconditioner = Preconditioner(matrix, 0.1)
    inverse = np.linalg.inv(matrix + 0.1 * np.diag(np.diag(matrix)))
    for _ in range(5):
        s = rng.normal(size=8)
        y = true @ s
        preconditioner.update(s, y)
        left = np.eye(8) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    vector = rng.normal(size=8)
    np.testing.assert_allclose(preconditioner.solve(vector), inverse @ vector, rtol=1e-6)
    np.testing.assert_allclose(preconditioner.solve(y), s, rtol=1e-6)


def test_pairs_of_negative_curvature_are_refused_and_old_ones_forgotten() -> None:
    preconditioner = Preconditioner(np.eye(3), 0.1, memory=2)
    step = np.array([1.0, 0.0, 0.0])
    preconditioner.update(step, -step)
    preconditioner.update(step, np.array([0.0, 1.0, 0.0]))
    preconditioner.update(np.zeros(3), np.zeros(3))
    assert not preconditioner.pairs
    for k in (1.0, 2.0, 3.0):
        preconditioner.update(step, k * step)
    assert [float(y[0]) for _, y in preconditioner.pairs] == [2.0, 3.0]
    preconditioner.damp(1.0)
    assert not preconditioner.pairs


def test_a_direction_without_curvature_is_damped() -> None:
    """A parameter that no row of the Jacobian touches, and a matrix of zeros."""
    preconditioner = Preconditioner(np.diag([1.0, 0.0]), 0.1)
    assert np.isfinite(preconditioner.solve(np.array([1.0, 0.0]))).all()
    assert not Preconditioner(np.zeros((2, 2)), 0.1).solve(np.zeros(2)).any()


def test_damping_rises_until_an_indefinite_matrix_can_be_factored() -> None:
    """Products in single precision may leave a tiny negative eigenvalue."""
    matrix = ill_conditioned(6, 1e8)
    smallest = np.linalg.eigh(matrix)[1][:, :1]
    matrix -= 200.0 * smallest @ smallest.T
    preconditioner = Preconditioner(matrix, 1e-8)
    assert 1e-8 < preconditioner.damping < 1e-2
    assert np.linalg.eigvalsh(matrix + preconditioner.damping * np.diag(np.diag(matrix)))[0] > 0


def test_a_matrix_that_cannot_be_a_gauss_newton_matrix() -> None:
    with pytest.raises(TrainingError, match="not positive semidefinite"):
        Preconditioner(-np.eye(2), 0.1)
    with pytest.raises(TrainingError, match="not finite"):
        Preconditioner(np.full((2, 2), np.nan), 0.1)


@pytest.mark.parametrize(("given", "used"), [(1e-20, MIN_DAMPING), (1e20, MAX_DAMPING)])
def test_damping_stays_within_bounds(given: float, used: float) -> None:
    assert Preconditioner(np.eye(2), given).damping == used


def test_one_step_solves_a_quadratic() -> None:
    matrix, centre = ill_conditioned(20, 1e6), np.arange(20.0)
    function = quadratic(matrix, centre)
    state = start(function, np.zeros(20))
    first = state.loss
    length = trust_step(state, lazily(function), Preconditioner(matrix, MIN_DAMPING))
    assert length == 1.0
    assert state.loss < 1e-10 * first
    assert state.damping == MIN_DAMPING


def test_a_rough_matrix_is_enough_for_an_ill_conditioned_quadratic() -> None:
    """The secant pairs make up for a sampled matrix: curvatures between half and twice the true ones."""
    matrix, centre = ill_conditioned(20, 1e6), np.arange(20.0)
    root = np.linalg.cholesky(matrix)
    rough = (root * np.random.default_rng(2).uniform(0.5, 2.0, 20)) @ root.T
    losses = losses_of(quadratic(matrix, centre), lambda x: rough, np.zeros(20), 4)
    assert losses[-1] < 1e-8 * losses[0]
    assert (np.diff(losses) <= 0).all()


@pytest.mark.parametrize("n", [2, 10])
def test_rosenbrock(n: int) -> None:
    losses = losses_of(rosenbrock, rosenbrock_gauss_newton, np.full(n, -1.2), 12)
    assert losses[-1] < 1e-12
    assert (np.diff(losses) <= 0).all()


def test_a_dear_matrix_is_kept_for_more_steps() -> None:
    """And every matrix for as long as its steps pay, by the count of evaluations."""
    function = quadratic(ill_conditioned(60, 1e8), np.random.default_rng(0).normal(size=60))
    evaluated = []
    for cost in (10.0, 1e5, 1e7):
        losses: list[float] = []

        def counted(x: Array, losses: list[float] = losses) -> tuple[float, Array]:
            loss, gradient = function(x)
            losses.append(loss)
            return loss, gradient

        state = start(function, np.zeros(60))
        first = state.loss
        minimise(state, lazily(counted), Preconditioner(np.eye(60), 1e3), cost)
        evaluated.append(len(losses))
        best = np.minimum.accumulate([first, *losses])
        mean = (best[0] - best[-1]) / (cost + len(losses))
        # The stop: the last steps were worth less than the mean; some steps before, they had not been.
        assert best[-1] == state.loss
        assert best[-WINDOW] - best[-1] < mean * 2 * WINDOW
    assert evaluated[0] < evaluated[1] < evaluated[2] < 2 * MOST_STEPS


def test_no_step_begins_when_time_is_up() -> None:
    state = start(rosenbrock, np.full(4, -1.2))
    first = state.loss
    minimise(state, lazily(rosenbrock), Preconditioner(rosenbrock_gauss_newton(state.theta), 1.0), 1.0, lambda: False)
    alone = start(rosenbrock, np.full(4, -1.2))
    trust_step(alone, lazily(rosenbrock), Preconditioner(rosenbrock_gauss_newton(alone.theta), 1.0))
    assert state.loss == alone.loss < first


def test_steps_avoid_values_that_are_not_finite() -> None:
    """log(x) ends at 0: full steps from afar land beyond it."""

    def function(x: Array) -> tuple[float, Array]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.sum(x - np.log(x))), 1 - 1 / x

    flat = 0.1 * np.eye(2)
    state = start(function, np.array([6.0, 9.0]))
    losses = [state.loss]
    for _ in range(20):
        preconditioner = Preconditioner(flat, state.damping)
        trust_step(state, lazily(function), preconditioner)
        losses.append(state.loss)
        descend(state, lazily(function), preconditioner)
        losses.append(state.loss)
    assert np.isfinite(losses).all()
    assert (np.diff(losses) <= 0).all()
    np.testing.assert_allclose(state.theta, 1.0, atol=1e-3)


@pytest.mark.parametrize("step", [descend, trust_step])
def test_only_points_that_are_taken_have_their_gradient_computed(step: Callable[..., float]) -> None:
    """The function falls to 0 at 1, beyond 0 it is steep: full steps from 10 go there, and are taken back."""
    losses, gradients = [], []

    def function(x: Array) -> Point:
        losses.append(float(np.sum(np.where(x > 0, (x - 1) ** 2, 1e3 * x**2 + 1))))

        def gradient() -> Array:
            gradients.append(x)
            return np.where(x > 0, 2 * (x - 1), 2e3 * x)

        return Point(losses[-1], gradient)

    first = function(np.array([10.0]))
    state = State(np.array([10.0]), first.loss, first.gradient())
    assert step(state, function, Preconditioner(0.1 * np.eye(1), MIN_DAMPING)) > 0.0
    assert state.loss < first.loss
    np.testing.assert_array_equal(gradients[1:], [state.theta])
    assert len(losses) > 2


@pytest.mark.parametrize("step", [descend, trust_step])
def test_a_point_without_a_finite_gradient_is_not_taken(step: Callable[..., float]) -> None:
    def function(x: Array) -> Point:
        return Point(float(np.sum(x**2)), lambda: np.where(x > 0.5, 2 * x, np.inf))

    state = State(np.array([2.0]), 4.0, np.array([4.0]))
    step(state, function, Preconditioner(2 * np.eye(1), MIN_DAMPING))
    assert 0.5 < state.theta[0] < 2.0
    np.testing.assert_array_equal(state.gradient, 2 * state.theta)


def test_no_decrease_anywhere_leaves_the_state_alone() -> None:
    calls = []

    def function(x: Array) -> tuple[float, Array]:
        calls.append(x)
        return float("nan"), x

    theta = np.array([1.0, 2.0])
    state = State(theta.copy(), 3.0, np.array([1.0, 1.0]))
    assert trust_step(state, lazily(function), Preconditioner(np.eye(2), 0.1)) == 0.0
    np.testing.assert_array_equal(state.theta, theta)
    assert state.loss == 3.0
    assert state.damping > 0.1
    assert len(calls) < 20


def test_at_the_minimum_nothing_moves() -> None:
    function = quadratic(np.eye(3), np.zeros(3))
    state = start(function, np.zeros(3))
    preconditioner = Preconditioner(np.eye(3), 0.1)
    assert trust_step(state, lazily(function), preconditioner) == 0.0
    descend(state, lazily(function), preconditioner)
    assert not state.theta.any()


def test_an_uphill_direction_is_replaced() -> None:
    """Secant pairs that point uphill (kept from a very different place) are dropped."""
    function = quadratic(np.eye(2), np.zeros(2))
    state = start(function, np.array([1.0, 1.0]))
    preconditioner = Preconditioner(np.eye(2), MIN_DAMPING)
    preconditioner.pairs.append((np.array([1.0, 0.0]), np.array([-1.0, 0.0])))
    preconditioner.pairs.append((np.array([0.0, 1.0]), np.array([0.0, -1.0])))
    assert descend(state, lazily(function), preconditioner) == 1.0
    assert state.loss < 1e-12
