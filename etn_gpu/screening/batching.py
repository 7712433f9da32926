"""Batches of structures bounded by atoms and by the expected number of neighbour pairs, so that memory is bounded
too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.geometry import StructureArrays

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["BatchLimits", "Candidate", "batches", "expected_edges", "groups", "number_densities", "parts"]

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


@dataclass(slots=True)
class Candidate:
    """One structure on its way to a row: `atoms` as read, or None with the reason in `error`.

    `untried` is how many structures behind it could not be tried: 0 nearly always, None if nobody knows. `lost` is how
    many atoms one without `atoms` was to have, as far as that is known.
    """

    source: str
    index: int | None
    atoms: Atoms | None
    error: str = ""
    untried: int | None = 0
    lost: int = 1

    @property
    def size(self) -> int:
        """Atoms for which it counts in a batch: one at least, so that nothing can pile up."""
        return max(1, self.lost if self.atoms is None else len(self.atoms.arrays["numbers"]))


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


Member = TypeVar("Member", bound=_Sized)


def number_densities(structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """Atoms per volume [S] in 1/A^3 of the space that the atoms of each structure fill.

    NaN or infinite where cell or positions make no sense. The volume is that spanned by the periodic cell vectors times
    the extent of the atoms along the other directions, which is taken to be at least 2 A.
    """
    arrays = StructureArrays.gather(structures)
    sizes, axes = np.diff(arrays.atom_offsets), arrays.pbc.sum(axis=1)
    sound = (np.isfinite(arrays.cells) | ~arrays.pbc[:, :, None]).all(axis=(1, 2)) & (sizes > 0)
    wild = ~np.isfinite(arrays.positions).all(axis=1)
    sound[arrays.structure_of_atom[wild]] = False
    densities = np.full(len(structures), np.nan)
    for n_axes in np.unique(axes[sound]):
        chosen = sound & (axes == n_axes)
        some = arrays.select(chosen)
        if n_axes == 3:
            volumes = np.abs(np.linalg.det(some.cells))
        else:
            periodic = some.cells[some.pbc].reshape(some.n_structures, n_axes, 3)
            _, lengths, directions = np.linalg.svd(periodic, full_matrices=True)
            normals = directions[:, n_axes:][some.structure_of_atom]
            places, first = np.einsum("nkx,nx->nk", normals, some.positions), some.atom_offsets[:-1]
            extents = np.maximum.reduceat(places, first) - np.minimum.reduceat(places, first)
            volumes = lengths.prod(axis=1) * np.maximum(extents, 2.0).prod(axis=1)
        with np.errstate(divide="ignore"):
            densities[chosen] = sizes[chosen] / volumes
    return densities


def expected_edges(structures: Sequence[Atoms], cutoff: float) -> NDArray[np.float64]:
    """Numbers [S] of neighbour pairs within `cutoff` [A], in both directions, that structures may be expected to have.

    They follow from the densities, which vacuum in the cell dilutes; so they are at least that of a dense metal.
    """
    neighbours = number_densities(structures) * 4.0 / 3.0 * math.pi * cutoff**3
    sizes = np.array([len(atoms) for atoms in structures])
    isolated = np.array([not atoms.pbc.any() for atoms in structures], dtype=bool)
    most = np.maximum(neighbours, _TYPICAL_NEIGHBOURS)
    edges = sizes * np.where(isolated, np.minimum(most, sizes - 1.0), most)
    # A structure without a density is refused before it has any neighbours.
    return np.where(np.isfinite(neighbours), edges, 0.0)


def groups(members: Iterable[Member], most: int) -> Iterator[list[Member]]:
    """Consecutive members, in order, of at most so many atoms together, or one that has more.

    Where one begins does not depend on what was before. An exception of the iterable is raised after the group of the
    members before it.
    """
    group: list[Member] = []
    n_atoms = 0
    stream = iter(members)
    while True:
        try:
            member = next(stream, None)
        except Exception:
            if group:
                yield group
            raise
        if group and (member is None or n_atoms + member.size > most):
            yield group
            group, n_atoms = [], 0
        if member is None:
            return
        group.append(member)
        n_atoms += member.size


def parts(group: list[Candidate], cutoff: float, most: float) -> Iterator[list[Candidate]]:
    """The candidates of a group, in order and in parts that may be expected to have so many edges at most."""
    while group:
        count = _fitting(group, cutoff, most)
        yield group[:count]
        group = group[count:]


def batches(candidates: Iterable[Candidate], cutoff: float, limits: BatchLimits) -> Iterator[list[Candidate]]:
    """Consecutive candidates, in order, within the limits.

    An exception of the iterable is raised after the batches of the candidates before it.
    """
    for group in groups(candidates, limits.atoms):
        yield from parts(group, cutoff, limits.edges)


def _fitting(candidates: Sequence[Candidate], cutoff: float, most: float) -> int:
    """How many of the first candidates may have so many edges; 1 at least."""
    places = [k for k, candidate in enumerate(candidates) if candidate.atoms is not None]
    edges = np.zeros(len(candidates))
    edges[places] = expected_edges([atoms for c in candidates if (atoms := c.atoms) is not None], cutoff)
    return max(1, int(np.searchsorted(np.cumsum(edges), most, side="right")))
