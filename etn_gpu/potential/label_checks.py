"""Signs and units of labels, seen against what a model predicts: sums that grow with the data, their size does not.

Predictions of a model that is any good are proportional to labels in another unit or of another sign; only the factor
is not 1. Where predictions and labels have little to do with each other the model is bad, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.structures.unit_factors import (
    DIPOLE_UNITS,
    ENERGY_UNITS,
    FORCE_UNITS,
    STRESS_UNITS,
    conversion,
    nearest_unit,
)

__all__ = ["DipoleChecks", "LabelChecks"]

#: Labels and predictions are proportional: their correlation through the origin, over so many numbers at least.
_CORRELATION, _FEWEST = 0.85, 6
#: Of energies per atom, which are large beside their differences.
_ENERGY_CORRELATION, _ENERGY_NEAR = 0.99, 1.1
#: Root mean squares (eV/A, eV/A^3, eV) of predictions that are noise around zero, which has no sign.
_FORCE_NOISE, _STRESS_NOISE, _ENERGY_NOISE = 0.01, 5e-4, 0.1
#: The same of dipoles (e*A), and how near the ratio must be to that of a unit: two of them differ by a factor of 1.9.
_DIPOLE_NOISE, _DIPOLE_NEAR = 0.01, 1.2
#: The ratio of labels to predictions is that of a unit within this factor.
_NEAR = 1.4
#: Differences of energies per atom that the composition explains: at least so many eV, but for this share of them.
_SHIFT, _SHIFT_LEFT = 0.05, 0.05
_ELEMENTS = 120


class _Line:
    """Sums for a line through the origin, labels against predictions."""

    def __init__(self, noise: float, correlation: float, fewest: int) -> None:
        self._noise, self._correlation, self._fewest = noise, correlation, fewest
        self._count, self._pp, self._pl, self._ll = 0, 0.0, 0.0, 0.0

    def add(self, predicted: ArrayLike, label: ArrayLike) -> None:
        p, t = np.asarray(predicted, dtype=np.float64), np.asarray(label, dtype=np.float64)
        known = np.isfinite(p) & np.isfinite(t)
        p, t = p[known], t[known]
        self._count += p.size
        self._pp += float((p * p).sum())
        self._pl += float((p * t).sum())
        self._ll += float((t * t).sum())

    def slope(self) -> float | None:
        """The ratio of the sizes of labels and predictions, with its sign; None where they are not proportional."""
        if self._count < self._fewest or not (self._pp > self._noise**2 * self._count and self._ll > 0.0):
            return None
        correlation = self._pl / (np.sqrt(self._pp) * np.sqrt(self._ll))
        if not abs(correlation) >= self._correlation:
            return None
        return float(np.sign(correlation) * np.sqrt(self._ll / self._pp))


class _Shift:
    """Sums for the least-squares fit of energy differences per atom by the composition."""

    def __init__(self) -> None:
        self._count, self._square = 0, 0.0
        self._matrix, self._vector = np.zeros((_ELEMENTS, _ELEMENTS)), np.zeros(_ELEMENTS)

    def add(self, numbers: NDArray[np.int64], difference: float) -> None:
        if not np.isfinite(difference):
            return
        elements, counts = np.unique(numbers, return_counts=True)
        fractions = counts / len(numbers)
        self._count += 1
        self._square += difference * difference
        self._matrix[np.ix_(elements, elements)] += np.outer(fractions, fractions)
        self._vector[elements] += fractions * difference

    def per_element(self) -> tuple[dict[int, float], float] | None:
        """Shift of each element (atomic number) in eV and root mean square of what is left; None where it is small."""
        elements = np.flatnonzero(np.diag(self._matrix))
        if self._count <= len(elements) or not self._square > _SHIFT**2 * self._count:
            return None
        vector = self._vector[elements]
        shifts = np.linalg.lstsq(self._matrix[np.ix_(elements, elements)], vector, rcond=1e-9)[0]
        left = np.sqrt(max(self._square - float(vector @ shifts), 0.0) / (self._count - len(elements)))
        if not left < _SHIFT_LEFT * np.sqrt(self._square / self._count):
            return None
        return dict(zip(elements.tolist(), shifts.tolist(), strict=True)), float(left)


class LabelChecks:
    """Compares labels with predictions, structure by structure; :meth:`warnings` says what looks wrong."""

    def __init__(self) -> None:
        self._energy = _Line(_ENERGY_NOISE, _ENERGY_CORRELATION, 1)
        self._forces = _Line(_FORCE_NOISE, _CORRELATION, _FEWEST)
        self._stress, self._virial = (_Line(_STRESS_NOISE, _CORRELATION, _FEWEST) for _ in range(2))
        self._shift = _Shift()

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
            volume: of the cell in A^3; only used where there is a stress.
            energy: the label of the energy [eV], None or NaN without one.
            forces: the labels of the forces (n, 3) [eV/A], or None.
            stress: the label of the stress (6,), Voigt [eV/A^3]; None or NaN without one.
        """
        with np.errstate(all="ignore"):
            if energy is not None and "energy" in predicted:
                self._energy.add(predicted["energy"] / len(numbers), energy / len(numbers))
                self._shift.add(numbers, float(energy - predicted["energy"]) / len(numbers))
            if forces is not None and "forces" in predicted:
                self._forces.add(predicted["forces"], forces)
            if stress is not None and "stress" in predicted:
                self._stress.add(predicted["stress"], stress)
                self._virial.add(predicted["stress"], np.asarray(stress) / volume)

    def warnings(self) -> list[str]:
        """One sentence for each label whose sign, unit or zero is not that of the model."""
        with np.errstate(all="ignore"):
            found = [self._of_energy(), self._of_forces(), self._of_stress()]
        return [text for text in found if text]

    def _of_energy(self) -> str | None:
        slope = self._energy.slope()
        if slope is not None and (text := _wrong(slope, ENERGY_UNITS, "energies", "eV", _ENERGY_NEAR)):
            return text
        if (found := self._shift.per_element()) is None:
            return None
        from ase.data import chemical_symbols

        shifts, left = found
        listed = ", ".join(f"{chemical_symbols[z]} {shift:+.4g}" for z, shift in shifts.items())
        return (
            f"energies differ from those of the model by a constant for each element ({listed} eV per atom), and else "
            f"by {1e3 * left:.3g} meV/atom: they have another zero, like that of other isolated atoms; subtract it "
            "before comparing."
        )

    def _of_forces(self) -> str | None:
        slope = self._forces.slope()
        return (
            None
            if slope is None
            else _wrong(slope, FORCE_UNITS, "forces", "eV/A", _NEAR, "minus the derivatives of the energy")
        )

    def _of_stress(self) -> str | None:
        slope, virial = self._stress.slope(), self._virial.slope()
        unit = 1.0 if slope is None else nearest_unit(STRESS_UNITS, abs(slope))
        off = np.inf if slope is None else abs(np.log(abs(slope) / unit))
        if virial is not None and abs(np.log(abs(virial))) < min(off, np.log(_NEAR)):
            return (
                f"the stress looks like a virial in eV: divided by the volume, it is {virial:.4g} times the stress of "
                "the model. Expected the stress in eV/A^3, tension positive: minus the virial divided by the volume."
            )
        if slope is None:
            return None
        return _wrong(slope, STRESS_UNITS, "stresses", "eV/A^3", _NEAR, "tension positive")


