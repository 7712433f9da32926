"""Rows of the Jacobian of a dipole, or of a quantity of atoms, with respect to the parameters.

A row is the parameter gradient of one component: of the sum over all atoms of a structure, or of one atom. Where
messages are passed, all atoms of the structure take part in what one of them has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
        offsets, per_atom = piece.batch.atom_offsets, piece.target.per_atom
        structures = piece.batch.structure_of_atom[places] if per_atom else places
        if self.kernel.programs.energy.gathers or not per_atom:
            start, stop = offsets[structures], offsets[structures + 1]
            environments, atoms, _ = piece.environments.gather_runs(start, stop)
        else:
            start, stop = places, places + 1
            environments, atoms = piece.environments.gather(places)[0], places
        samples = np.concatenate(([0], np.cumsum(stop - start)))
        e_bar = np.repeat(np.eye(piece.target.values.shape[1])[components], stop - start, axis=0)
        if per_atom:
            e_bar[atoms != np.repeat(places, stop - start)] = 0.0
        parameters = self.layout.unpack(theta)
        return self.layout.join(self.kernel.parameter_gradient(parameters, environments, e_bar, None, samples))
