"""Evaluation that cannot fail: each structure gets its numbers, or the reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import EtnGpuError, StructureError
from etn_gpu.potential.grade import THRESHOLD
from etn_gpu.screening.batching import number_densities
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Potential, Result

__all__ = ["Outcome", "evaluate_each", "outcome_of", "too_dense"]

# 25 times diamond. The neighbour list of a denser structure could fill the memory before its distances are checked.
_MAX_DENSITY = 4.5


class Outcome(NamedTuple):
    """What came of one structure.

    Attributes:
        energy: total energy [eV], NaN when the evaluation failed.
        forces: (n, 3) [eV/A].
        stress: (6,), Voigt order xx, yy, zz, yz, xz, xy [eV/A^3]; None unless periodic in all three directions.
        energies: (n,) energies of the atoms [eV].
        grades: (n,) extrapolation grades of the atoms (:mod:`etn_gpu.potential.grade`); None from a model without.
        closest_pair: distance of the two closest atoms, images included [A]; None where none are within the cutoff.
        extrapolating: the largest grade is above the threshold; for a model without grades, a pair of atoms is closer
            than any in training.
        failed: there are no numbers; `message` says why.
        message: the reason for `extrapolating`, `failed` or `ended`.
        ended: how a relaxation ended that did not converge.
    """

    energy: float = math.nan
    forces: NDArray[np.float64] = np.empty((0, 3))
    stress: NDArray[np.float64] | None = None
    energies: NDArray[np.float64] = np.empty(0)
    grades: NDArray[np.float64] | None = None
    closest_pair: float | None = None
    extrapolating: bool = False
    failed: bool = False
    message: str = ""
    ended: Literal["", "not converged", "exploded"] = ""

    @property
    def grade(self) -> float | None:
        """The largest of the grades."""
        return None if self.grades is None else float(self.grades.max())

    def results(self) -> dict[str, Any]:
        """The numbers under ASE's property names."""
        results = {"energy": self.energy, "free_energy": self.energy, "energies": self.energies, "forces": self.forces}
        return results if self.stress is None else results | {"stress": self.stress}


def evaluate_each(
    model: Potential, structures: Sequence[Atoms], *, threshold: float = THRESHOLD, **options: Any
) -> list[Outcome]:
    """Evaluates all structures as one batch and returns one outcome for each, in order.

    A structure that is no valid input is left out of the batch. When the evaluation of the batch itself fails, for
    want of memory for instance, each structure is tried alone.

    Args:
        model: the potential.
        structures: any number of structures.
        threshold: the extrapolation grade above which a structure counts as extrapolating, 1 or more.
        options: passed on to `model.evaluate_each` (`backend`, `dtype`, `threads`).
    """
    try:
        return _evaluate_together(model, structures, threshold, options)
    except Exception as error:  # whatever it is, it must not take the other structures with it
        if len(structures) == 1:
            reason = str(error) if isinstance(error, EtnGpuError) else f"{type(error).__name__}: {error}"
            return [Outcome(failed=True, message=reason)]
    return [evaluate_each(model, [atoms], threshold=threshold, **options)[0] for atoms in structures]


def _evaluate_together(
    model: Potential, structures: Sequence[Atoms], threshold: float, options: dict[str, Any]
) -> list[Outcome]:
    outcomes = dict(enumerate(too_dense(structures)))
    places = [place for place, refused in outcomes.items() if refused is None]
    results = model.evaluate_each([structures[place] for place in places], threshold=threshold, **options)
    for place, result in zip(places, results, strict=True):
        outcomes[place] = outcome_of(model, structures[place], result, threshold)
    return [outcome for outcome in outcomes.values() if outcome is not None]


def outcome_of(model: Potential, atoms: Atoms, result: Result | StructureError, threshold: float) -> Outcome:
    """What a result is to a screening run."""
    if isinstance(result, StructureError):
        return Outcome(failed=True, message=str(result))
    grades, message = result.get("extrapolation_grades"), ""
    if result.extrapolating:
        message = _describe_closest_pair(model, atoms) if grades is None else _describe_grade(grades, atoms, threshold)
    return Outcome(
        energy=result["energy"],
        energies=result["energies"],
        forces=result["forces"],
        stress=result.get("stress"),
        grades=grades,
        closest_pair=result.closest if math.isfinite(result.closest) else None,
        extrapolating=result.extrapolating,
        message=message,
    )


def too_dense(structures: Sequence[Atoms]) -> list[Outcome | None]:
    """The outcomes of structures that are far too dense to look for their neighbours; None for all others."""
    found: list[Outcome | None] = [None] * len(structures)
    densities = number_densities(structures)
    for place in np.flatnonzero((densities > _MAX_DENSITY) & (densities < np.inf)).tolist():
        message = (
            f"{densities[place]:.3g} atoms per A^3, where diamond has 0.18: far too little room for its "
            f"{len(structures[place])} atoms; check the unit of lengths (A is expected)"
        )
        found[place] = Outcome(failed=True, message=message)
    return found


def _describe_grade(grades: NDArray[np.float64], atoms: Atoms, threshold: float) -> str:
    """Names the atom with the largest grade, counted from 0."""
    from ase.data import chemical_symbols

    worst = int(grades.argmax())
    symbol = chemical_symbols[atoms.arrays["numbers"][worst]]
    return f"extrapolation grade {grades[worst]:.4g} at atom {worst} ({symbol}), above {threshold:g}"


def _describe_closest_pair(model: Potential, atoms: Atoms) -> str:
    """For models without grades: names the pair that is furthest below the smallest distance seen in training."""
    batch = StructureBatch.build([atoms], model.species, model.cutoff)
    distances = np.linalg.norm(batch.vectors, axis=1)
    centres, neighbours = batch.species_index[batch.centre], batch.species_index[batch.neighbour]
    limits = np.asarray(model.minimum_distances)[centres, neighbours]
    worst = int(np.argmin(distances - limits))
    pair = f"{model.species[centres[worst]]}-{model.species[neighbours[worst]]}"
    return f"a {pair} pair at {distances[worst]:.3f} A; the closest in training is {limits[worst]:.3f} A"
