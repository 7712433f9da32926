"""L-BFGS preconditioned by a Gauss-Newton matrix.

The Gauss-Newton matrix, damped as in Levenberg and Marquardt, makes all directions about equally long: the model is
multilinear in its cores, so the plain gradient is hopelessly scaled (a gauge transformation rescales it at will). It is
built from a sample of Jacobian rows and kept for as many steps as it is worth; the limited-memory secant pairs, from
exact gradients, correct what the sample and the neglected second-order term get wrong. That term is large: residuals
are what the model cannot represent, not noise, so that a Gauss-Newton step alone goes far too far along the long
curved valleys of a multilinear model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.training.deadline import TimeIsUp

Array = NDArray[np.float64]

SUFFICIENT_DECREASE = 1e-4
MAX_BACKTRACKS = 12
#: A line search begins with at most so many times the length of the last step.
GROWTH = 1.5
MAX_RAISES = 3
MIN_DAMPING, MAX_DAMPING = 1e-8, 1e4
#: Share of an evaluation that the loss alone costs, without its gradient.
LOSS_SHARE = 0.36
#: Steps with one matrix: the last WINDOW of them are compared with all, once there are LEAST_STEPS.
WINDOW, LEAST_STEPS, MOST_STEPS = 10, 20, 100


@dataclass(frozen=True)
class Point:
    """The loss somewhere, and its gradient, computed when it is asked for: where a line search passes, it never is."""

    loss: float
    gradient: Callable[[], Array]


Function = Callable[[Array], Point]


@dataclass
class State:
    """Where the minimisation stands."""

    theta: Array
    loss: float
    gradient: Array
    damping: float = 1e-2


@dataclass
class Preconditioner:
    """Solves with H + damping * diag(H), and the secant pairs collected since H was built."""

    matrix: Array
    damping: float
    memory: int = MOST_STEPS
    pairs: deque[tuple[Array, Array]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.damp(self.damping)

    def damp(self, damping: float) -> None:
        """Change the damping and forget the secant pairs; more damping where rounding left H slightly indefinite.

        Raises:
            TrainingError: H is not finite, or far from positive semidefinite.
        """
        self.damping = float(np.clip(damping, MIN_DAMPING, MAX_DAMPING))
        self.pairs.clear()
        while True:
            try:
                self._factor = scipy.linalg.cho_factor(self.damped(), overwrite_a=True)
                return
            except np.linalg.LinAlgError:
                if self.damping >= MAX_DAMPING:
                    raise TrainingError("the Gauss-Newton matrix is not positive semidefinite") from None
                self.damping = min(10.0 * self.damping, MAX_DAMPING)
            except ValueError:
                raise TrainingError("the Gauss-Newton matrix is not finite: the model diverges on these data") from None

    def damped(self) -> Array:
        """H + damping * diag(H), and a floor on the diagonal."""
        diagonal = np.diag(self.matrix)
        floor = 1e-9 * diagonal.max() + np.finfo(float).tiny
        matrix = self.matrix.copy()
        matrix[np.diag_indices_from(matrix)] += self.damping * np.maximum(diagonal, floor) + floor
        return matrix

    def solve(self, vector: Array) -> Array:
        """(H + damping diag H)^-1 vector, corrected by the two-loop recursion of L-BFGS."""
        q = vector.copy()
        coefficients = []
        for s, y in reversed(self.pairs):
            a = (s @ q) / (s @ y)
            q -= a * y
            coefficients.append(a)
        q = scipy.linalg.cho_solve(self._factor, q)
        for (s, y), a in zip(self.pairs, reversed(coefficients), strict=True):
            q += s * (a - (y @ q) / (s @ y))
        return q

    def update(self, step: Array, change: Array) -> None:
        """Add a secant pair if its curvature is positive."""
        if step @ change > 1e-10 * np.linalg.norm(step) * np.linalg.norm(change):
            self.pairs.append((step, change))
            if len(self.pairs) > self.memory:
                self.pairs.popleft()


def descend(state: State, function: Function, preconditioner: Preconditioner, longest: float = 1.0) -> float:
    """One step with backtracking from a length of ``longest``.

    Updates ``state`` and returns the step length, 0 where no decrease was found.
    """
    direction = -preconditioner.solve(state.gradient)
    slope = float(direction @ state.gradient)
    if slope >= 0:
        preconditioner.pairs.clear()
        direction = -preconditioner.solve(state.gradient)
        slope = float(direction @ state.gradient)
    length = longest
    for _ in range(MAX_BACKTRACKS):
        theta = state.theta + length * direction
        point = function(theta)
        rise = point.loss - state.loss
        if np.isfinite(rise) and rise <= SUFFICIENT_DECREASE * length * slope:
            if _moved(state, theta, point, preconditioner):
                return length
            rise = np.inf
        length = _shorter(length, rise, slope)
    return 0.0


def trust_step(state: State, function: Function, preconditioner: Preconditioner) -> float:
    """A Levenberg-Marquardt step: at full length, with more damping until the loss falls; else a line search.

    Updates ``state``, its damping included, and returns the step length, 0 where no decrease was found.
    """
    for _ in range(MAX_RAISES):
        step = -preconditioner.solve(state.gradient)
        predicted = -(step @ state.gradient + 0.5 * step @ (preconditioner.matrix @ step))
        if not predicted > 0:
            return 0.0
        theta = state.theta + step
        point = function(theta)
        gain = (state.loss - point.loss) / predicted if np.isfinite(point.loss) else -1.0
        if gain > 0.1 and _moved(state, theta, point, preconditioner):
            factor = 0.1 if gain > 0.7 else 0.3 if gain > 0.4 else 1.0
            state.damping = float(np.clip(factor * preconditioner.damping, MIN_DAMPING, MAX_DAMPING))
            return 1.0
        preconditioner.damp(5.0 * preconditioner.damping)
    state.damping = preconditioner.damping
    return descend(state, function, preconditioner)


def _moved(state: State, theta: Array, point: Point, preconditioner: Preconditioner) -> bool:
    """Move the state to ``theta`` and add the secant pair; False where the gradient there is not finite."""
    gradient = point.gradient()
    if not np.isfinite(gradient).all():
        return False
    preconditioner.update(theta - state.theta, gradient - state.gradient)
    state.theta, state.loss, state.gradient = theta, point.loss, gradient
    return True


def minimise(
    state: State,
    function: Function,
    preconditioner: Preconditioner,
    cost: float,
    time_left: Callable[[], bool] = lambda: True,
) -> None:
    """A trust step, then line searches for as long as the matrix is worth keeping; updates ``state``.

    Where ``function`` raises TimeIsUp, ``state`` is left at the last step that was accepted.

    ``cost`` is that of the matrix, in evaluations of ``function``. A new one pays when the last steps lowered the loss
    by less, for each evaluation, than all since this matrix was begun, its own cost included (the marginal value
    theorem: Charnov, Theor. Popul. Biol. 9, 129 (1976)).
    """
    evaluations = 0.0

    def counted(theta: Array) -> Point:
        nonlocal evaluations
        evaluations += LOSS_SHARE
        point = function(theta)

        def gradient() -> Array:
            nonlocal evaluations
            evaluations += 1.0 - LOSS_SHARE
            return point.gradient()

        return Point(point.loss, gradient)

    first = state.loss
    with suppress(TimeIsUp):
        length = trust_step(state, counted, preconditioner)
        recent = deque([(evaluations, state.loss)], maxlen=WINDOW + 1)
        for number in range(1, MOST_STEPS):
            if not (length > 0.0 and time_left()):
                return
            length = descend(state, counted, preconditioner, min(1.0, GROWTH * length))
            recent.append((evaluations, state.loss))
            (earlier, before), mean = recent[0], (first - state.loss) / (cost + evaluations)
            if number >= LEAST_STEPS and before - state.loss < mean * (evaluations - earlier):
                return


def _shorter(length: float, rise: float, slope: float) -> float:
    """Minimum of the parabola through the rejected point, within safe bounds."""
    if not np.isfinite(rise):
        return 0.1 * length
    curvature = 2.0 * (rise - length * slope) / length**2
    return float(np.clip(-slope / curvature, 0.1 * length, 0.5 * length))


def require_finite(loss: float) -> None:
    """TrainingError for a loss that is not finite."""
    if not np.isfinite(loss):
        raise TrainingError(
            "the loss is not finite: a label or a structure is far outside of what the model can represent"
        )
