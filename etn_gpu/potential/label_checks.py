"""Signs and units of labels, seen against what a model predicts: sums that grow with the data, their size does not.

Predictions of a model that is any good are proportional to labels in another unit or of another sign; only the factor
is not 1. Where predictions and labels have little to do with each other the model is bad, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.structures.label_units import FORCE_UNITS, STRESS_FACTORS, nearest_of, stress_remedy

__all__ = ["LabelChecks"]

#: Labels and predictions are proportional: their correlation through the origin, over so many numbers at least.
_CORRELATION, _FEWEST = 0.9, 6
#: Predictions below these (eV/A, eV/A^3; root mean squares) are of crystals at rest: noise has no sign.
_FORCE_NOISE, _STRESS_NOISE = 0.01, 5e-4
#: The ratio of labels to predictions is that of a unit within this factor.
_NEAR = 1.25
#: Energies per atom that all compositions explain and the model does not, eV: above 20 times what is left, and this.
_SHIFT, _SHIFT_TIMES = 0.05, 20.0


class _Line:
    """Sums for a line through the origin, labels against predictions."""

    def __init__(self) -> None:
        self.count, self.pp, self.pl, self.ll = 0, 0.0, 0.0, 0.0

    def add(self, predicted: ArrayLike, label: ArrayLike) -> None:
        p, t = np.asarray(predicted, dtype=np.float64), np.asarray(label, dtype=np.float64)
        known = np.isfinite(p) & np.isfinite(t)
        p, t = p[known], t[known]
        self.count += p.size
        self.pp += float((p * p).sum())
        self.pl += float((p * t).sum())
        self.ll += float((t * t).sum())

    def slope(self, noise: float) -> float | None:
        """The ratio of labels to predictions, with its sign; None where they are not proportional."""
        if self.count < _FEWEST or not (self.pp > noise**2 * self.count and self.ll > 0.0):
            return None
        correlation = self.pl / (np.sqrt(self.pp) * np.sqrt(self.ll))
        return float(np.sign(correlation) * np.sqrt(self.ll / self.pp)) if abs(correlation) >= _CORRELATION else None


class LabelChecks:
    """Compares labels with predictions, structure by structure; :meth:`warnings` says what looks wrong."""

    def __init__(self) -> None:
        self._forces, self._stress, self._virial = _Line(), _Line(), _Line()
        self._energy = _Regression()

    def add(
        self,
        predicted: Mapping[str, Any],
        *,
        numbers: NDArray[np.int64],
        volume: float,
        energy: float | None = None,
        forces: NDArray[np.float64] | None = None,
        stress: NDArray[np.float64] | None = None,
        **_: Any,
    ) -> None:
        """Adds one structure.

        Args:
            predicted: the model's results as in :meth:`etn_gpu.potential.metrics.Metrics.add`.
            numbers: atomic numbers (n,).
            volume: of the cell in A^3.
            energy: the label of the energy [eV], None or NaN without one.
            forces: the labels of the forces (n, 3) [eV/A], or None.
            stress: the label of the stress (6,), Voigt [eV/A^3]; None or NaN without one.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            if forces is not None and "forces" in predicted:
                self._forces.add(predicted["forces"], forces)
            if stress is not None and "stress" in predicted:
                self._stress.add(predicted["stress"], stress)
                self._virial.add(predicted["stress"], np.asarray(stress) / volume if volume > 0 else np.nan * stress)
            if energy is not None and "energy" in predicted:
                self._energy.add(np.asarray(numbers), predicted["energy"], energy)

    def warnings(self) -> list[str]:
        """One sentence for each label whose sign, unit or zero is not that of the model."""
        with np.errstate(all="ignore"):
            return [text for text in (self._of_energy(), self._of_forces(), self._of_stress()) if text]

    def _of_forces(self) -> str | None:
        slope = self._forces.slope(_FORCE_NOISE)
        if slope is None or (factor := nearest_of(FORCE_UNITS, slope, _NEAR)) in (None, 1.0):
            return None
        name, remedy = FORCE_UNITS[factor]
        return f"forces look {name}: they are {slope:.4g} times those of the model. {remedy}"

    def _of_stress(self) -> str | None:
        slope, virial = self._stress.slope(_STRESS_NOISE), self._virial.slope(_STRESS_NOISE)
        if virial is not None and abs(np.log(-virial)) < np.log(_NEAR) and not slope_is_one(slope):
            return (
                f"the stress looks like a virial in eV: minus it, divided by the volume, is {-virial:.4g} times the "
                "stress of the model. Expected the stress in eV/A^3, tension positive: minus the virial divided by "
                "the volume."
            )
        if slope is None:
            return None
        size = nearest_of({factor: None for factor in STRESS_FACTORS}, abs(slope), _NEAR)
        if size is None or size * np.sign(slope) == 1.0:
            return None
        pressure = " with the sign of a pressure" if slope < 0 else ""
        unit = f"like {STRESS_FACTORS[size]}{pressure}" if size != 1.0 else "to have the sign of a pressure"
        return f"the stress looks {unit}: it is {slope:.5g} times that of the model. {stress_remedy(np.sign(slope) * size)}"
