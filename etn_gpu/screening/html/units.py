"""Quantities as they are shown: names, units, digits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["QUANTITIES", "Quantity", "duration", "quantity", "rate", "shown"]


@dataclass(frozen=True)
class Quantity:
    """How a column is shown: what it is called, its unit, the digits behind the point."""

    label: str
    unit: str = ""
    digits: int | None = None

    @property
    def axis(self) -> str:
        """The label of an axis."""
        label = self.label[:1].upper() + self.label[1:]
        return f"{label} ({self.unit})" if self.unit else label


QUANTITIES = {
    "formula": Quantity("formula"),
    "n_atoms": Quantity("atoms", digits=0),
    "energy": Quantity("energy", "eV", 4),
    "energy_per_atom": Quantity("energy per atom", "eV/atom", 4),
    "formation_energy": Quantity("formation energy", "eV/atom", 4),
    "energy_above_hull": Quantity("energy above hull", "eV/atom", 4),
    "enthalpy_per_atom": Quantity("enthalpy per atom", "eV/atom", 4),
    "formation_enthalpy": Quantity("formation enthalpy", "eV/atom", 4),
    "enthalpy_above_hull": Quantity("enthalpy above hull", "eV/atom", 4),
    "max_force": Quantity("largest force", "eV/Å", 4),
    "pressure": Quantity("pressure", "GPa", 2),
    "volume_per_atom": Quantity("volume per atom", "Å³/atom", 3),
    "extrapolation_grade": Quantity("extrapolation grade", digits=2),
    "closest_pair": Quantity("closest pair", "Å", 3),
    "spacegroup": Quantity("space group"),
}


def quantity(name: str) -> Quantity:
    """A column by its name; own columns are shown under theirs."""
    return QUANTITIES.get(name, Quantity(name.replace("_", " ")))


def shown(value: Any, digits: int | None = None) -> str:
    """A value as text: numbers with a minus sign that is one, a dash for what is empty."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−").replace(",", "\u202f")
    if isinstance(value, float):
        text = f"{value:.6g}" if digits is None or abs(value) >= 1e6 else f"{value:.{digits}f}"
        return text.replace("-", "−")
    return str(value)


def duration(seconds: float) -> str:
    """A time in the units that people use for it."""
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def rate(number: float, seconds: float) -> str:
    """So many a second, to three digits."""
    value = float(f"{number / seconds:.3g}")
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 100.0 else f"{value:g}"
