"""The Gauss-Newton matrix: exact with all rows, unbiased with a sample of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.training.curvature import atoms_in_rows, gauss_newton_matrix
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows, force_rows, stress_rows
from etn_gpu.training.objective import Objective, Weights

Array = NDArray[np.float64]
ALL = 10**9


@pytest.fixture
def rows(objective: Objective) -> JacobianRows:
    return JacobianRows(objective.kernel)


def exact(dense: Any) -> Array:
    j = dense.jacobian[dense.known]
    matrix: Array = j.T @ (dense.weights[dense.known, None] * j)
    return matrix


def test_all_rows_give_j_t_w_j(
    rows: JacobianRows, objective: Objective, pieces: list[Piece], theta: Array, dense: Any
) -> None:
    rng = np.random.default_rng(0)
    found = gauss_newton_matrix(rows, objective.weights, theta, pieces, rng, force_rows=ALL, stress_rows=ALL)
    expected = exact(dense)
    # single precision products
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_a_property_without_weight_is_left_out(
    name: str, rows: JacobianRows, pieces: list[Piece], theta: Array, dense: Any
) -> None:
    every = {"energy": 900.0, "forces": 4.0, "stress": 2500.0}
    weights = Weights(**(every | {name: 0.0}))
    found = gauss_newton_matrix(rows, weights, theta, pieces, np.random.default_rng(0), force_rows=ALL, stress_rows=ALL)
    kept = dense.known & (dense.weights != every[name])
    expected = dense.jacobian[kept].T @ (dense.weights[kept, None] * dense.jacobian[kept])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


def test_a_sample_is_unbiased(
    rows: JacobianRows, objective: Objective, pieces: list[Piece], theta: Array, dense: Any
) -> None:
    """The mean of v^T H v over many draws is within its standard error of the exact value, for several v."""
    rng = np.random.default_rng(11)
    directions = rng.normal(size=(5, len(theta)))
    expected = np.einsum("vp,pq,vq->v", directions, exact(dense), directions)
    draws = []
    for _ in range(40):
        sample = gauss_newton_matrix(rows, objective.weights, theta, pieces, rng, force_rows=25, stress_rows=6)
        draws.append(np.einsum("vp,pq,vq->v", directions, sample, directions))
    spread = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(np.mean(draws, axis=0) - expected) < 3.5 * spread).all()
    # and the test could tell: half of the forces would be far outside
    assert (spread < 0.1 * expected).all()


def test_the_same_generator_draws_the_same_sample(
    rows: JacobianRows, objective: Objective, pieces: list[Piece], theta: Array
) -> None:
    first, again, other = (
        gauss_newton_matrix(
            rows, objective.weights, theta, pieces, np.random.default_rng(seed), force_rows=20, stress_rows=5
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_atoms_in_rows(objective: Objective, pieces: list[Piece]) -> None:
    """What all rows evaluate, images of one atom counted once more for each; a share of the rows takes its share."""
    weights, once, least = objective.weights, 0, 0
    for piece in pieces:
        sizes = np.diff(piece.batch.atom_offsets)
        forces, stresses = (np.flatnonzero(np.isfinite(labels)) for labels in (piece.forces, piece.stress))
        energies = int(sizes[np.isfinite(piece.energy)].sum())
        once += energies + sum(
            sample.environments.geometry.n_atoms
            for sample in (
                force_rows(piece, forces // 3, forces % 3),
                stress_rows(piece, stresses // 6, stresses % 6),
            )
        )
        least += energies
    every = atoms_in_rows(weights, pieces, force_rows=ALL, stress_rows=ALL)
    assert once <= every < 10 * once
    known = sum(int(np.isfinite(piece.forces).sum()) for piece in pieces)
    none = atoms_in_rows(weights, pieces, force_rows=0, stress_rows=0)
    assert none == least
    half = atoms_in_rows(weights, pieces, force_rows=known // 2, stress_rows=0)
    whole = atoms_in_rows(weights, pieces, force_rows=known, stress_rows=0)
    assert half - none == pytest.approx((whole - none) * (known // 2) / known)
