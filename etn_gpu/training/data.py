"""Training data: pieces of a labelled set with their neighbour lists; the geometry never changes while training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError, StructureError
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import LabelledSet, StructureBatch
from etn_gpu.structures.copies import copies_among
from etn_gpu.structures.labels import PROPERTIES
from etn_gpu.training.covariant_labels import TargetValues, target_values

Array = NDArray[np.float64]
PIECE_ATOMS = 4000
#: No energy per atom (eV), force (eV/A) or stress (eV/A^3) is larger: it is the mark of a calculation that failed.
LARGEST_LABEL = 1e7
#: What structures are said to have that carry labels of a target.
TARGET = "target"


@dataclass(frozen=True)
class Piece:
    """A batch with labels, nan where missing: energy [S] in eV, forces [N, 3] in eV/A, stress [S, 6] in eV/A^3.

    An error counts after division by the tolerance, [N] of the atom for a force and [S] of the structure for its energy
    and stress: see :mod:`etn_gpu.training.tolerance`. None stands for 1. ``groups`` [S] are names, None without one.
    Where a ``target`` is trained on instead, all of the other labels are nan.
    """

    batch: StructureBatch
    energy: Array
    forces: Array
    stress: Array
    atom_tolerance: Array | None = None
    structure_tolerance: Array | None = None
    groups: tuple[str | None, ...] = field(default=(), kw_only=True)
    target: TargetValues | None = field(default=None, kw_only=True)

    @cached_property
    def environments(self) -> Environments:
        """The environments of all atoms."""
        return Environments.of(self.batch)

    def excess_energies(self, references: Array) -> Array:
        """Energies per atom [S] in eV beyond the ``references`` [n_species] of the atoms; nan without a label."""
        total = np.add.reduceat(references[self.batch.species_index], self.batch.atom_offsets[:-1])
        return (self.energy - total) / self.atoms_per_structure

    @property
    def tolerances(self) -> tuple[Array, Array]:
        """Of the atoms [N] and of the structures [S]."""
        atoms, structures = self.atom_tolerance, self.structure_tolerance
        return (
            np.ones(self.batch.n_atoms) if atoms is None else atoms,
            np.ones(self.batch.n_structures) if structures is None else structures,
        )

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
        DataError: a label that no calculation gives, above ``LARGEST_LABEL``.
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
        raise StructureError(f"{labels.where(indices[place])}: {error}")
    rows = []
    for i in indices:
        forces = labels.forces[i]
        rows.append(np.full((len(labels.atoms[i]), 3), np.nan) if forces is None else forces)
    stress = np.where(np.isfinite(batch.volumes)[:, None], labels.stress[indices], np.nan)
    for i in indices:
        _check_labels(labels, i)
    groups = tuple(labels.config_type[i] for i in indices)
    target = target_values(labels, indices)
    return Piece(batch, labels.energy[indices].copy(), np.concatenate(rows), stress, groups=groups, target=target)


def _check_labels(labels: LabelledSet, index: int) -> None:
    energy, forces = labels.energy[index] / len(labels.atoms[index]), labels.forces[index]
    given = {"energy per atom in eV": energy, "force in eV/A": forces, "stress in eV/A^3": labels.stress[index]}
    for name, values in given.items():
        if values is not None and (wild := np.abs(values) > LARGEST_LABEL).any():
            raise DataError(
                f"{labels.where(index)}: a label is {np.extract(wild, values)[0]:g} ({name}), expected at most "
                f"{LARGEST_LABEL:g}. Remove the label, or correct its unit."
            )


def checksum(pieces: Iterable[Piece], *, grouped: bool = False) -> str:
    """Structures, labels and their order in a few characters, groups included if wanted: equal for equal data only."""
    digest = hashlib.sha256()
    for piece in pieces:
        batch = piece.batch
        arrays = (batch.atom_offsets, batch.species_index, batch.positions, batch.cells, batch.pbc)
        target = () if piece.target is None else (piece.target.values,)
        for array in (*arrays, piece.energy, piece.forces, piece.stress, *target):
            digest.update(array.tobytes())
        if grouped:
            digest.update(repr(piece.groups).encode())
    return digest.hexdigest()[:16]


def species_of(labels: LabelledSet, indices: Iterable[int]) -> tuple[str, ...]:
    """Chemical symbols in the structures ``indices``, by atomic number."""
    from ase.data import chemical_symbols

    return tuple(chemical_symbols[z] for z in sorted(_elements(labels, indices)))


def labelled(labels: LabelledSet, properties: Iterable[str]) -> NDArray[np.int64]:
    """Indices of the structures with a label of at least one of ``properties``: those of energies, or 'target'."""
    wanted = set(properties)
    return np.array([i for i in range(len(labels)) if wanted.intersection(_properties(labels, i))], dtype=np.int64)


def split_validation(
    labels: LabelledSet, fraction: float, seed: int, indices: Sequence[int] | NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """A random split of the structures ``indices`` into training (shuffled) and validation (sorted).

    Copies of a structure count as one and stay together: a copy of what was trained on would validate nothing. The
    split is stratified by config_type and, within each, by the size of the forces, so that calm and violent structures
    are in both parts alike: about ``fraction`` of each group is held out, never all of it. Groups of a single structure
    are split as one group. A structure stays in training if it has an element, or an energy, forces or stress with an
    element, that nothing else in training has.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str | None, list[list[int]]] = {}
    for copies in copies_among(labels, indices):
        groups.setdefault(labels.config_type[copies[0]], []).append(copies)
    several = [members for members in groups.values() if len(members) > 1]
    singles = [members[0] for members in groups.values() if len(members) == 1]
    train: list[list[int]] = []
    valid: list[list[int]] = []
    for members in [*several, singles] if singles else several:
        ordered = sorted(members, key=lambda copies: _violence(labels, copies[0]))
        count = int(np.floor(fraction * len(members) + rng.random())) if fraction else 0
        count = min(count, len(members) - 1)
        strata = np.array_split(np.arange(len(members)), count) if count else []
        held = {int(rng.choice(stratum)) for stratum in strata}
        valid += [ordered[k] for k in sorted(held)]
        train += [copies for k, copies in enumerate(ordered) if k not in held]
    known = _taught(labels, chain(*train))
    for copies in sorted(valid):
        if new := _taught(labels, copies) - known:
            valid.remove(copies)
            train.append(copies)
            known |= new
    return [int(i) for i in rng.permutation([*chain(*train)])], sorted(chain(*valid))


