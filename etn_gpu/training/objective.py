"""The least-squares objective of energies, forces and stresses, and its exact gradient.

    loss = 1/2 sum_s w_E ((E_s - E_s^ref)/N_s)^2 + 1/2 sum w_F (F - F^ref)^2 + 1/2 sum w_S (stress - stress^ref)^2

with weights w = 1/sigma^2, where errors of extraordinary labels are divided by a tolerance
(:mod:`etn_gpu.training.tolerance`); :mod:`etn_gpu.training.prior` adds to it. The gradient is one run of a
parameter-gradient Program (:class:`etn_gpu.potential.programs.Programs`), whatever the number of parameters. What is
left out is decided by the labels alone: a prediction that overflows makes the loss infinite, and is never mistaken for
a small error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

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
    """1/sigma^2 per residual: energies per atom (eV/atom)^-2, forces (eV/A)^-2, stresses (eV/A^3)^-2.

    Where a target is trained on instead (:mod:`etn_gpu.training.covariant_objective`), these are 0, and ``target`` is
    that of its components.
    """

    energy: float
    forces: float
    stress: float
    target: float = 0.0


class Residuals(Protocol):
    """Errors of some pieces, whatever is trained on; nan where a label is missing."""

    def named(self) -> Mapping[str, Array]:
        """What reports have, by name."""

    def weighed(self, weights: Weights) -> list[tuple[Array, float]]:
        """What counts, and its weight."""

    def over(self, atoms: Array, structures: Array) -> Self:
        """Over tolerances of the atoms [N] and of the structures [S]."""

    def of(self, structures: NDArray[np.int64], atoms: NDArray[np.int64]) -> Self:
        """Those of some structures, and their atoms."""


@dataclass(frozen=True)
class Errors:
    """Model minus label of a piece: energy per atom [S], forces [N, 3], stress [S, 6].

    nan means that a label is missing, and nothing else: where a prediction is not finite, the error is infinite.
    """

    energy: Array
    forces: Array
    stress: Array

    def named(self) -> Mapping[str, Array]:
        """The errors by property."""
        return {name: getattr(self, name) for name in PROPERTIES}

    def weighed(self, weights: Weights) -> list[tuple[Array, float]]:
        """The errors and the weight of each property."""
        return [(getattr(self, name), getattr(weights, name)) for name in PROPERTIES]

    def over(self, atoms: Array, structures: Array) -> Errors:
        """Over tolerances of the atoms [N] and of the structures [S]."""
        return Errors(self.energy / structures, self.forces / atoms[:, None], self.stress / structures[:, None])

    def of(self, structures: NDArray[np.int64], atoms: NDArray[np.int64]) -> Errors:
        """Those of some structures, and their atoms."""
        return Errors(self.energy[structures], self.forces[atoms], self.stress[structures])


E = TypeVar("E", bound=Residuals)


def in_proportion(errors: E, pieces: Sequence[Piece]) -> E:
    """Errors on some pieces, one after the other, over the tolerances of their labels: what counts."""
    pairs = [piece.tolerances for piece in pieces]
    if not pairs:
        return errors
    atoms, structures = map(np.concatenate, zip(*pairs, strict=True))
    return errors.over(atoms, structures)


def count_labels(weights: Weights, pieces: Iterable[Piece]) -> int:
    """Number of labels that count: components of forces and stresses each as one."""
    names = [name for name in PROPERTIES if getattr(weights, name)]
    labels = [getattr(piece, name) for piece in pieces for name in names]
    labels += [piece.target.values for piece in pieces if weights.target and piece.target is not None]
    return sum(int(np.isfinite(values).sum()) for values in labels)


class LeastSquares(ABC, Generic[E]):
    """Half a weighted sum of squares over pieces of data, and its gradient."""

    def __init__(self, kernel: Kernel, weights: Weights) -> None:
        self.kernel = kernel
        self.weights = weights
        self.layout = ParameterVector(kernel.form.parameter_shapes)

    @abstractmethod
    def errors(self, theta: Array, piece: Piece) -> E:
        """Errors of the model with parameters ``theta``."""

    @abstractmethod
    def joined(self, errors: Sequence[E]) -> E:
        """Errors of several pieces, one after the other."""

    @abstractmethod
    def gradient(self, theta: Array, pieces: Sequence[Piece], errors: Sequence[E]) -> Array:
        """Gradient of the loss with respect to ``theta``, where the errors are these."""

    def loss(self, pieces: Sequence[Piece], errors: Sequence[E]) -> float:
        """Loss of some pieces from the errors of each; infinite where one that counts is."""
        return sum(self.loss_of(in_proportion(error, [piece])) for piece, error in zip(pieces, errors, strict=True))

    @QUIET
    def loss_of(self, errors: E) -> float:
        """Loss of one piece from its errors, in proportion; infinite where one that counts is."""
        pairs = errors.weighed(self.weights)
        return sum(0.5 * weight * float(np.nansum(values**2)) for values, weight in pairs if weight)

    def loss_and_gradient(self, theta: Array, pieces: Sequence[Piece]) -> tuple[float, Array]:
        """Loss and its gradient with respect to ``theta``; the loss is infinite where the gradient is not finite."""
        errors = [self.errors(theta, piece) for piece in pieces]
        gradient = self.gradient(theta, pieces, errors)
        # A minimiser that accepted this point could not go on from it.
        return (self.loss(pieces, errors) if np.isfinite(gradient).all() else np.inf), gradient


class Objective(LeastSquares[Errors]):
    """Loss and gradient of energies, forces and stresses."""

    @QUIET
    def errors(self, theta: Array, piece: Piece) -> Errors:
        """Errors of the model with parameters ``theta``."""
        batch = piece.batch
        energies, gradient = self.kernel.energies_and_gradients(self.layout.unpack(theta), piece.environments)
        total = assembly.segment_sum(energies[:, None], batch.atom_offsets)[:, 0]
        forces, virials = assembly.forces_and_virials(batch, gradient, self.kernel.execution.threads)
        return Errors(
            error(total, piece.energy) / piece.atoms_per_structure,
            error(forces, piece.forces),
            error(assembly.stresses(batch, virials), piece.stress),
        )

    def joined(self, errors: Sequence[Errors]) -> Errors:
        """Errors of several pieces, one after the other."""
        if not errors:
            return Errors(np.empty(0), np.empty((0, 3)), np.empty((0, 6)))
        return Errors(*(np.concatenate([getattr(e, name) for e in errors]) for name in PROPERTIES))

    @QUIET
    def gradient(self, theta: Array, pieces: Sequence[Piece], errors: Sequence[Errors]) -> Array:
        """Gradient of the loss with respect to ``theta``, where the errors are these."""
        total = np.zeros(self.layout.size)
        parameters = self.layout.unpack(theta)
        for piece, found in zip(pieces, errors, strict=True):
            atoms, structures = piece.tolerances
            energy_bar = cotangent(self.weights.energy, found.energy, structures) / piece.atoms_per_structure
            force_bar = cotangent(self.weights.forces, found.forces, atoms[:, None])
            stress_bar = cotangent(self.weights.stress, found.stress, structures[:, None])
            dx = assembly.edge_displacements(piece.batch, force_bar, stress_bar, self.kernel.execution.threads)
            per_atom = np.repeat(energy_bar, np.diff(piece.batch.atom_offsets))
            total += self.layout.join(self.kernel.parameter_gradient(parameters, piece.environments, per_atom, dx))
        return total


def error(predicted: Array, label: Array) -> Array:
    """The difference: nan where there is no label, infinite where a prediction that has one is nan."""
    difference = predicted - label
    difference[np.isnan(difference) & ~np.isnan(label)] = np.inf
    return difference


def cotangent(weight: float, errors: Array, tolerance: Array) -> Array:
    """Derivative of the loss with respect to the errors: zero without a label or a weight."""
    return weight * np.where(np.isnan(errors), 0.0, errors) / tolerance**2 if weight else np.zeros_like(errors)
