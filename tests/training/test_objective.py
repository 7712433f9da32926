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
from etn_gpu.training.objective import Objective, Weights

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
