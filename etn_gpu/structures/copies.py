"""Copies of structures in a set: found by their geometry, whatever their labels, and compared by their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.structures.labels import LabelledSet

#: Structures whose coordinates agree to so many decimals, in A, are copies: files are written with few digits.
SAME_DECIMALS = 4
#: From this share of copies on they are named.
_SHARE = 0.1
#: Labels of copies that differ by more are not the same: energy per atom (eV), forces (eV/A), stress (eV/A^3).
_ENERGY, _FORCE, _STRESS = 1e-3, 0.05, 0.005
_SHOWN = 3


def fingerprint(atoms: Atoms) -> bytes:
    """The same for copies of a structure, whatever their labels: elements, positions, cell and periodicity."""
    lengths = np.concatenate((atoms.cell.array, atoms.positions))
    digest = hashlib.sha256(np.asarray(atoms.pbc, dtype=bool).tobytes())
    digest.update(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    digest.update((np.round(lengths, SAME_DECIMALS) + 0.0).tobytes())  # + 0.0: no minus zero
    return digest.digest()


def copies_among(labels: LabelledSet, indices: Iterable[int]) -> list[list[int]]:
    """The structures ``indices``, each with its copies."""
    found: dict[bytes, list[int]] = {}
    for i in indices:
        found.setdefault(fingerprint(labels.atoms[i]), []).append(int(i))
    return list(found.values())


def copy_warnings(labels: LabelledSet) -> list[str]:
    """Many copies, and copies whose labels contradict each other."""
    groups = copies_among(labels, (i for i, atoms in enumerate(labels.atoms) if len(atoms)))
    several = [group for group in groups if len(group) > 1]
    extra = sum(len(group) - 1 for group in several)
    found = []
    if extra and extra >= _SHARE * len(labels):
        first, second = several[0][:2]
        found.append(
            f"{extra} of {len(labels)} structures are copies of others (structure {second} of {first}, counted from "
            "0): they count several times; remove them unless that is meant."
        )
    different = [(group[0], i) for group in several for i in group[1:] if _differ(labels, group[0], i)]
    if different:
        pairs = ", ".join(f"{i} and {j}" for i, j in different[:_SHOWN])
        more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
        found.append(
            f"{len(different)} copies have other labels than their first (structures {pairs}{more}, counted from 0): "
            "are they of different calculations? Keep one kind."
        )
    return found


def _differ(labels: LabelledSet, first: int, second: int) -> bool:
    n = len(labels.atoms[first])
    forces = labels.forces[first], labels.forces[second]
    return bool(
        abs(labels.energy[first] - labels.energy[second]) > _ENERGY * n
        or (forces[0] is not None and forces[1] is not None and np.abs(forces[0] - forces[1]).max() > _FORCE)
        or (np.abs(labels.stress[first] - labels.stress[second]) > _STRESS).any()
    )
