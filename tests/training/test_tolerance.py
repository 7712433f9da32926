"""Tolerances of extraordinary labels, and that loss, gradient and Gauss-Newton matrix divide by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.structures.labels import collect_labels
from etn_gpu.training import TrainingConfig, train
from etn_gpu.training.curvature import gauss_newton_matrix
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.evaluation import collect_errors
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import Errors, Objective, in_proportion
from etn_gpu.training.tolerance import ORDINARY_ENERGY, ORDINARY_FORCE, ORDINARY_STRESS, with_tolerances

Array = NDArray[np.float64]
REFERENCES = np.array([0.3, -0.4])


def structure(energy: float | None = None, force: float | None = None, stress: float | None = None) -> Atoms:
    """Two atoms with these labels: energy per atom in excess, force on the second one, pressure."""
    atoms = Atoms("CuAu", [[0, 0, 0], [2.5, 0, 0]], cell=[5, 5, 5], pbc=True)
    if energy is not None:
        atoms.info["REF_energy"] = 2 * energy + REFERENCES.sum()
    if force is not None:
        atoms.arrays["REF_forces"] = np.array([[0.0, 0.0, 0.1], [0.0, 0.6 * force, 0.8 * force]])
    if stress is not None:
        atoms.info["REF_stress"] = stress * np.array([1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    return atoms


def tolerances(frames: list[Atoms]) -> tuple[Array, Array]:
    pieces = cut_pieces(collect_labels(frames), range(len(frames)), ("Cu", "Au"), 3.6)
    (piece,) = with_tolerances(pieces, REFERENCES)
    return piece.tolerances


def test_ordinary_labels_count_alike() -> None:
    atoms, structures = tolerances(
        [structure(1.9, 14.9, -0.59), structure(-1.9), structure(force=3.0), structure(stress=0.1), structure(0.0)]
    )
    np.testing.assert_array_equal(atoms, 1.0)
    np.testing.assert_array_equal(structures, 1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_beyond_the_limit_it_grows_in_proportion(sign: float) -> None:
    atoms, structures = tolerances([
        structure(energy=sign * 3 * ORDINARY_ENERGY),
        structure(energy=0.0, force=sign * 4 * ORDINARY_FORCE),
        structure(stress=sign * 5 * ORDINARY_STRESS, force=sign * 2 * ORDINARY_FORCE),
    ])  # fmt: skip
    np.testing.assert_allclose(atoms, [1, 1, 1, 4, 1, 2])
    np.testing.assert_allclose(structures, [3, 4, 5])


@pytest.fixture
def tolerant(pieces: list[Piece]) -> list[Piece]:
    """The pieces with tolerances at random."""
    rng = np.random.default_rng(0)
    return [
        replace(
            piece,
            atom_tolerance=rng.uniform(1, 5, piece.batch.n_atoms),
            structure_tolerance=rng.uniform(1, 5, piece.batch.n_structures),
        )
        for piece in pieces
    ]


def flat(pieces: list[Piece]) -> Array:
    """The tolerance of every error, in the order of the dense oracle."""
    atoms = np.concatenate([piece.tolerances[0] for piece in pieces])
    structures = np.concatenate([piece.tolerances[1] for piece in pieces])
    return np.concatenate((structures, np.repeat(atoms, 3), np.repeat(structures, 6)))


def test_loss_and_gradient_of_errors_in_proportion(
    objective: Objective, tolerant: list[Piece], theta: Array, dense: Any
) -> None:
    known, over = dense.known, flat(tolerant)
    loss, gradient = objective.loss_and_gradient(theta, tolerant)
    weights = dense.weights / over**2
    assert loss == pytest.approx(0.5 * np.nansum(weights * dense.errors**2), rel=1e-12)
    expected = dense.jacobian[known].T @ (weights * dense.errors)[known]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    joined = in_proportion(collect_errors(objective, theta, tolerant), tolerant)
    assert objective.loss_of(joined) == pytest.approx(loss, rel=1e-12)


def test_the_gauss_newton_matrix_knows_them(
    objective: Objective, tolerant: list[Piece], theta: Array, dense: Any
) -> None:
    rows, rng = JacobianRows(objective.kernel), np.random.default_rng(0)
    found = gauss_newton_matrix(rows, objective.weights, theta, tolerant, rng, force_rows=10**9, stress_rows=10**9)
    jacobian, weights = dense.jacobian[dense.known], (dense.weights / flat(tolerant) ** 2)[dense.known]
    expected = jacobian.T @ (weights[:, None] * jacobian)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


def test_no_pieces() -> None:
    nothing = Errors(np.empty(0), np.empty((0, 3)), np.empty((0, 6)))
    assert in_proportion(nothing, []) is nothing


def test_a_run_is_told(configure: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """What training sees are pieces with tolerances, those held out too."""
    seen: list[Piece] = []

    def spy(pieces: list[Piece], references: Array) -> list[Piece]:
        found = with_tolerances(pieces, references)
        seen.extend(found)
        return found

    monkeypatch.setattr("etn_gpu.training.setup.with_tolerances", spy)
    report = train(configure(max_iterations=1))
    assert Path(configure().output).exists()
    assert report.iterations == 1
    assert len(seen) >= 2
    assert all(piece.atom_tolerance is not None for piece in seen)
