"""One-site steps: the minimiser of a dense least-squares problem, with gradients of a part of the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture
from etn_gpu.potential.kernel import Execution
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import Objective
from etn_gpu.training.one_site import Unknowns, solve
from etn_gpu.training.partial import PartialKernel

Array = NDArray[np.float64]


@pytest.fixture
def rows(objective: Objective) -> JacobianRows:
    return JacobianRows(objective.kernel)


def norm_weights(architecture: Architecture, core: int) -> Array:
    """2l+1 of the coupled sector for every weight of a core, from its squared norm as a tensor."""
    from etn_gpu.network import from_train

    weights = {c.name: np.zeros(c.size) for c in architecture.train.cores}
    name, size = architecture.train.cores[core].name, architecture.train.cores[core].size
    node = [from_train(architecture.train, weights | {name: unit}).nodes[name] for unit in np.eye(size)]
    return np.array([tensor.squared_norm() for tensor in node])


def ridge(architecture: Architecture) -> Array:
    """A ridge on the second core."""
    return np.eye(architecture.train.cores[1].size)


@pytest.mark.parametrize("core", [0, 1, 2])
@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_the_minimiser_is_that_of_dense_least_squares(
    core: int,
    strength: float,
    objective: Objective,
    rows: JacobianRows,
    architecture: Architecture,
    pieces: list[Piece],
    theta: Array,
    dense: Any,
) -> None:
    name = architecture.train.cores[core].name
    layout = objective.layout
    form = strength * np.diag(norm_weights(architecture, core))
    unknowns = Unknowns.of(layout, architecture.train.cores[core], form, "out")
    places = np.r_[layout.slices[name], layout.slices["E0"]]
    assert set(unknowns.places) == set(places)

    found = solve(
        objective, rows, theta, unknowns, pieces, np.random.default_rng(0), tolerance=1e-12, max_iterations=400
    )
    root = np.sqrt(dense.weights[dense.known])
    rest = np.sqrt(np.r_[strength * norm_weights(architecture, core), np.zeros(architecture.n_species)])
    jacobian = dense.jacobian[dense.known][:, places]
    matrix = np.vstack((root[:, None] * jacobian, np.diag(rest)))
    target = np.r_[root * (jacobian @ theta[places] - dense.errors[dense.known]), np.zeros(len(places))]
    expected, *_ = np.linalg.lstsq(matrix, target, rcond=1e-10)
    least = 0.5 * float(np.sum((matrix @ expected - target) ** 2))

    at_found = objective.loss_and_gradient(found.theta, pieces)[0] + unknowns.value(found.theta)
    assert at_found == pytest.approx(least, rel=1e-6)
    assert found.loss == pytest.approx(at_found, rel=1e-8)
    assert found.before == pytest.approx(objective.loss_and_gradient(theta, pieces)[0] + unknowns.value(theta))
    others = np.setdiff1d(np.arange(len(theta)), places)
    np.testing.assert_array_equal(found.theta[others], theta[others])
    if strength:
        np.testing.assert_allclose(found.theta[places], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_fewer_iterations_end_above_the_minimum_and_below_the_start(
    objective: Objective, rows: JacobianRows, architecture: Architecture, pieces: list[Piece], theta: Array
) -> None:
    unknowns = Unknowns.of(objective.layout, architecture.train.cores[1], ridge(architecture), "left")
    losses = []
    for most in (0, 1, 3, 50):
        found = solve(
            objective, rows, theta, unknowns, pieces, np.random.default_rng(0), tolerance=1e-10, max_iterations=most
        )
        assert found.iterations <= most
        losses.append(found.loss)
    assert losses[0] == found.before
    assert np.all(np.diff(losses) < 0)


def test_time_that_is_up_ends_the_iterations(
    objective: Objective, rows: JacobianRows, architecture: Architecture, pieces: list[Piece], theta: Array
) -> None:
    unknowns = Unknowns.of(objective.layout, architecture.train.cores[1], ridge(architecture), "left")
    found = solve(
        objective, rows, theta, unknowns, pieces, np.random.default_rng(0),
        tolerance=0.0, max_iterations=9, time_left=lambda: False,
    )  # fmt: skip
    assert found.iterations == 0
    np.testing.assert_array_equal(found.theta, theta)


def test_only_the_first_components_of_a_leg(objective: Objective, architecture: Architecture) -> None:
    core = architecture.train.cores[1]
    whole = Unknowns.of(objective.layout, core, ridge(architecture), "left")
    scalars = Unknowns.of(objective.layout, core, ridge(architecture), "left", Irreps("1x0e"))
    assert set(scalars.places) < set(whole.places)
    n = architecture.n_species
    assert len(whole.component(Irrep(0, 1), 0)) + len(whole.component(Irrep(1, -1), 0)) + n == len(whole.places)
    assert len(scalars.places) == len(scalars.component(Irrep(0, 1), 0)) + n


def test_predictions_that_overflow(
    objective: Objective, rows: JacobianRows, architecture: Architecture, pieces: list[Piece], theta: Array
) -> None:
    unknowns = Unknowns.of(objective.layout, architecture.train.cores[1], ridge(architecture), "left")
    with pytest.raises(TrainingError, match="the loss is not finite"):
        solve(
            objective, rows, 1e200 * theta, unknowns, pieces, np.random.default_rng(0), tolerance=0.1, max_iterations=1
        )


def test_a_partial_gradient_is_a_part_of_the_gradient(
    objective: Objective, architecture: Architecture, pieces: list[Piece], theta: Array
) -> None:
    names = ("G2", "E0")
    partial = Objective(PartialKernel(architecture, Execution(), names), objective.weights)
    loss, gradient = objective.loss_and_gradient(theta, pieces)
    some_loss, some = partial.loss_and_gradient(theta, pieces)
    assert some_loss == loss
    for name, where in objective.layout.slices.items():
        expected = gradient[where] if name in names else np.zeros_like(gradient[where])
        np.testing.assert_allclose(some[where], expected, rtol=1e-10, atol=1e-10 * np.abs(gradient).max())
    whole, part = JacobianRows(objective.kernel), JacobianRows(partial.kernel)
    where = objective.layout.slices["G2"]
    expected = whole.energies(theta, pieces[0])[:, where]
    np.testing.assert_allclose(part.energies(theta, pieces[0])[:, where], expected, rtol=1e-9, atol=1e-10)
