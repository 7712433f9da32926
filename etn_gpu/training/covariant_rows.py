"""Rows of the Jacobian of a dipole, or of a quantity of atoms, with respect to the parameters.

A row is the parameter gradient of one component: of the sum over all atoms of a structure, or of one atom.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.kernel import ranges
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class CovariantRows(JacobianRows):
    """Rows of the Jacobian for the parameters of one kernel, and labels of a target."""

    def components(self, theta: Array, piece: Piece, places: Indices, components: Indices) -> Array:
        """dq[place, component]/d(theta) for the given structures or atoms of a piece, [n, P]."""
        return self._in_runs(len(places), lambda run: self._components(theta, piece, places[run], components[run]))

    def _components(self, theta: Array, piece: Piece, places: Indices, components: Indices) -> Array:
        assert piece.target is not None
        offsets = piece.batch.atom_offsets
        start, stop = (places, places + 1) if piece.target.per_atom else (offsets[places], offsets[places + 1])
        environments, _ = piece.environments.gather(ranges(start, stop))
        samples = np.concatenate(([0], np.cumsum(stop - start)))
        e_bar = np.repeat(np.eye(piece.target.values.shape[1])[components], stop - start, axis=0)
        parameters = self.layout.unpack(theta)
        return self.layout.join(self.kernel.parameter_gradient(parameters, environments, e_bar, None, samples))
