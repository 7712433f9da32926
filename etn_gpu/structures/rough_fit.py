"""A rough potential fitted to a sample of a labelled set: what energies, forces and stresses have to say of each other.

Three parts of one physics: forces and stress are derivatives of the energy. A fit of smooth functions to energies and
forces predicts the stress, and tells whether forces go with energies, for crystals, alloys, liquids and surfaces alike.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.batch import StructureBatch
from etn_gpu.structures.smooth_functions import SmoothFunctions

if TYPE_CHECKING:
    from etn_gpu.structures.labels import LabelledSet

Array = NDArray[np.float64]
#: What is fitted to: at most so many structures and atoms, drawn from all.
_STRUCTURES, _ATOMS = 150, 2500
#: Neighbours reach this many times the cube root of the volume of an atom, within bounds in A.
_REACH, _SHORTEST, _LONGEST = 1.9, 4.0, 5.5
#: Forces (eV/A) and energies per atom (eV) that vary by less are not fitted any closer.
_FORCE_FLOOR, _ENERGY_FLOOR = 0.05, 1e-3
#: Energies tell something if there are so many beyond what the composition explains, and if they differ by more (eV).
_FREE, _ENERGY_NOISE = 2, 1e-5
_RIDGE = 1e-4
#: The share of the mean square of the predicted stress that every component may be wrong by.
_COMMON_ERROR = 0.05


@dataclass(frozen=True)
class RoughFit:
    """Rows of the two blocks of equations, forces and energies, each scaled to a mean square of 1.

    Energies are those per atom beyond what the composition explains. ``stress`` [M, C] and ``stress_labels`` [M] are
    the deviatoric components and the mean stresses beyond what the composition explains, eV/A^3; ``virial_labels`` [M]
    the same of labels divided by the volume, what a stress would be if the labels were virials, but for the sign.
    """

    force_rows: Array
    force_labels: Array
    energy_rows: Array
    energy_labels: Array
    stress: Array
    stress_labels: Array
    virial_labels: Array
    n_structures: int
    n_stresses: int

    @classmethod
    def of(cls, labels: LabelledSet, without: Collection[int] = ()) -> RoughFit | None:
        """The equations of a sample, without some structures; None if there is nothing to compare."""
        chosen = _sample(labels, without)
        if len(chosen) < 2:
            return None
        species = sorted({symbol for i in chosen for symbol in labels.atoms[i].get_chemical_symbols()})
        batch = StructureBatch.build(
            [labels.atoms[i] for i in chosen], species, _cutoff(labels, chosen), on_error="collect"
        )
        if batch.n_structures < 2 or batch.n_edges == 0:
            return None
        return cls._from_batch(labels, np.asarray(chosen)[batch.kept], batch)

    @classmethod
    def _from_batch(cls, labels: LabelledSet, chosen: NDArray[np.int64], batch: StructureBatch) -> RoughFit:
        functions = SmoothFunctions.of(batch)
        counts = np.zeros((batch.n_structures, len(batch.species)))
        np.add.at(counts, (batch.structure_of_atom, batch.species_index), 1.0)
        sizes = counts.sum(axis=1)
        fractions = counts / sizes[:, None]

        energy = labels.energy[chosen] / sizes
        known = np.isfinite(energy)
        basis = _basis(fractions[known])
        energies = _beyond(basis, energy[known])
        energy_rows = _beyond(basis, functions.values[known] / sizes[known, None])
        free = len(energies) - basis.shape[1]
        spread = float(np.sqrt((energies**2).sum() / max(free, 1)))
        if free < _FREE or spread < _ENERGY_NOISE:
            # What is left is rounding, and a share of it says nothing.
            energies, energy_rows = np.zeros_like(energies), np.zeros_like(energy_rows)
        scale = max(spread, _ENERGY_FLOOR) * np.sqrt(max(len(energies), 1))

        forces = [np.full((len(labels.atoms[i]), 3), np.nan) if (f := labels.forces[i]) is None else f for i in chosen]
        force = np.concatenate(forces).ravel()
        given = np.isfinite(force)
        force, force_rows = force[given], functions.forces.reshape(-1, functions.forces.shape[-1])[given]
        force_scale = max(float(np.sqrt(np.mean(force**2))) if force.size else 0.0, _FORCE_FLOOR)
        force_scale *= np.sqrt(max(len(force), 1))

        there = np.isfinite(labels.stress[chosen, 0]) & np.isfinite(batch.volumes)
        volumes = batch.volumes[there]
        rows = functions.strain[there] / volumes[:, None, None]
        stress, basis = labels.stress[chosen][there], _basis(fractions[there])
        return cls(
            force_rows / force_scale, force / force_scale, energy_rows / scale, energies / scale,
            _parts(rows, basis), _parts(stress, basis), _parts(stress / volumes[:, None], basis),
            batch.n_structures, len(volumes),
        )  # fmt: skip

    def fit(self, force_factor: float = 1.0) -> Fitted:
        """The fit with all forces multiplied by a factor."""
        # the block of the forces keeps its weight
        rows = np.concatenate([self.force_rows / abs(force_factor), self.energy_rows])
        labels = np.concatenate([np.sign(force_factor) * self.force_labels, self.energy_labels])
        norms = np.sqrt((rows**2).sum(axis=0))
        norms = np.maximum(norms, 1e-6 * norms.max())
        rows = rows / norms
        inverse = np.linalg.inv(rows.T @ rows + _RIDGE * np.eye(len(norms)))
        coefficients = inverse @ (rows.T @ labels)
        errors = (rows @ coefficients - labels) ** 2
        shares = [
            float(part.sum() / max(float(block @ block), 1e-300))
            for part, block in (
                (errors[: len(self.force_rows)], self.force_labels),
                (errors[len(self.force_rows) :], self.energy_labels),
            )
            if block.any()
        ]
        noise = float(errors.sum()) + _RIDGE * float(coefficients @ coefficients)
        stress = self.stress / norms
        variance = noise * ((stress @ inverse) * stress).sum(axis=1)
        return Fitted(
            sum(shares), float(errors.sum() / max(float(labels @ labels), 1e-300)), stress @ coefficients, variance
        )


@dataclass(frozen=True)
class Fitted:
    """unexplained: the shares of the squares of forces and of energies that the fit leaves, added up, and of both
    blocks together; stress [M] as predicted in eV/A^3, and the variance [M] of these predictions."""

    unexplained: float
    unexplained_together: float
    stress: Array
    variance: Array

    def against(self, labels: Array) -> tuple[float, float]:
        """The correlation of labels [M] with predictions, through the origin, and the ratio of their sizes."""
        common = _COMMON_ERROR * float(np.mean(self.stress**2))
        weights = 1.0 / (self.variance + common + 1e-300)
        pp, ll, pl = (float((weights * a * b).sum()) for a, b in (
            (self.stress, self.stress), (labels, labels), (self.stress, labels)
        ))  # fmt: skip
        if not (pp > 0 and ll > 0 and np.isfinite(pp) and np.isfinite(ll)):
            return 0.0, 1.0
        return pl / float(np.sqrt(pp) * np.sqrt(ll)), float(np.sqrt(ll / pp))


def _sample(labels: LabelledSet, without: Collection[int]) -> list[int]:
    """Structures with an energy or forces, drawn at random; those with a stress have half of the room to themselves."""
    order = np.random.default_rng(0).permutation(len(labels))
    left_out = set(without)
    sizes = [len(atoms) for atoms in labels.atoms]
    usable = [
        int(i)
        for i in order
        if i not in left_out
        and 0 < sizes[i] <= _ATOMS
        and (np.isfinite(labels.energy[i]) or labels.forces[i] is not None)
    ]
    stressed = np.isfinite(labels.stress[:, 0])
    chosen: dict[int, None] = {}
    atoms = 0
    for indices, share in (([i for i in usable if stressed[i]], 0.5), (usable, 1.0)):
        for i in indices:
            if len(chosen) >= share * _STRUCTURES or atoms >= share * _ATOMS:
                break
            if i not in chosen:
                chosen[i] = None
                atoms += sizes[i]
    return sorted(chosen)


def _cutoff(labels: LabelledSet, chosen: list[int]) -> float:
    volumes = [abs(labels.atoms[i].cell.volume) / len(labels.atoms[i]) for i in chosen if labels.atoms[i].pbc.all()]
    return float(np.clip(_REACH * np.cbrt(np.median(volumes)), _SHORTEST, _LONGEST)) if volumes else _SHORTEST


def _basis(fractions: Array) -> Array:
    """Orthonormal vectors that span what the composition explains."""
    left, values, _ = np.linalg.svd(fractions, full_matrices=False)
    return left[:, values > 1e-6 * max(values, default=1.0)]


def _beyond(basis: Array, values: Array) -> Array:
    """What is left of values [S, ...]."""
    return values - np.tensordot(basis, np.tensordot(basis.T, values, axes=1), axes=1)


def _parts(stress: Array, basis: Array) -> Array:
    """The deviatoric parts of stresses [S, 6, ...], and their means beyond what the composition explains [7 S, ...].

    What is added to all stresses alike would tell nothing of the sign; the factors keep the square of the tensor.
    """
    mean = stress[:, :3].mean(axis=1)
    deviatoric = np.concatenate([stress[:, :3] - mean[:, None], np.sqrt(2.0) * stress[:, 3:]], axis=1)
    return np.concatenate([deviatoric, np.sqrt(3.0) * _beyond(basis, mean)[:, None]], axis=1).reshape(
        -1, *stress.shape[2:]
    )
