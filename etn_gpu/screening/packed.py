"""Structures as short text: a field of the rows of a run that is not over yet."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["packed", "periodic", "unpacked"]

_HEAD = 1


def packed(atoms: Atoms) -> str:
    """A structure with coordinates in single precision, which is 1e-6 A; it needs no quotes in CSV."""
    numbers = atoms.numbers.astype("<u1").tobytes()
    lengths = np.concatenate((atoms.cell.array, atoms.positions)).astype("<f4").tobytes()
    bits = sum(1 << axis for axis in range(3) if atoms.pbc[axis])
    return base64.b64encode(bytes([bits]) + lengths + numbers).decode()


def periodic(text: str) -> int:
    """Which directions are periodic, one bit each."""
    return base64.b64decode(text[:4])[0]


def unpacked(text: str) -> Atoms:
    """The structure of such a text."""
    from ase import Atoms

    content = base64.b64decode(text)
    n_atoms = (len(content) - _HEAD - 36) // 13
    lengths = np.frombuffer(content, "<f4", 9 + 3 * n_atoms, _HEAD).astype(np.float64).reshape(-1, 3)
    numbers = np.frombuffer(content, "<u1", n_atoms, len(content) - n_atoms)
    pbc = [bool(content[0] >> axis & 1) for axis in range(3)]
    return Atoms(numbers=numbers, positions=lengths[3:], cell=lengths[:3], pbc=pbc)
