"""The least-squares objective of a dipole, or of a quantity of atoms, and its exact gradient.

    loss = 1/2 w sum_r |(q_r - q_r^ref) / t_r|^2

over the rows r of the labels, structures or atoms, with w = 1/sigma^2 and tolerances t: the number of atoms where the
quantity is a sum over them (:mod:`etn_gpu.training.covariant_labels`). The gradient is one run of the Program of
parameter gradients of atomic outputs, with a cotangent of 2l+1 components for each atom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.data import Piece
from etn_gpu.training.objective import QUIET, LeastSquares, Weights, cotangent, error

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CovariantErrors:
    """Model minus label: components [S or N, 2l+1], and lengths of vectors (absolute values of numbers) [S or N].

    nan means that a label is missing, and nothing else, as in :class:`~etn_gpu.training.objective.Errors`. Rows are
    atoms where ``per_atom``, else structures.
    """

    components: Array
    lengths: Array
    per_atom: bool

    def named(self) -> Mapping[str, Array]:
        """What reports have: ``target`` and, of vectors, ``target_length``."""
        vector = self.components.shape[1] > 1
        return {"target": self.components} | ({"target_length": self.lengths} if vector else {})

    def weighed(self, weights: Weights) -> list[tuple[Array, float]]:
        """What counts, and its weight."""
        return [(self.components, weights.target)]

    def over(self, atoms: Array, structures: Array) -> CovariantErrors:
        """Over tolerances of the atoms [N] and of the structures [S]."""
        tolerance = atoms if self.per_atom else structures
        return CovariantErrors(self.components / tolerance[:, None], self.lengths / tolerance, self.per_atom)

    def of(self, structures: NDArray[np.int64], atoms: NDArray[np.int64]) -> CovariantErrors:
        """Those of some structures, and their atoms."""
        rows = atoms if self.per_atom else structures
        return CovariantErrors(self.components[rows], self.lengths[rows], self.per_atom)


class CovariantObjective(LeastSquares[CovariantErrors]):
    """Loss and gradient over pieces of data with labels of a target."""

    @QUIET
    def errors(self, theta: Array, piece: Piece) -> CovariantErrors:
        """Errors of the model with parameters ``theta``."""
        assert piece.target is not None
        batch, labels = piece.batch, piece.target.values
        atomic = self.kernel.energies(self.layout.unpack(theta), piece.environments).reshape(batch.n_atoms, -1)
        predicted = piece.target.predicted(atomic, batch)
        lengths = error(np.linalg.norm(predicted, axis=1), np.linalg.norm(labels, axis=1))
        return CovariantErrors(error(predicted, labels), lengths, piece.target.per_atom)

    def joined(self, errors: Sequence[CovariantErrors]) -> CovariantErrors:
        """Errors of several pieces, one after the other."""
        if not errors:
            return CovariantErrors(np.empty((0, 1)), np.empty(0), False)
        return CovariantErrors(
            np.concatenate([e.components for e in errors]),
            np.concatenate([e.lengths for e in errors]),
            errors[0].per_atom,
        )

    @QUIET
    def gradient(self, theta: Array, pieces: Sequence[Piece], errors: Sequence[CovariantErrors]) -> Array:
        """Gradient of the loss with respect to ``theta``, where the errors are these."""
        total = np.zeros(self.layout.size)
        parameters = self.layout.unpack(theta)
        for piece, found in zip(pieces, errors, strict=True):
            assert piece.target is not None
            bar = cotangent(self.weights.target, found.components, piece.target.tolerances(piece)[:, None])
            e_bar = piece.target.on_atoms(bar, piece.batch)
            total += self.layout.join(self.kernel.parameter_gradient(parameters, piece.environments, e_bar, None))
        return total
