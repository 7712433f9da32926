"""Labels far outside of the ordinary count in proportion.

An error of 0.1 eV/A matters where forces are 5 eV/A, and not where two atoms are on top of each other and it is 500. A
sum of squares would see little else than the latter. So there is a limit for each property, above all that molecular
dynamics and relaxations see, beyond which the error that counts alike grows as the label does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.covariant_labels import with_target_tolerances
from etn_gpu.training.data import Piece

Array = NDArray[np.float64]
#: eV/atom in excess of the reference energies, eV/A, eV/A^3 (100 GPa).
ORDINARY_ENERGY, ORDINARY_FORCE, ORDINARY_STRESS = 2.0, 15.0, 0.6


def with_tolerances(pieces: Sequence[Piece], references: Array) -> list[Piece]:
    """The pieces with the tolerances of their labels; ``references`` [n_species] are energies of atoms in eV.

    That of an atom is its force over ``ORDINARY_FORCE``; that of a structure, for its energy and its stress, is the
    largest of those of its atoms, of its energy in excess of the references over ``ORDINARY_ENERGY`` and of its stress
    over ``ORDINARY_STRESS``. None is below 1, and what has no label asks for none.
    """
    return [_tolerant(piece, references) for piece in pieces]


def _tolerant(piece: Piece, references: Array) -> Piece:
    if piece.target is not None:
        return with_target_tolerances(piece)
    energies = piece.excess_energies(references) / ORDINARY_ENERGY
    atoms = _size(np.linalg.norm(piece.forces, axis=1) / ORDINARY_FORCE)
    structures = np.maximum.reduceat(atoms, piece.batch.atom_offsets[:-1])
    for label in (energies, np.nan_to_num(piece.stress).T / ORDINARY_STRESS):
        structures = np.maximum(structures, _size(np.atleast_2d(label)).max(axis=0))
    return replace(piece, atom_tolerance=atoms, structure_tolerance=structures)


def _size(labels: Array) -> Array:
    """Absolute values, at least 1 and 1 where there is no label."""
    return np.maximum(np.abs(np.nan_to_num(labels)), 1.0)
