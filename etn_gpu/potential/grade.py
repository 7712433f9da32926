"""The extrapolation grade of a site: how far its surroundings lie outside of what the training data span.

The site energy is linear in matrices inserted in front of the cores of the network; with the features b_i of
:mod:`etn_gpu.potential.grade_program`, its derivatives with respect to them and the power spectrum of the site vector,

    grade_i = h_i / s_z,    h_i^2 = b_i^T C_z^{-1} b_i,    C_z = sum_k w_k b_k b_k^T over training atoms k of species z

with s_z the largest h of a training atom: none of these has a grade above 1, as with D-optimal active sets
(Podryabinkin and Shapeev 2017, Comput. Mater. Sci. 140, 171; Lysogorskiy et al. 2023, Phys. Rev. Mater. 7, 043801).
Such a set counts the most unusual atoms only, equal weights count the common ones most. The former see best what is
new, and say nothing about errors inside; the latter follow the errors, and miss what is new. Between them lie the
weights w_k ~ h_k^1.5 with the h of equal weights, most of a step of the multiplicative algorithm that leads to
D-optimal weights (Titterington 1976). The exponent was chosen on held-out parts of train splits.

A grade does not depend on the gauge of the network: the features of another gauge are linear combinations of these. The
grade of a structure is the largest of its atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.constants import frozen
from etn_gpu.errors import NetworkError
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.grade_program import n_features
from etn_gpu.potential.kernel import Environments, Execution, Kernel

if TYPE_CHECKING:
    from etn_gpu.potential.model import ETNPotential
    from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]
#: Above this grade a structure is taken for an extrapolation unless another threshold is given.
THRESHOLD = 1.5
#: Weights of training atoms: this power of h^2.
TEMPER = 0.75
#: Directions in which features vary by less than this share of their largest variance are given this variance: how
#: little the data vary there cannot be told in double precision, but what leaves them there is far outside.
SMALLEST_VARIANCE = 1e-10
#: Factor of an element that the training data do not have; one of the features is 1.
NOT_SEEN = 1e3
#: Of a potential without what grades need.
LACKS_GRADE = (
    "has nothing to tell an extrapolation grade by; `etn-gpu grade MODEL train.extxyz --output NEW.etn` adds that from "
    "the structures it was trained on"
)


@dataclass(frozen=True, eq=False)
class ExtrapolationGrade:
    """What the grade of sites needs of the training data, for S species and n features; copied and read-only.

    Args:
        factors: [S, n, n] matrices F_z with grade_i = \\|F_z b_i\\|.
        atoms: [S] how many training atoms of each species there were.
        largest: [S] s_z, the largest leverage of a training atom.

    Raises:
        NetworkError: arrays of other shapes, numbers that are not finite, negative counts.
    """

    factors: Array
    atoms: Array
    largest: Array

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, frozen(getattr(self, field.name)))
        shape = self.factors.shape
        good = len(shape) == 3 and shape[1] == shape[2] and self.atoms.shape == self.largest.shape == shape[:1]
        if not good:
            raise NetworkError(
                f"the grade's factors, atoms and largest have the shapes {shape}, {self.atoms.shape} and "
                f"{self.largest.shape}, expected [species, features, features], [species] and [species]"
            )
        for name in ("factors", "atoms", "largest"):
            values = getattr(self, name)
            if not np.isfinite(values).all() or (name != "factors" and (values < 0.0).any()):
                raise NetworkError(f"the grade's {name} holds negative, NaN or infinite values")

    def __setstate__(self, state: dict[str, Array]) -> None:
        for name, values in state.items():
            object.__setattr__(self, name, frozen(values))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExtrapolationGrade):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]


def check_grade(grade: ExtrapolationGrade, architecture: Architecture) -> None:
    """NetworkError for a grade that is not one of potentials with this architecture."""
    if not architecture.is_energy:
        raise NetworkError(f"grades are of energies; this potential has the covariant output {architecture.target}")
    expected = (architecture.n_species, n_features(architecture), n_features(architecture))
    if grade.factors.shape != expected:
        raise NetworkError(f"the grade's factors have the shape {grade.factors.shape}, expected {expected}")


def structure_grades(grades: Array, atom_offsets: NDArray[np.int64]) -> Array:
    """The largest grade [S] of the atoms [N] of each structure."""
    return np.maximum.reduceat(grades, atom_offsets[:-1]) if len(grades) else np.zeros(0)


def check_threshold(threshold: float) -> float:
    """The threshold itself.

    Raises:
        NetworkError: one below 1, which training structures would exceed, or one that is no number.
    """
    if not threshold >= 1.0:
        raise NetworkError(
            f"the threshold of the extrapolation grade must be 1 or more, got {threshold}: structures of the training "
            "set have grades up to 1"
        )
    return float(threshold)


def graded(
    model: ETNPotential, batches: Sequence[StructureBatch], *, backend: str | None = None, threads: int | None = None
) -> ExtrapolationGrade:
    """What the grade needs, from the structures that ``model`` was trained on, in three passes over them.

    Raises:
        NetworkError: no atoms, or a potential without an energy.
        StructureError: a batch for other species or a smaller cutoff.
    """
    features = _Features(model, Execution(backend, "float64", threads))
    n, species = n_features(model.architecture), len(model.species)
    atoms = np.zeros(species)
    for batch in batches:
        atoms += np.bincount(batch.species_index, minlength=species)
    if not atoms.any():
        raise NetworkError("there are no atoms to take a grade from; give the structures the model was trained on")
    factors, largest = np.zeros((species, n, n)), np.zeros(species)
    for power in (0.0, TEMPER):
        gram, total = np.zeros((species, n, n)), np.zeros(species)
        for batch in batches:
            for z, rows in features.by_species(batch):
                weights = _squares(rows, factors[z]) ** power
                gram[z] += (weights[:, None] * rows).T @ rows
                total[z] += weights.sum()
        for z in map(int, np.flatnonzero(total)):
            factors[z] = inverse_root(gram[z] / total[z])
    for batch in batches:
        for z, rows in features.by_species(batch):
            largest[z] = max(largest[z], np.sqrt(_squares(rows, factors[z]).max()))
    for z in range(species):
        factors[z] = factors[z] / largest[z] if largest[z] else NOT_SEEN * np.eye(n)
    return ExtrapolationGrade(factors, atoms, largest)


def _squares(rows: Array, factor: Array) -> Array:
    """|F b|^2 [m] of the rows b [m, n]."""
    transformed = rows @ factor.T
    return np.einsum("ij,ij->i", transformed, transformed)


class _Features:
    """Features of the atoms of a batch, species by species."""

    def __init__(self, model: ETNPotential, execution: Execution) -> None:
        self.model = model
        self.kernel = Kernel(model.architecture, execution)

    def by_species(self, batch: StructureBatch) -> list[tuple[int, Array]]:
        self.model.check_batch(batch)
        b = self.kernel.features(self.model.parameters, Environments.of(batch))
        return [(int(z), b[batch.species_index == z]) for z in np.unique(batch.species_index)]


def inverse_root(covariance: Array) -> Array:
    """F [n, n] with F^T F the inverse of ``covariance`` (the second moment), its small eigenvalues raised.

    Columns are scaled before, for features of different kinds differ by orders of magnitude. A feature that is zero on
    all of the data has the scale of the smallest of the others.
    """
    scale = np.sqrt(np.diagonal(covariance))
    if not scale.any():
        return np.eye(len(scale))
    scale = np.where(scale > 0.0, scale, scale[scale > 0.0].min())
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    raised = np.maximum(values, SMALLEST_VARIANCE * values[-1])
    root: Array = (vectors / np.sqrt(raised)).T / scale
    return root
