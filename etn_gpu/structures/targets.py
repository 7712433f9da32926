"""What a network can learn beside energies: a quantity of structures or of atoms that turns like one irrep.

Files, and everything that users see, have Cartesian values: numbers, or vectors x, y, z. Inside, a vector has the order
of the harmonics of l = 1: y, z, x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError

Array = NDArray[np.float64]
#: The quantity of structures, its unit, and what comes before the name of a quantity of atoms.
DIPOLE, DIPOLE_UNIT, ATOMIC = "dipole", "e*A", "atomic:"
#: Irreps by the number of Cartesian values.
IRREPS = {1: "1x0e", 3: "1x1o"}
#: From x, y, z to the order of the harmonics, and back.
_INSIDE, _OUTSIDE = [1, 2, 0], [2, 0, 1]
#: Arrays of structures that are no quantities.
_GEOMETRY = ("positions", "numbers")


@dataclass(frozen=True)
class Target:
    """What shall be learnt.

    name: 'dipole', of structures, or that of a quantity of atoms (``per_atom``); key: where files have it, None for the
    usual names of a dipole and for the array called ``name``.
    """

    name: str
    per_atom: bool = False
    key: str | None = None

    @staticmethod
    def parse(text: str, key: str | None = None) -> Target:
        """The target that 'dipole' or 'atomic:NAME' stands for.

        Raises:
            DataError: neither.
        """
        if text == DIPOLE:
            return Target(DIPOLE, key=key)
        name = text.removeprefix(ATOMIC)
        if name == text or not name or name.lower() in _GEOMETRY:
            raise DataError(
                f"{text!r} is no target: expected {DIPOLE}, or {ATOMIC}NAME with the name of an array that has a "
                "number or a vector for each atom, such as atomic:charges."
            )
        return Target(name, per_atom=True, key=key)

    def __str__(self) -> str:
        return f"{ATOMIC}{self.name}" if self.per_atom else self.name


@dataclass(frozen=True)
class Quantity:
    """What the output of a network is, where it is no energy.

    name: 'dipole', of structures, the sum over the atoms, or the name of a quantity of atoms (``per_atom``); irreps:
    how it turns, '1x0e' or '1x1o'; unit: in words, '' where it is not known.
    """

    name: str
    irreps: str
    per_atom: bool
    unit: str

    @property
    def target(self) -> Target:
        """What files are searched for."""
        return Target(self.name, self.per_atom)

    @property
    def is_vector(self) -> bool:
        """Whether it has a direction."""
        return self.irreps != IRREPS[1]

    def agrees(self, other: Quantity) -> bool:
        """Whether two are the same, as far as their units are known."""
        return replace(self, unit="") == replace(other, unit="") and (
            self.unit == other.unit or not (self.unit and other.unit)
        )

    def inside(self, values: Array) -> Array:
        """Cartesian values [n] or [n, 3] as components [n, 2l+1] in the order of the harmonics."""
        return values[:, _INSIDE] if self.is_vector else values.reshape(len(values), 1)

    def cartesian(self, components: Array) -> Array:
        """The inverse of :meth:`inside`."""
        return components[:, _OUTSIDE] if self.is_vector else components[:, 0]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: ``per_atom`` as what it is ``of``, 'atom' or 'structure'."""
        return {"name": self.name, "irreps": self.irreps, "of": self._of, "unit": self.unit}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Quantity:
        """Inverse of :meth:`to_dict`."""
        return Quantity(data["name"], data["irreps"], data["of"] == "atom", data["unit"])

    @property
    def _of(self) -> str:
        return "atom" if self.per_atom else "structure"

    def __str__(self) -> str:
        kind = "vector" if self.is_vector else "number"
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.name} (a {kind} for each {self._of}{unit})"
