"""Units that a file states for a dipole or a quantity of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.errors import DataError
from etn_gpu.structures.label_units import unit_statements
from etn_gpu.structures.targets import DIPOLE_UNIT, Target

if TYPE_CHECKING:
    from ase import Atoms

_KNOWN = "known are e*A, e*bohr (au), debye and C*m"
_ATOMIC_UNITS = ("au", "atomic", "atomicunits")


def target_unit(target: Target, key: str, atoms: Atoms) -> tuple[str, float] | None:
    """The unit that a structure states for the target under ``key``, and the factor to the unit used here.

    ``dipole_unit`` or ``KEY_unit`` states it, and so does ``units`` where it says atomic units; None where nothing
    does. Dipoles are to be converted to e*A, quantities of atoms stay as they are.

    Raises:
        DataError: a unit of dipoles that is not known.
    """
    plain = key.lower().replace("-", "_")
    for statement in unit_statements(k for k in atoms.info if isinstance(k, str)):
        value = atoms.info[statement.key]
        if isinstance(value, bool | np.bool_) or not plain.startswith(statement.prefix):
            continue
        text = str(value).strip()
        if statement.quantity in (target.name.lower(), plain, plain.removeprefix(statement.prefix)):
            if target.per_atom:
                return text, 1.0
            if (size := _dipole(text)) is None:
                raise DataError(f"{statement.key}={text} is no unit of a dipole that is known here: {_KNOWN}.")
            return text, size
        if not statement.quantity and not target.per_atom and _bare(text) in _ATOMIC_UNITS:
            return text, _dipole("au") or 1.0
    return None


def _bare(text: str) -> str:
    return "".join(character for character in text.lower() if character not in " .*_-/")


def _dipole(text: str) -> float | None:
    """What a unit of dipoles is in e*A."""
    from ase import units

    named = {
        (_bare(DIPOLE_UNIT), "eang", "eangstrom", "e\N{LATIN SMALL LETTER A WITH RING ABOVE}"): 1.0,
        ("ebohr", "ea0", *_ATOMIC_UNITS): units.Bohr,
        ("d", "debye", "debyes"): units.Debye,
        ("cm", "coulombmeter"): units.C * units.m,
    }
    return next((float(size) for names, size in named.items() if _bare(text) in names), None)
