"""Training data: pieces of a labelled set with their neighbour lists; the geometry never changes while training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import LabelledSet, StructureBatch

Array = NDArray[np.float64]
PIECE_ATOMS = 4000


@dataclass(frozen=True)
class Piece:
    """A batch with labels, nan where missing: energy [S] in eV, forces [N, 3] in eV/A, stress [S, 6] in eV/A^3."""

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
    """Pieces of about ``piece_atoms`` atoms from the structures ``indices``, in that order.

    Raises:
        StructureError: a structure that cannot be evaluated, named by its place in the file.
    """
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
    batch = StructureBatch.build(structures, species, cutoff, on_error="collect")
    for place, error in batch.failures.items():
        raise StructureError(f"{labels.source}, structure {indices[place]} (counted from 0): {error}")
    rows = []
    for i in indices:
        forces = labels.forces[i]
        rows.append(np.full((len(labels.atoms[i]), 3), np.nan) if forces is None else forces)
    stress = np.where(np.isfinite(batch.volumes)[:, None], labels.stress[indices], np.nan)
    return Piece(batch, labels.energy[indices].copy(), np.concatenate(rows), stress)


def checksum(pieces: Iterable[Piece]) -> str:
    """Structures, labels and their order in a few characters: equal for equal data only."""
    digest = hashlib.sha256()
    for piece in pieces:
        batch = piece.batch
        arrays = (batch.atom_offsets, batch.species_index, batch.positions, batch.cells, batch.pbc)
        for array in (*arrays, piece.energy, piece.forces, piece.stress):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def species_of(labels: LabelledSet, indices: Iterable[int]) -> tuple[str, ...]:
    """Chemical symbols in the structures ``indices``, by atomic number."""
    from ase.data import chemical_symbols

    return tuple(chemical_symbols[z] for z in sorted(_elements(labels, indices)))


def labelled(labels: LabelledSet, properties: Iterable[str]) -> NDArray[np.int64]:
    """Indices of the structures with a label of at least one of ``properties`` ('energy', 'forces', 'stress')."""
    known = {
        "energy": np.isfinite(labels.energy),
        "forces": np.array([forces is not None for forces in labels.forces], dtype=bool),
        "stress": np.isfinite(labels.stress).any(axis=1),
    }
    return np.flatnonzero(np.any([known[name] for name in properties], axis=0))


def split_validation(
    labels: LabelledSet, fraction: float, seed: int, indices: Sequence[int] | NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """A random split of the structures ``indices`` into training (shuffled) and validation (sorted).

    It is stratified by config_type: about ``fraction`` of each group is held out, never all of it. Groups of a single
    structure are split as one group. A structure with an element that nothing else in training has stays in training.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str | None, list[int]] = {}
    for i in indices:
        groups.setdefault(labels.config_type[i], []).append(int(i))
    several = [members for members in groups.values() if len(members) > 1]
    singles = [members[0] for members in groups.values() if len(members) == 1]
    train: list[int] = []
    valid: list[int] = []
    for members in [*several, singles] if singles else several:
        shuffled = rng.permutation(members)
        count = int(np.floor(fraction * len(members) + rng.random())) if fraction else 0
        count = min(count, len(members) - 1)
        valid += shuffled[:count].tolist()
        train += shuffled[count:].tolist()
    known = _elements(labels, train)
    for i in sorted(valid):
        if new := _elements(labels, [i]) - known:
            valid.remove(i)
            train.append(i)
            known |= new
    return [int(i) for i in rng.permutation(train)], sorted(valid)


def _elements(labels: LabelledSet, indices: Iterable[int]) -> set[int]:
    return {int(z) for i in indices for z in np.unique(labels.atoms[i].numbers)}
