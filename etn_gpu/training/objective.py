"""The least-squares objective of energies, forces and stresses, and its exact gradient.

    loss = 1/2 sum_s w_E ((E_s - E_s^ref)/N_s)^2 + 1/2 sum w_F (F - F^ref)^2 + 1/2 sum w_S (stress - stress^ref)^2

with weights w = 1/sigma^2, where errors of extraordinary labels are divided by a tolerance
(:mod:`etn_gpu.training.tolerance`); :mod:`etn_gpu.training.prior` adds to it. The gradient is one run of a
parameter-gradient Program (:class:`etn_gpu.potential.programs.Programs`), whatever the number of parameters. What is
left out is decided by the labels alone: a prediction that overflows makes the loss infinite, and is never mistaken for
a small error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential import assembly
from etn_gpu.potential.kernel import Kernel
from etn_gpu.structures.labels import PROPERTIES
from etn_gpu.training.data import Piece
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
#: Overflows show in the loss; warnings from the middle of a line search would tell nobody anything.
QUIET = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True)
class Weights:
    """1/sigma^2 per residual: energies per atom (eV/atom)^-2, forces (eV/A)^-2, stresses (eV/A^3)^-2."""

    energy: float
    forces: float
    stress: float


@dataclass(frozen=True)
class Errors:
    """Model minus label of a piece: energy per atom [S], forces [N, 3], stress [S, 6].

    nan means that a label is missing, and nothing else: where a prediction is not finite, the error is infinite.
    """

    energy: Array
    forces: Array
    stress: Array


def in_proportion(errors: Errors, pieces: Sequence[Piece]) -> Errors:
    """Errors on some pieces, one after the other, over the tolerances of their labels: what counts."""
    pairs = [piece.tolerances for piece in pieces]
    if not pairs:
        return errors
    atoms, structures = map(np.concatenate, zip(*pairs, strict=True))
    return Errors(errors.energy / structures, errors.forces / atoms[:, None], errors.stress / structures[:, None])


def count_labels(weights: Weights, pieces: Iterable[Piece]) -> int:
    """Number of labels that count: components of forces and stresses each as one."""
    names = [name for name in PROPERTIES if getattr(weights, name)]
    return sum(int(np.isfinite(getattr(piece, name)).sum()) for piece in pieces for name in names)


class Objective:
    """Loss and gradient over pieces of data."""

    def __init__(self, kernel: Kernel, weights: Weights) -> None:
        self.kernel = kernel
        self.weights = weights
        self.layout = ParameterVector(kernel.form.parameter_shapes)

    @QUIET
    def errors(self, theta: Array, piece: Piece) -> Errors:
        """Errors of the model with parameters ``theta``."""
        batch = piece.batch
        energies, gradient = self.kernel.energies_and_gradients(self.layout.unpack(theta), piece.environments)
        total = assembly.segment_sum(energies[:, None], batch.atom_offsets)[:, 0]
        forces, virials = assembly.forces_and_virials(batch, gradient, self.kernel.execution.threads)
        return Errors(
            _error(total, piece.energy) / piece.atoms_per_structure,
            _error(forces, piece.forces),
            _error(assembly.stresses(batch, virials), piece.stress),
        )

    def loss(self, pieces: Sequence[Piece], errors: Sequence[Errors]) -> float:
        """Loss of some pieces from the errors of each; infinite where one that counts is."""
        return sum(self.loss_of(in_proportion(error, [piece])) for piece, error in zip(pieces, errors, strict=True))

    @QUIET
    def loss_of(self, errors: Errors) -> float:
        """Loss of one piece from its errors, in proportion; infinite where one that counts is."""
        pairs = ((getattr(self.weights, name), getattr(errors, name)) for name in PROPERTIES)
        return sum(0.5 * weight * float(np.nansum(error**2)) for weight, error in pairs if weight)

    def loss_and_gradient(self, theta: Array, pieces: Sequence[Piece]) -> tuple[float, Array]:
        """Loss and its gradient with respect to ``theta``; the loss is infinite where the gradient is not finite."""
        errors = [self.errors(theta, piece) for piece in pieces]
        gradient = self.gradient(theta, pieces, errors)
        # A minimiser that accepted this point could not go on from it.
        return (self.loss(pieces, errors) if np.isfinite(gradient).all() else np.inf), gradient

    @QUIET
    def gradient(self, theta: Array, pieces: Sequence[Piece], errors: Sequence[Errors]) -> Array:
        """Gradient of the loss with respect to ``theta``, where the errors are these."""
        total = np.zeros(self.layout.size)
        parameters = self.layout.unpack(theta)
        for piece, error in zip(pieces, errors, strict=True):
            atoms, structures = piece.tolerances
            energy_bar = _cotangent(self.weights.energy, error.energy, structures) / piece.atoms_per_structure
            force_bar = _cotangent(self.weights.forces, error.forces, atoms[:, None])
            stress_bar = _cotangent(self.weights.stress, error.stress, structures[:, None])
            dx = assembly.edge_displacements(piece.batch, force_bar, stress_bar, self.kernel.execution.threads)
            per_atom = np.repeat(energy_bar, np.diff(piece.batch.atom_offsets))
            total += self.layout.join(self.kernel.parameter_gradient(parameters, piece.environments, per_atom, dx))
        return total


def _error(predicted: Array, label: Array) -> Array:
    error = predicted - label
    error[np.isnan(error) & ~np.isnan(label)] = np.inf
    return error


def _cotangent(weight: float, error: Array, tolerance: Array) -> Array:
    """Derivative of the loss with respect to the error: zero without a label or a weight."""
    return weight * np.where(np.isnan(error), 0.0, error) / tolerance**2 if weight else np.zeros_like(error)
