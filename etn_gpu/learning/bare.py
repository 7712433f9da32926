"""The structure itself and nothing else: what a teacher is told, and what tells two structures apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from numbers import Real
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["OF_ELEMENTS", "STATE", "bare", "distinct", "has_charge_or_spin", "structure_key"]

T = TypeVar("T")

#: Per-atom arrays of ASE that go with the element of an atom; zeros are what a structure without them has.
OF_ELEMENTS = ("initial_magmoms", "initial_charges")
#: Entries of `info` that calculators take for the total charge and the spin.
STATE = ("charge", "spin")


def bare(atoms: Atoms) -> Atoms:
    """A copy with numbers, positions, cell, periodicity, initial moments and charges, total charge and spin.

    Constraints, which would hide forces, labels of other calculations and calculators do not come along.
    """
    from ase import Atoms

    copy = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    for name in OF_ELEMENTS:
        values = atoms.arrays.get(name)
        if values is not None and np.any(values):
            copy.set_array(name, np.array(values, dtype=np.float64))
    for name in STATE:
        value = atoms.info.get(name)
        if isinstance(value, Real) and not isinstance(value, bool):
            number = float(value)
            copy.info[name] = int(number) if number.is_integer() else number
    return copy


def has_charge_or_spin(atoms: Atoms) -> bool:
    """Whether there is a total charge or a spin; 0 and 1 are both in use for none."""
    return bool(atoms.info.get("charge", 0)) or atoms.info.get("spin", 0) not in (0, 1)


def structure_key(atoms: Atoms) -> str:
    """64 hexadecimal digits that are the same for two structures if :func:`bare` gives the same, bit for bit.

    A negative zero counts as zero.
    """
    structure = bare(atoms)
    digest = hashlib.sha256()
    for name in ("numbers", "positions", *OF_ELEMENTS):
        if name in structure.arrays:
            values = structure.arrays[name]
            digest.update(f"{name}{values.shape}".encode())
            digest.update((np.asarray(values, dtype="<f8") + 0.0).tobytes())
    digest.update((np.asarray(structure.cell.array, dtype="<f8") + 0.0).tobytes())
    digest.update(np.asarray(structure.pbc, dtype=np.uint8).tobytes())
    digest.update(
        "".join(f"{name}={float(structure.info[name])!r}" for name in STATE if name in structure.info).encode()
    )
    return digest.hexdigest()


def distinct(items: Iterable[T], atoms_of: Callable[[T], Atoms]) -> list[T]:
    """The items without those whose structure an earlier one has."""
    found: dict[str, T] = {}
    for item in items:
        found.setdefault(structure_key(atoms_of(item)), item)
    return list(found.values())