class DipoleChecks:
    """Compares labelled with predicted dipole moments; :meth:`warnings` says what looks wrong."""

    def __init__(self) -> None:
        self._dipole = _Line(_DIPOLE_NOISE, _CORRELATION, _FEWEST)

    def add(self, predicted: ArrayLike, label: ArrayLike | None) -> None:
        """Adds one structure: two vectors [3] in e*A, None without a label."""
        if label is not None:
            self._dipole.add(predicted, label)

    def warnings(self) -> list[str]:
        """A sentence where the sign or the unit of the labels is not that of the model."""
        slope = self._dipole.slope()
        sign = "pointing from minus to plus"
        text = None if slope is None else _wrong(slope, DIPOLE_UNITS, "dipoles", "e*A", _DIPOLE_NEAR, sign)
        return [text] if text else []


def _wrong(slope: float, units: dict[float, str], what: str, unit: str, near: float, sign: str = "") -> str | None:
    """What is wrong with labels that are ``slope`` times the predictions, if it can be told."""
    size = nearest_unit(units, abs(slope))
    factor = float(np.copysign(size, slope))
    if factor == 1.0 or abs(np.log(abs(slope) / size)) > np.log(near) or (factor < 0 and not sign):
        return None
    looks = [f"to be in {units[size]}"] * (size != 1.0) + ["to have the opposite sign"] * (factor < 0)
    expected = f"{unit}, {sign}" if sign else unit
    return (
        f"{what} look {' and '.join(looks)}: they are {slope:.5g} times those of the model. Expected {expected}: "
        f"{conversion(factor)}."
    )
