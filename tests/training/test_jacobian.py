"""Every row of the Jacobian against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.potential import Architecture
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows

Array = NDArray[np.float64]


@pytest.fixture
def rows(backend: str, architecture: Architecture) -> JacobianRows:
    return JacobianRows(Kernel(architecture, Execution(backend)))


def block(dense: Any, pieces: list[Piece], name: str, k: int) -> Array:
    """The rows of one property of piece k in the dense Jacobian."""
    start = 0
    for other in ("energy", "forces", "stress"):
        for i, piece in enumerate(pieces):
            size = getattr(piece, other).size
            if (other, i) == (name, k):
                found: Array = dense.jacobian[start : start + size]
                return found
            start += size
    raise KeyError(name)


def assert_rows(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_energy_rows(rows: JacobianRows, pieces: list[Piece], theta: Array, dense: Any) -> None:
    for k, piece in enumerate(pieces):
        found, expected = rows.energies(theta, piece), block(dense, pieces, "energy", k)
        known = np.isfinite(piece.energy)
        assert_rows(found[known], expected[known])


def test_force_rows(rows: JacobianRows, pieces: list[Piece], theta: Array, dense: Any) -> None:
    for k, piece in enumerate(pieces):
        known = np.flatnonzero(np.isfinite(piece.forces))
        assert_rows(rows.forces(theta, piece, known // 3, known % 3), block(dense, pieces, "forces", k)[known])


def test_stress_rows(rows: JacobianRows, pieces: list[Piece], theta: Array, dense: Any) -> None:
    for k, piece in enumerate(pieces):
        known = np.flatnonzero(np.isfinite(piece.stress))
        assert_rows(rows.stresses(theta, piece, known // 6, known % 6), block(dense, pieces, "stress", k)[known])


def test_any_subset_in_any_order(rows: JacobianRows, pieces: list[Piece], theta: Array) -> None:
    """A row does not depend on which others are computed, or how often."""
    piece = pieces[1]
    atoms, axes = np.repeat(np.arange(piece.batch.n_atoms), 3), np.tile(np.arange(3), piece.batch.n_atoms)
    everything = rows.forces(theta, piece, atoms, axes)
    chosen = np.array([7, 2, 7, len(atoms) - 1])
    np.testing.assert_allclose(rows.forces(theta, piece, atoms[chosen], axes[chosen]), everything[chosen], atol=1e-12)


def test_no_row(rows: JacobianRows, pieces: list[Piece], theta: Array) -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert rows.forces(theta, pieces[0], nothing, nothing).shape == (0, len(theta))
    assert rows.stresses(theta, pieces[0], nothing, nothing).shape == (0, len(theta))
