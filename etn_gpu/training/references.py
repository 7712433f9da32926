"""What formation energies are relative to: the lowest energy of each pure element, and the structure that has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from etn_gpu.structures import LabelledSet
from etn_gpu.structures.units import GPA

#: A structure is relaxed when no force (eV/A) and no component of the stress (eV/A^3) is larger.
RELAXED_FORCE, RELAXED_STRESS = 0.05, 1.0 * GPA


def reference_indices(labels: LabelledSet) -> dict[str, int]:
    """The structure with the lowest labelled energy per atom of each pure element."""
    lowest: dict[str, tuple[float, int]] = {}
    for i, (atoms, energy) in enumerate(zip(labels.atoms, labels.energy, strict=True)):
        symbols = set(atoms.get_chemical_symbols())
        if len(symbols) == 1 and np.isfinite(energy):
            (symbol,) = symbols
            found = (float(energy) / len(atoms), i)
            lowest[symbol] = min(lowest.get(symbol, found), found)
    return {symbol: index for symbol, (_, index) in lowest.items()}


def formation_references(labels: LabelledSet) -> dict[str, float]:
    """Lowest energy per atom (eV) of a structure of each pure element in the training data, from the labels."""
    return {symbol: float(labels.energy[i]) / len(labels.atoms[i]) for symbol, i in reference_indices(labels).items()}


def formation_reference_structures(labels: LabelledSet) -> dict[str, dict[str, Any]]:
    """What each of these numbers is, JSON-ready.

    formula; index: place in the training data, counted from 0; config_type or None; volume_per_atom in A^3, None where
    not periodic in all directions; max_force in eV/A and max_stress in GPa (the largest component), None without such
    labels; relaxed: whether both are small, None where a label that it takes is missing.
    """
    return {symbol: _described(labels, i) for symbol, i in reference_indices(labels).items()}


def reference_warnings(structures: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence on the references that are not relaxed, and one on those of which it is not known."""
    strained = [
        f"{symbol} (structure {s['index']}, {_strain(s)})" for symbol, s in structures.items() if s["relaxed"] is False
    ]
    unknown = [f"{symbol} (structure {s['index']})" for symbol, s in structures.items() if s["relaxed"] is None]
    found = []
    if strained:
        found.append(
            f"formation energies will be relative to structures that are not relaxed: {', '.join(strained)}; add the "
            "relaxed crystals of the elements to the training data."
        )
    if unknown:
        found.append(
            f"whether the references of formation energies are relaxed cannot be told without forces and stresses: "
            f"{', '.join(unknown)}."
        )
    return found


def _described(labels: LabelledSet, index: int) -> dict[str, Any]:
    atoms, forces, stress = labels.atoms[index], labels.forces[index], labels.stress[index]
    periodic = bool(atoms.pbc.all())
    max_force = None if forces is None else float(np.sqrt((forces**2).sum(axis=1).max()))
    max_stress = float(np.abs(stress).max()) if np.isfinite(stress).all() else None
    too_large = (max_force or 0.0) > RELAXED_FORCE or (max_stress or 0.0) > RELAXED_STRESS
    known = max_force is not None and (max_stress is not None or not periodic)
    return {
        "formula": atoms.get_chemical_formula(),
        "index": index,
        "config_type": labels.config_type[index],
        "volume_per_atom": abs(float(atoms.cell.volume)) / len(atoms) if periodic else None,
        "max_force": max_force,
        "max_stress": None if max_stress is None else max_stress / GPA,
        "relaxed": False if too_large else True if known else None,
    }


def _strain(structure: dict[str, Any]) -> str:
    units = {"max_force": "force", "max_stress": "stress"}
    shown = [
        f"{name} {structure[key]:.3g} {'eV/A' if name == 'force' else 'GPa'}"
        for key, name in units.items()
        if structure[key] is not None
    ]
    return ", ".join(shown)
