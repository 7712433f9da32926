"""Labels of a target in a piece of data, and what follows from their sizes: tolerances, the weight, where a run begins.

The error of a dipole, which is a sum over atoms, counts per atom, as that of an energy does: its tolerance is the
number of atoms of its structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.potential import assembly
from etn_gpu.structures import LabelledSet, StructureBatch

if TYPE_CHECKING:
    from etn_gpu.training.data import Piece

Array = NDArray[np.float64]
#: An error of this share of the root mean square of the labels counts as one of 0.1 eV/A of a force does. Held-out
#: errors with 0.005, 0.02 and 0.1: dipoles of a smooth rule, 60 molecules, 0.0030, 0.0024 and 0.0051 e*A; forces of
#: ethanol as vectors of atoms, 100 structures, 0.114, 0.109 and 0.112 eV/A.
SIGMA_SHARE = 0.02
#: No label is larger, whatever its unit.
LARGEST_VALUE = 1e9


@dataclass(frozen=True)
class TargetValues:
    """Labels ``values`` in the order of the harmonics, [S, 2l+1] of structures or, ``per_atom``, [N, 2l+1] of atoms.

    Rows are nan where a label is missing.
    """

    values: Array
    per_atom: bool

    def predicted(self, atomic: Array, batch: StructureBatch) -> Array:
        """What the outputs of the atoms [N, 2l+1] make of the quantity, in the shape of the values."""
        return atomic if self.per_atom else assembly.segment_sum(atomic, batch.atom_offsets)

    def on_atoms(self, values: Array, batch: StructureBatch) -> Array:
        """The adjoint of :meth:`predicted`: [N, 2l+1]."""
        return values if self.per_atom else np.repeat(values, np.diff(batch.atom_offsets), axis=0)

    def tolerances(self, piece: Piece) -> Array:
        """Of each row."""
        atoms, structures = piece.tolerances
        return atoms if self.per_atom else structures


def target_values(labels: LabelledSet, indices: Sequence[int]) -> TargetValues | None:
    """The labels of some structures, None where energies are trained on.

    Raises:
        DataError: a label that no calculation gives.
    """
    if labels.target is None:
        return None
    quantity = labels.target.quantity
    rows = []
    for index in indices:
        value = labels.target.values[index]
        size = len(labels.atoms[index]) if quantity.per_atom else 1
        if value is None:
            rows.append(np.full((size, 3 if quantity.is_vector else 1), np.nan))
            continue
        rows.append(quantity.inside(value if quantity.per_atom else value[None]))
        if (largest := float(np.nanmax(np.abs(value)))) > LARGEST_VALUE:
            raise DataError(
                f"{labels.where(index)}: a label is {largest:g} ({quantity}), expected at most {LARGEST_VALUE:g}. "
                "Remove the label, or correct its unit."
            )
    return TargetValues(np.concatenate(rows), quantity.per_atom)


def with_target_tolerances(piece: Piece) -> Piece:
    """The piece with the tolerances of its labels of a target: the number of atoms where it is a sum over them."""
    assert piece.target is not None
    return piece if piece.target.per_atom else replace(piece, structure_tolerance=piece.atoms_per_structure)


def mean_values(pieces: Sequence[Piece], n_species: int) -> Array:
    """Mean label [n_species] of the atoms of each species, where it is a number; of a species without that of all.

    Vectors and dipoles have none: zeros.
    """
    sums, counts = np.zeros(n_species), np.zeros(n_species)
    for piece in pieces:
        target = piece.target
        if target is None or not target.per_atom or target.values.shape[1] != 1:
            return np.zeros(n_species)
        known = np.isfinite(target.values[:, 0])
        species = piece.batch.species_index[known]
        sums += np.bincount(species, target.values[known, 0], n_species)
        counts += np.bincount(species, minlength=n_species)
    found: Array = np.where(counts > 0, sums / np.maximum(counts, 1), sums.sum() / max(counts.sum(), 1.0))
    return found


def mean_square(pieces: Sequence[Piece], means: Array) -> float:
    """Mean square of the components of the labels, over their tolerances and beyond the ``means`` [n_species]."""
    squares = [np.empty(0)]
    for piece in pieces:
        target = piece.target
        assert target is not None
        values = target.values / target.tolerances(piece)[:, None]
        if target.per_atom and target.values.shape[1] == 1:
            values = values - means[piece.batch.species_index, None]
        squares.append(values[np.isfinite(values)] ** 2)
    joined = np.concatenate(squares)
    return float(joined.mean()) if joined.size else 0.0


def target_weight(pieces: Sequence[Piece], n_species: int) -> float:
    """1/sigma^2 of a component with a tolerance of 1; labels that are all alike are as good as exact."""
    square = mean_square(pieces, mean_values(pieces, n_species))
    return 1.0 / (SIGMA_SHARE**2 * square) if square > 0 else 1.0
