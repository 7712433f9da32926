"""Results that are no numbers: parameters that are huge, though finite, or atoms far from all that was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.errors import StructureError

if TYPE_CHECKING:
    from etn_gpu.potential.results import BatchResult


def not_finite(result: BatchResult) -> dict[int, StructureError]:
    """The structures whose energy, a force or the stress is not finite, with the error that says so."""
    from etn_gpu.backend.cpu.finite import all_finite

    if all_finite(result.energy, result.forces, result.stress, result.volumes):
        return {}
    periodic = np.isfinite(result.volumes)
    bad: dict[int, str] = {}
    for s in np.flatnonzero(~np.isfinite(result.energy)):
        bad.setdefault(int(s), f"its energy came out as {result.energy[s]:g}, not a finite number,")
    if result.forces is not None:
        atoms = np.flatnonzero(~np.isfinite(result.forces).all(axis=1))
        of_atoms = np.searchsorted(result.atom_offsets, atoms, side="right") - 1
        for s, place in zip(of_atoms, atoms - result.atom_offsets[of_atoms], strict=True):
            bad.setdefault(int(s), f"the force on its atom {place} came out as not a finite number")
    if result.stress is not None:
        for s in np.flatnonzero(periodic & ~np.isfinite(result.stress).all(axis=1)):
            bad.setdefault(int(s), "its stress came out as not a finite number")
    return {
        s: StructureError(
            f"{reason} in {result.dtype}. Atoms may be at places unlike all that the potential was trained on, or its "
            "parameters may be beyond reason."
        )
        for s, reason in bad.items()
    }
