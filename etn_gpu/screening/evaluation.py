"""Evaluation that cannot fail: each structure gets its numbers, or the reason why it has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import EtnGpuError, StructureError
from etn_gpu.screening.batching import number_density
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential, Result

__all__ = ["Outcome", "evaluate_each", "refuse_too_dense"]

# 25 times diamond. The neighbour list of a denser structure could fill the memory before its distances are checked.
_MAX_DENSITY = 4.5


@dataclass(frozen=True)
class Outcome:
    """What came of one structure.

    Attributes:
        energy: total energy [eV], NaN when the evaluation failed.
        forces: (n, 3) [eV/A].
        stress: (6,), Voigt order xx, yy, zz, yz, xz, xy [eV/A^3]; None unless periodic in all three directions.
        energies: (n,) energies of the atoms [eV].
        extrapolating: a pair of atoms is closer than any in training.
        failed: there are no numbers; `message` says why.
        message: the reason for `extrapolating` or `failed`.
    """

    energy: float = math.nan
    forces: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    stress: NDArray[np.float64] | None = None
    energies: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    extrapolating: bool = False
    failed: bool = False
    message: str = ""

    def results(self) -> dict[str, Any]:
        """The numbers under ASE's property names."""
        results = {"energy": self.energy, "free_energy": self.energy, "energies": self.energies, "forces": self.forces}
        return results if self.stress is None else results | {"stress": self.stress}


def evaluate_each(model: ETNPotential, structures: Sequence[Atoms], **options: Any) -> list[Outcome]:
    """Evaluates all structures as one batch and returns one outcome for each, in order.

    A structure that is no valid input is left out of the batch. When the evaluation of the batch itself fails, for
    want of memory for instance, each structure is tried alone.

    Args:
        model: the potential.
        structures: any number of structures.
        options: passed on to `model.evaluate_each` (`backend`, `dtype`, `threads`).
    """
    try:
        return _evaluate_together(model, structures, options)
    except Exception as error:  # whatever it is, it must not take the other structures with it
        if len(structures) == 1:
            reason = str(error) if isinstance(error, EtnGpuError) else f"{type(error).__name__}: {error}"
            return [Outcome(failed=True, message=reason)]
    return [evaluate_each(model, [atoms], **options)[0] for atoms in structures]


def _evaluate_together(model: ETNPotential, structures: Sequence[Atoms], options: dict[str, Any]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    for place, atoms in enumerate(structures):
        if (refused := refuse_too_dense(atoms)) is not None:
            outcomes[place] = refused
    places = [place for place in range(len(structures)) if place not in outcomes]
    results = model.evaluate_each([structures[place] for place in places], **options)
    outcomes |= {p: _outcome(model, structures[p], result) for p, result in zip(places, results, strict=True)}
    return [outcomes[place] for place in range(len(structures))]


def _outcome(model: ETNPotential, atoms: Atoms, result: Result | StructureError) -> Outcome:
    if isinstance(result, StructureError):
        return Outcome(failed=True, message=str(result))
    return Outcome(
        energy=result["energy"],
        energies=result["energies"],
        forces=result["forces"],
        stress=result.get("stress"),
        extrapolating=result.extrapolating,
        message=_describe_closest_pair(model, atoms) if result.extrapolating else "",
    )


def refuse_too_dense(atoms: Atoms) -> Outcome | None:
    """The outcome of a structure that is far too dense to look for its neighbours; None for any other."""
    density = number_density(atoms)
    if not _MAX_DENSITY < density < math.inf:
        return None
    return Outcome(
        failed=True,
        message=f"{density:.3g} atoms per A^3, where diamond has 0.18: far too little room for its {len(atoms)} "
        "atoms; check the unit of lengths (A is expected)",
    )


def _describe_closest_pair(model: ETNPotential, atoms: Atoms) -> str:
    """Names the pair that is furthest below the smallest distance seen in training."""
    batch = StructureBatch.build([atoms], model.species, model.cutoff)
    distances = np.linalg.norm(batch.vectors, axis=1)
    centres, neighbours = batch.species_index[batch.centre], batch.species_index[batch.neighbour]
    limits = np.asarray(model.minimum_distances)[centres, neighbours]
    worst = int(np.argmin(distances - limits))
    pair = f"{model.species[centres[worst]]}-{model.species[neighbours[worst]]}"
    return f"a {pair} pair at {distances[worst]:.3f} A; the closest in training is {limits[worst]:.3f} A"
