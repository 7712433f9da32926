"""Training data: pieces of a labelled set with their neighbour lists, cut once; the geometry never changes while training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import LabelledSet, StructureBatch

Array = NDArray[np.float64]
PIECE_ATOMS = 4000


@dataclass(frozen=True)
class Piece:
    """A batch with labels: energy [S] in eV and stress [S, 6] in eV/A^3 (nan where missing), forces [N, 3] in eV/A (nan where missing)."""

    batch: StructureBatch
    energy: Array
    forces: Array
    stress: Array

    @cached_property
    def environments(self) -> Environments:
        """The environments of all atoms."""
        return Environments.of(self.batch)

    @property
    def atoms_per_structure(self) -> Array:
        """Number of atoms of each structure [S]."""
        return np.diff(self.batch.atom_offsets).astype(np.float64)


def cut_pieces(
    labels: LabelledSet, indices: Sequence[int], species: tuple[str, ...], cutoff: float, piece_atoms: int = PIECE_ATOMS
) -> list[Piece]:
    """Pieces of about ``piece_atoms`` atoms from the structures ``indices``, in that order."""
    pieces: list[Piece] = []
    chosen: list[int] = []
    atoms = 0
    for index in indices:
        chosen.append(index)
        atoms += len(labels.atoms[index])
        if atoms >= piece_atoms:
            pieces.append(_piece(labels, chosen, species, cutoff))
            chosen, atoms = [], 0
    if chosen:
        pieces.append(_piece(labels, chosen, species, cutoff))
    return pieces


def _piece(labels: LabelledSet, indices: list[int], species: tuple[str, ...], cutoff: float) -> Piece:
    structures = [labels.atoms[i] for i in indices]
    batch = StructureBatch.build(structures, species, cutoff)
    rows = []
    for i in indices:
        forces = labels.forces[i]
        rows.append(np.full((len(labels.atoms[i]), 3), np.nan) if forces is None else forces)
    stress = np.where(np.isfinite(batch.volumes)[:, None], labels.stress[indices], np.nan)
    return Piece(batch, labels.energy[indices].copy(), np.concatenate(rows), stress)


def species_of(labels: LabelledSet) -> tuple[str, ...]:
    """Chemical symbols in the set, by atomic number."""
    from ase.data import atomic_numbers

    symbols = {s for atoms in labels.atoms for s in atoms.get_chemical_symbols()}
    return tuple(sorted(symbols, key=lambda s: atomic_numbers[s]))


def split_validation(labels: LabelledSet, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Random indices for training and validation, stratified by config_type so that each group is represented in both."""
    if not 0 <= fraction < 1:
        raise TrainingError(f"the validation fraction must be in [0, 1), got {fraction}")
    rng = np.random.default_rng(seed)
    groups: dict[str | None, list[int]] = {}
    for i, group in enumerate(labels.config_type):
        groups.setdefault(group, []).append(i)
    train: list[int] = []
    valid: list[int] = []
    for members in groups.values():
        shuffled = rng.permutation(members)
        count = int(np.floor(fraction * len(members) + rng.random())) if fraction else 0
        count = min(count, len(members) - 1)
        valid += shuffled[:count].tolist()
        train += shuffled[count:].tolist()
    if not train:
        raise TrainingError("no structure is left to train on")
    return [int(i) for i in rng.permutation(train)], sorted(valid)
