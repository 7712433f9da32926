"""Batches of structures bounded by atoms and by the expected number of neighbour pairs, so that memory is bounded
too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["BatchLimits", "Candidate", "batches", "expected_edges", "number_density"]

_TYPICAL_NEIGHBOURS = 80  # of a dense metal within 5.3 A


@dataclass(frozen=True)
class BatchLimits:
    """What one batch may hold at most; a single structure that is larger makes a batch of its own.

    Attributes:
        atoms: largest number of atoms.
        edges: largest expected number of neighbour pairs, counted in both directions.
    """

    atoms: int = 4096
    edges: int = 4096 * _TYPICAL_NEIGHBOURS

    @classmethod
    def for_atoms(cls, atoms: int) -> BatchLimits:
        """Limits for batches of `atoms` atoms with the neighbours of a dense metal."""
        return cls(atoms=atoms, edges=atoms * _TYPICAL_NEIGHBOURS)


@dataclass(frozen=True)
class Candidate:
    """One structure on its way to a row: `atoms` as read, or None with the reason in `error`.

    `untried` is how many structures behind it could not be tried: 0 nearly always, None if nobody knows.
    """

    source: str
    index: int | None
    atoms: Atoms | None
    error: str = ""
    untried: int | None = 0


def number_density(atoms: Atoms) -> float:
    """Atoms per volume [1/A^3] of the space that the atoms fill; NaN or infinite where cell or positions make no sense.

    The volume is that spanned by the periodic cell vectors times the extent of the atoms along the other directions,
    which is taken to be at least 2 A.
    """
    periodic = np.asarray(atoms.cell)[np.asarray(atoms.pbc)]
    if not (np.isfinite(periodic).all() and np.isfinite(atoms.positions).all()) or not len(atoms):
        return math.nan
    _, lengths, directions = np.linalg.svd(periodic, full_matrices=True)
    extents = np.ptp(atoms.positions @ directions[len(periodic) :].T, axis=0)
    volume = float(np.prod(lengths) * np.prod(np.maximum(extents, 2.0)))
    return len(atoms) / volume if volume > 0.0 else math.inf


def expected_edges(atoms: Atoms, cutoff: float) -> float:
    """Number of neighbour pairs within `cutoff` [A], in both directions, that `atoms` may be expected to have.

    It follows from the density, which vacuum in the cell dilutes; so it is at least that of a dense metal.
    """
    neighbours = number_density(atoms) * 4.0 / 3.0 * math.pi * cutoff**3
    if not math.isfinite(neighbours):
        return 0.0  # such a structure is refused before it has any neighbours
    neighbours = max(neighbours, _TYPICAL_NEIGHBOURS)
    if not np.asarray(atoms.pbc).any():
        neighbours = min(neighbours, len(atoms) - 1.0)
    return len(atoms) * neighbours


def batches(candidates: Iterable[Candidate], cutoff: float, limits: BatchLimits) -> Iterator[list[Candidate]]:
    """Groups consecutive candidates, in order; those without atoms count as one atom, so that they cannot pile up."""
    batch: list[Candidate] = []
    n_atoms, n_edges = 0, 0.0
    for candidate in candidates:
        size = 1 if candidate.atoms is None else max(1, len(candidate.atoms))
        edges = 0.0 if candidate.atoms is None else expected_edges(candidate.atoms, cutoff)
        if batch and (n_atoms + size > limits.atoms or n_edges + edges > limits.edges):
            yield batch
            batch, n_atoms, n_edges = [], 0, 0.0
        batch.append(candidate)
        n_atoms, n_edges = n_atoms + size, n_edges + edges
    if batch:
        yield batch
