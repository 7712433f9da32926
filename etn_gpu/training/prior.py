"""The prior: a ridge on the coefficient tensor, in natural units.

It decides what the data leave open. The quantity that it keeps small is the squared norm of the tensor of all
coefficients, those of the radial functions and embeddings included, each in units of its natural size. This is a
property of the potential: it does not change with the gauge, that is with a change of basis of a bond, of the channels
or of the embeddings. In canonical form it is the squared norm of the centre, as in sweeps. A ridge on the parameters
one by one would be something else, an incentive to few large components instead of many small ones: minimised over the
gauge, the sum of squares of d factors goes as the power 2/d of their product (N. Srebro, J. Rennie, T. Jaakkola, NIPS
17, 1329 (2005), for two factors).

The gauge itself is held by a ridge on the parameters that is too weak to matter otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential import Architecture
from etn_gpu.training.data import Piece
from etn_gpu.training.network_norm import NetworkNorm
from etn_gpu.training.objective import QUIET
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
#: Ridge on the parameters in units of their natural size, beside that on the coefficient tensor.
GAUGE = 1e-4
#: Less than (1 meV)^2 is numerical noise: labels of perfect crystals.
SMALLEST_NORM = 1e-6


def usual_norm(pieces: Sequence[Piece], references: Array) -> float:
    """Squared norm in eV^2 that a coefficient tensor is expected to have.

    The largest of the mean squares of energies of an atom in excess of the ``references`` [n_species], of forces over a
    distance of 1 A and of stresses over the volume of an atom, as far as there are labels of each.
    """
    squares: list[list[Array]] = [[], [], []]
    for piece in pieces:
        volumes = piece.batch.volumes / piece.atoms_per_structure
        values = (piece.excess_energies(references), piece.forces, piece.stress * volumes[:, None])
        for found, value in zip(squares, values, strict=True):
            found.append(value[np.isfinite(value)] ** 2)
    means = (float(np.mean(known)) for known in map(np.concatenate, squares) if known.size)
    return max(SMALLEST_NORM, *means)


class Prior:
    """The function 1/2 |c|^2 of the parameters of an architecture; a strength in front of it is left to others.

    ``scales`` are the natural sizes of all parameters, ``radial_sizes`` [n_radial] those of the radial functions of
    each degree. Parameters of infinite size are free.
    """

    def __init__(
        self, architecture: Architecture, scales: Mapping[str, Array], radial_sizes: Mapping[int, Array]
    ) -> None:
        self.architecture = architecture
        self.layout = ParameterVector(architecture.parameter_shapes)
        self._norm = NetworkNorm(architecture, radial_sizes)
        self._gauge = GAUGE / self.layout.pack(scales) ** 2

    def squared_norm(self, theta: Array) -> float:
        """|c|^2 of the coefficient tensor."""
        return self._norm.value(self.layout.unpack(theta))

    @QUIET
    def value(self, theta: Array) -> float:
        """1/2 |c|^2, and the gauge's share."""
        return 0.5 * self.squared_norm(theta) + 0.5 * float(np.sum(self._gauge * theta**2))

    @QUIET
    def gradient(self, theta: Array) -> Array:
        """Its gradient."""
        parts = self._norm.derivatives(self.layout.unpack(theta)).gradient
        return 0.5 * self._joined(parts) + self._gauge * theta

    def curvature(self, theta: Array) -> Array:
        """Second derivatives [P, P] within each parameter array; those between different arrays are left out.

        They are exact for the cores of the last train, positive semidefinite for all.
        """
        matrix = np.diag(self._gauge)
        for name, block in self._norm.derivatives(self.layout.unpack(theta), curvature=True).curvature.items():
            at = self.layout.slices[name]
            matrix[at, at] += block
        return matrix

    def core_curvature(self, theta: Array, name: str) -> Array:
        """Second derivatives of 1/2 |c|^2 in the weights of one core of the last train, in which it is quadratic."""
        (core,) = (core for core in self.architecture.train.cores if core.name == name)
        return self._norm.train(self.layout.unpack(theta)).curvature(core)

    def _joined(self, parts: Mapping[str, Array]) -> Array:
        """One vector; parameters without a part, the reference energies, are free."""
        return self.layout.pack({name: parts.get(name, np.zeros(n)) for name, n in self.layout.shapes.items()})
