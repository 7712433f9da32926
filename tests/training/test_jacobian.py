"""Every row of the Jacobian against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.plan import Program
from etn_gpu.potential import Architecture
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.training import jacobian
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


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_slow_rows_come_one_at_a_time_and_are_the_same(
    backend: str,
    dtype: str,
    architecture: Architecture,
    pieces: list[Piece],
    theta: Array,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock is asked between the runs of a slow backend; no bit of the result depends on how they are cut."""
    piece = pieces[1]
    some = np.arange(6)
    found = {}
    for seconds in (0.0, np.inf):
        monkeypatch.setattr(jacobian, "RUN_SECONDS", seconds)
        runs: list[Program] = []
        rows = JacobianRows(Kernel(architecture, Execution(backend, dtype), runs.append))
        rows.energies(theta, piece)
        assert len(runs) == piece.batch.n_structures or seconds
        runs.clear()
        forces = rows.forces(theta, piece, some, some % 3)
        assert len(runs) == len(some) if seconds == 0 else len(runs) < len(some)
        stresses = rows.stresses(theta, piece, np.zeros(6, np.int64), some)
        found[seconds] = (rows.energies(theta, piece), forces, stresses)
    for one, several in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(one, several)
