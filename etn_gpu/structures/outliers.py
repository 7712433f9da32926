"""Energies that do not belong to their set: far from what the composition says, seen against how far the others are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from etn_gpu.structures.labels import LabelledSet

Array = NDArray[np.float64]
#: Times the usual deviation from the composition, and at least so many eV per atom too low or too high. Compressed
#: structures and small clusters are high for good reason, nothing is so low.
_TIMES, _LOW, _HIGH = 20.0, 1.0, 3.0
#: A structure with a root mean square force above this (eV/A) may be high in energy for a reason, but not so high.
_VIOLENT, _VERY_HIGH = 3.0, 100.0
#: Atoms with more room than this (A^3 each) are alone: free atoms and dimers are far above a solid.
_ALONE = 60.0
#: Structures beyond the number of elements that a judgement needs; above this share of a set they are no outliers.
_SPARE, _SHARE = 5, 0.05
_SHOWN = 3
_STEPS = 30


def outlying_energies(labels: LabelledSet) -> dict[int, float]:
    """Structures whose energy per atom is far off, and by how many eV per atom."""
    chosen = [i for i in np.flatnonzero(np.isfinite(labels.energy)).tolist() if not _alone(labels, i)]
    if not chosen:
        return {}
    sizes = np.array([len(labels.atoms[i]) for i in chosen])
    numbers = np.concatenate([labels.atoms[i].numbers for i in chosen])
    elements, element = np.unique(numbers, return_inverse=True)
    n = len(elements)
    if len(chosen) < n + _SPARE:
        return {}
    place = np.repeat(np.arange(len(chosen)), sizes) * n + element
    fractions = np.bincount(place, minlength=len(chosen) * n).reshape(-1, n) / sizes[:, None]
    energies = labels.energy[chosen] / sizes
    with np.errstate(all="ignore"):
        deviations = energies - fractions @ _least_absolute(fractions, energies)
        usual = max(1.4826 * float(np.median(np.abs(deviations))), 1e-3)
    found = {}
    for k in np.flatnonzero(np.abs(deviations) > max(_TIMES * usual, _LOW)).tolist():
        i, deviation = chosen[k], float(deviations[k])
        if deviation < 0 or deviation > (_VERY_HIGH if _violent(labels, i) else _HIGH):
            found[i] = deviation
    return found if len(found) <= max(1, _SHARE * len(chosen)) else {}


def outlier_warnings(outliers: dict[int, float]) -> list[str]:
    """One sentence that names the worst."""
    if not outliers:
        return []
    worst = sorted(outliers, key=lambda i: -abs(outliers[i]))[:_SHOWN]
    listed = ", ".join(f"structure {i} by {outliers[i]:+.4g} eV/atom" for i in worst)
    more = f" and {len(outliers) - len(worst)} more" if len(outliers) > len(worst) else ""
    return [
        f"the energy is far from that of the other structures for its composition: {listed}{more} (counted from 0): a "
        "failed calculation, or another kind? Remove or repeat it."
    ]


def _alone(labels: LabelledSet, index: int) -> bool:
    atoms = labels.atoms[index]
    if len(atoms) > 2:
        return False
    return len(atoms) == 0 or not atoms.pbc.all() or abs(atoms.cell.volume) > _ALONE * len(atoms)


def _violent(labels: LabelledSet, index: int) -> bool:
    forces = labels.forces[index]
    return forces is not None and float(np.sqrt(np.mean(np.square(forces)))) > _VIOLENT


def _least_absolute(fractions: Array, energies: Array) -> Array:
    """Energies of the elements with the least sum of absolute deviations, by reweighting least squares."""
    weights: Any = np.ones(len(energies))
    solution: Array = np.zeros(fractions.shape[1])
    for _ in range(_STEPS):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(root[:, None] * fractions, root * energies, rcond=1e-10)[0]
        weights = 1.0 / np.maximum(np.abs(energies - fractions @ solution), 1e-5)
        weights /= weights.max()
    return solution