def _violence(labels: LabelledSet, index: int) -> tuple[float, float]:
    """What structures of a group are ordered by: root mean square force in eV/A, or else energy per atom in eV.

    Where a target is trained on it is the root mean square of its values.
    """
    if labels.target is not None:
        value = labels.target.values[index]
        return 0.0 if value is None else float(np.sqrt(np.nanmean(value**2))), 0.0
    forces, energy = labels.forces[index], labels.energy[index] / len(labels.atoms[index])
    return 0.0 if forces is None else float(np.sqrt(np.mean(forces**2))), float(np.nan_to_num(energy))


def _taught(labels: LabelledSet, indices: Iterable[int]) -> set[tuple[int, str]]:
    """What the structures teach something about: pairs of an element and a property."""
    return {(z, name) for i in indices for z in _elements(labels, [i]) for name in _properties(labels, i)}


def _properties(labels: LabelledSet, index: int) -> list[str]:
    known = (
        np.isfinite(labels.energy[index]), labels.forces[index] is not None, np.isfinite(labels.stress[index]).any()
    )  # fmt: skip
    found = [name for name, there in zip(PROPERTIES, known, strict=True) if there]
    return [*found, TARGET] if labels.target is not None and labels.target.values[index] is not None else found


def _elements(labels: LabelledSet, indices: Iterable[int]) -> set[int]:
    return {int(z) for i in indices for z in np.unique(labels.atoms[i].numbers)}
