"""What became of a structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Result

Array = NDArray[np.float64]
Status = Literal["converged", "not converged", "failed", "exploded"]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The end of one relaxation.

    ``status``: 'converged'; 'not converged' after all steps; 'failed', the structure could not be evaluated as it was
    given; 'exploded', it left the limits, or could not be evaluated any more. ``message`` says why, and is empty for
    'converged'.

    ``atoms`` is a copy of what was given, with info, arrays and constraints, at its last positions and in its last
    cell; for 'failed' as it was given, and whatever it was if it was no structure. ``result`` is what the
    model's ``evaluate`` gives for it, None where it cannot be evaluated. ``steps`` were taken. ``initial_energy`` in
    eV. ``residual_force`` is the longest row of generalised forces of atoms, ``residual_cell`` that of the cell, in
    eV/A: both are below fmax for 'converged'; None where there was no evaluation.
    """

    atoms: Atoms
    status: Status
    message: str
    steps: int
    initial_energy: float | None
    result: Result | None
    residual_force: float | None
    residual_cell: float | None

    @property
    def energy(self) -> float | None:
        """The energy in eV."""
        return self._result("energy")

    @property
    def energies(self) -> Array | None:
        """Energies of the atoms [n] in eV."""
        return self._result("energies")

    @property
    def forces(self) -> Array | None:
        """Forces [n, 3] in eV/A, those on held atoms included."""
        return self._result("forces")

    @property
    def stress(self) -> Array | None:
        """Stress [6] (Voigt) in eV/A^3, None unless periodic in all three directions."""
        return self._result("stress")

    @property
    def grades(self) -> Array | None:
        """Extrapolation grades of the atoms [n], None from a model without."""
        return self._result("extrapolation_grades")

    def _result(self, name: str) -> Any:
        return None if self.result is None else self.result.get(name)
