"""Loss and gradient against their definitions and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.structures import LabelledSet
from etn_gpu.training.data import Piece
from etn_gpu.training.objective import Errors, Objective, Weights
from etn_gpu.training.optimizer import Point, Preconditioner, State, descend, trust_step

Array = NDArray[np.float64]


def test_errors_are_those_of_the_potential(
    architecture: Architecture, objective: Objective, pieces: list[Piece], labels: LabelledSet, theta: Array
) -> None:
    potential = ETNPotential(architecture, objective.layout.unpack(theta))
    order = iter([4, 0, 1, 5, 2, 3])
    for piece in pieces:
        errors = objective.errors(theta, piece)
        for s, (a, b) in enumerate(zip(piece.batch.atom_offsets[:-1], piece.batch.atom_offsets[1:], strict=True)):
            i = next(order)
            [result] = potential.evaluate(labels.atoms[i])
            expected = (result["energy"] - labels.energy[i]) / len(labels.atoms[i])
            np.testing.assert_allclose(errors.energy[s], expected, rtol=1e-10)
            forces = labels.forces[i]
            missing = np.full((b - a, 3), np.nan)
            expected = missing if forces is None else result["forces"] - forces
            np.testing.assert_allclose(errors.forces[a:b], expected, atol=1e-12)
            expected = result.get("stress", np.full(6, np.nan)) - labels.stress[i]
            np.testing.assert_allclose(errors.stress[s], expected, atol=1e-12)


def test_loss_is_half_the_weighted_sum_of_squares(
    objective: Objective, pieces: list[Piece], theta: Array, dense: Any
) -> None:
    expected = 0.5 * np.nansum(dense.weights * dense.errors**2)
    assert objective.loss_and_gradient(theta, pieces)[0] == pytest.approx(expected, rel=1e-12)
    assert objective.loss_and_gradient(theta, pieces)[0] == pytest.approx(expected, rel=1e-12)


def test_gradient(backend: str, architecture: Architecture, pieces: list[Piece], theta: Array, dense: Any) -> None:
    """Against J^T W r with J by finite differences; energies, forces and stresses, each missing somewhere."""
    from etn_gpu.training.objective import Objective

    objective = Objective(Kernel(architecture, Execution(backend)), Weights(900.0, 4.0, 2500.0))
    _, gradient = objective.loss_and_gradient(theta, pieces)
    known = dense.known
    expected = dense.jacobian[known].T @ (dense.weights * dense.errors)[known]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_gradient_of_each_term(name: str, objective: Objective, pieces: list[Piece], theta: Array) -> None:
    """Along a random direction, against central differences of the loss itself."""
    alone = Objective(objective.kernel, Weights(**{"energy": 0.0, "forces": 0.0, "stress": 0.0, name: 7.0}))
    direction = np.random.default_rng(0).normal(size=len(theta))
    step = 1e-5
    high, low = (alone.loss_and_gradient(theta + sign * step * direction, pieces)[0] for sign in (1, -1))
    _, gradient = alone.loss_and_gradient(theta, pieces)
    assert gradient @ direction == pytest.approx((high - low) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_a_prediction_that_overflows_makes_the_loss_infinite(
    backend: str, name: str, architecture: Architecture, pieces: list[Piece], theta: Array
) -> None:
    """Only a missing label may leave something out, and it still does."""
    kernel = Kernel(architecture, Execution(backend))
    alone = Objective(kernel, Weights(**{"energy": 0.0, "forces": 0.0, "stress": 0.0, name: 7.0}))
    assert alone.loss_and_gradient(1e200 * theta, pieces)[0] == np.inf
    for piece in pieces:
        errors = alone.errors(1e200 * theta, piece)
        for field in ("energy", "forces", "stress"):
            missing = np.isnan(getattr(piece, field))
            np.testing.assert_array_equal(np.isnan(getattr(errors, field)), missing)
            assert np.isinf(getattr(errors, field)[~missing]).any()


def test_what_has_no_weight_cannot_spoil_the_loss(objective: Objective) -> None:
    errors = Errors(np.array([0.1]), np.full((1, 3), np.inf), np.full((1, 6), np.nan))
    assert Objective(objective.kernel, Weights(200.0, 0.0, 1.0)).loss_of(errors) == pytest.approx(1.0)
    assert objective.loss_of(errors) == np.inf


def test_a_gradient_that_overflows_makes_the_loss_infinite(
    objective: Objective, pieces: list[Piece], theta: Array
) -> None:
    """Sizes of the cores may differ so much that the energies are finite and their derivatives are not."""
    parameters = objective.layout.unpack(theta)
    for name, factor in (("G1", 1e-150), ("G2", 1e200), ("G3", 1e90)):
        parameters[name] = factor * parameters[name]
    far = objective.layout.pack(parameters)
    assert np.isfinite(sum(objective.loss_of(objective.errors(far, piece)) for piece in pieces))
    assert objective.loss_and_gradient(far, pieces)[0] == np.inf


@pytest.mark.parametrize("step", [descend, trust_step])
def test_no_step_ends_where_predictions_are_nan(
    step: Any, objective: Objective, pieces: list[Piece], theta: Array, dense: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left out like missing labels they would make the best of all losses, 0."""
    loss, gradient = objective.loss_and_gradient(theta, pieces)
    state = State(theta, loss, gradient)
    jacobian = dense.jacobian[dense.known]
    preconditioner = Preconditioner(jacobian.T @ (dense.weights[dense.known, None] * jacobian), 1e-2)

    def overflowing(self: Kernel, parameters: Any, environments: Any) -> tuple[Array, Array]:
        geometry = environments.geometry
        return np.full(geometry.n_atoms, np.nan), np.full(environments.vectors.shape, np.nan)

    monkeypatch.setattr(Kernel, "energies_and_gradients", overflowing)

    def function(at: Array) -> Point:
        found, there = objective.loss_and_gradient(at, pieces)
        return Point(found, lambda: there)

    assert step(state, function, preconditioner) == 0.0
    assert state.loss == loss
    np.testing.assert_array_equal(state.theta, theta)


def test_a_missing_label_has_no_influence(objective: Objective, pieces: list[Piece], theta: Array) -> None:
    piece = pieces[0]
    blind = Piece(piece.batch, *(np.full_like(x, np.nan) for x in (piece.energy, piece.forces, piece.stress)))
    loss, gradient = objective.loss_and_gradient(theta, [blind])
    assert loss == 0.0
    assert not gradient.any()


def test_loss_adds_up_over_pieces(objective: Objective, pieces: list[Piece], theta: Array) -> None:
    parts = [objective.loss_and_gradient(theta, [piece]) for piece in pieces]
    loss, gradient = objective.loss_and_gradient(theta, pieces)
    assert loss == pytest.approx(sum(part[0] for part in parts), rel=1e-14)
    np.testing.assert_allclose(gradient, sum(part[1] for part in parts), rtol=1e-14, atol=1e-12)
