"""The Gauss-Newton matrix J^T W J from a random, unbiased sample of Jacobian rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.covariant_rows import CovariantRows
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import Weights

Array = NDArray[np.float64]
ROWS_PER_RUN = 600


def gauss_newton_matrix(
    rows: JacobianRows,
    weights: Weights,
    theta: Array,
    pieces: Sequence[Piece],
    rng: np.random.Generator,
    *,
    force_rows: int,
    stress_rows: int,
    columns: NDArray[np.int64] | None = None,
) -> Array:
    """J^T W J [P, P] from all energies and about ``force_rows`` force and ``stress_rows`` stress components.

    The components are drawn at random and weighted by one over their share, so that the expectation is exact. With
    ``columns`` it is the block of these parameters. Of a target there are about ``force_rows`` components.
    """
    used = slice(None) if columns is None else columns
    size = theta[used].size
    matrix = np.zeros((size, size))
    share_forces, share_stress = _shares(weights, pieces, force_rows, stress_rows)
    share_target = _share_of_target(weights, pieces, force_rows)
    for piece in pieces:
        if share_target and piece.target is not None:
            assert isinstance(rows, CovariantRows)
            tolerances, width = piece.target.tolerances(piece), piece.target.values.shape[1]
            for chosen in _draw(rng, piece.target.values, share_target):
                drawn = rows.components(theta, piece, chosen // width, chosen % width)
                _accumulate(matrix, drawn[:, used], weights.target / share_target, tolerances[chosen // width])
            continue
        known = np.isfinite(piece.energy)
        atoms, structures = piece.tolerances
        if weights.energy and known.any():
            _accumulate(matrix, rows.energies(theta, piece)[known][:, used], weights.energy, structures[known])
        for chosen in _draw(rng, piece.forces, share_forces):
            drawn = rows.forces(theta, piece, chosen // 3, chosen % 3)
            _accumulate(matrix, drawn[:, used], weights.forces / share_forces, atoms[chosen // 3])
        for chosen in _draw(rng, piece.stress, share_stress):
            drawn = rows.stresses(theta, piece, chosen // 6, chosen % 6)
            _accumulate(matrix, drawn[:, used], weights.stress / share_stress, structures[chosen // 6])
    return matrix


def atoms_in_rows(
    weights: Weights, pieces: Sequence[Piece], *, force_rows: int, stress_rows: int, whole: bool = False
) -> float:
    """How many atoms take part in the rows that such a matrix is made of, on average; each is one evaluation.

    ``whole``: all atoms of a structure in each of its rows.
    """
    share_forces, share_stress = _shares(weights, pieces, force_rows, stress_rows)
    share_target = _share_of_target(weights, pieces, force_rows)
    atoms = 0.0
    for piece in pieces:
        batch = piece.batch
        sizes, neighbours = np.diff(batch.atom_offsets), np.diff(batch.edge_offsets)
        if piece.target is not None:
            of_atoms = np.repeat(sizes, sizes) if whole else 1
            taking_part = of_atoms if piece.target.per_atom else sizes
            atoms += share_target * (np.isfinite(piece.target.values).sum(axis=1) * taking_part).sum()
        if weights.energy:
            atoms += sizes[np.isfinite(piece.energy)].sum()
        # Several images of an atom among the neighbours of another are one atom: this counts a little too many.
        in_row = np.repeat(sizes, sizes) if whole else 1 + neighbours
        atoms += share_forces * (np.isfinite(piece.forces).sum(axis=1) * in_row).sum()
        atoms += share_stress * (np.isfinite(piece.stress).sum(axis=1) * sizes).sum()
    return float(atoms)


def _shares(weights: Weights, pieces: Sequence[Piece], force_rows: int, stress_rows: int) -> tuple[float, float]:
    """Shares of the force and of the stress components that are drawn."""
    n_forces = sum(int(np.isfinite(p.forces).sum()) for p in pieces)
    n_stresses = sum(int(np.isfinite(p.stress).sum()) for p in pieces)
    return (
        min(1.0, force_rows / max(n_forces, 1)) if weights.forces else 0.0,
        min(1.0, stress_rows / max(n_stresses, 1)) if weights.stress else 0.0,
    )


def _share_of_target(weights: Weights, pieces: Sequence[Piece], rows: int) -> float:
    """Share of the components of a target that are drawn."""
    known = sum(int(np.isfinite(p.target.values).sum()) for p in pieces if p.target is not None)
    return min(1.0, rows / max(known, 1)) if weights.target else 0.0


def _draw(rng: np.random.Generator, labels: Array, share: float) -> list[NDArray[np.int64]]:
    """Flat indices of a random share of the finite labels, a run at a time."""
    chosen = np.flatnonzero((rng.random(labels.size) < share) & np.isfinite(labels.ravel()))
    return [chosen[k : k + ROWS_PER_RUN] for k in range(0, len(chosen), ROWS_PER_RUN)]


def _accumulate(matrix: Array, rows: Array, weight: float, tolerances: Array) -> None:
    """Products in float32: the matrix only preconditions, and sgemm is twice as fast."""
    scaled = (rows / tolerances[:, None]).astype(np.float32)
    matrix += weight * (scaled.T @ scaled)
