"""Enthalpies H = E + p V per atom, which runs under a pressure p compare where others compare energies: V is the volume
of a structure that is periodic in all three directions, and others have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from etn_gpu.screening.columns import Kind, ResultColumn

__all__ = ["ABOVE_HULL", "COLUMNS", "FORMATION", "INSTEAD", "PER_ATOM", "without_empty"]

Value = TypeVar("Value")

PER_ATOM, FORMATION, ABOVE_HULL = "enthalpy_per_atom", "formation_enthalpy", "enthalpy_above_hull"
#: The columns of a run under pressure, in order.
COLUMNS = tuple(ResultColumn(name, Kind.number, "eV/atom") for name in (PER_ATOM, FORMATION, ABOVE_HULL))
#: What is compared under pressure, by the column that is empty then.
INSTEAD = {"formation_energy": FORMATION, "energy_above_hull": ABOVE_HULL}


def without_empty(columns: Mapping[str, Value]) -> dict[str, Value]:
    """The columns of a run under pressure without those that are empty there."""
    return {name: value for name, value in columns.items() if name not in INSTEAD}
