"""What a backend must know about a batch beside the inputs of the Program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import BackendError

T = TypeVar("T")


@dataclass(frozen=True)
class Geometry:
    """Edges grouped by centre atom, and species.

    ``edge_offsets`` [N+1]: the edges of atom i are ``edge_offsets[i] .. edge_offsets[i+1]-1``, sorted by the species
    of the neighbour; ``species`` [N] and ``edge_species`` [E]: species index of each atom and of each edge's
    neighbour. Programs with gathers also need ``neighbour`` [E], the atom that an edge leads to, and ``reverse`` [E],
    the edge back.
    """

    edge_offsets: NDArray[np.int64]
    species: NDArray[np.int32]
    edge_species: NDArray[np.int32]
    neighbour: NDArray[np.int64] | None = None
    reverse: NDArray[np.int64] | None = None
    #: The largest index of a species of atoms and neighbours, 0 where there are none.
    last_species: int = field(default=0, init=False)

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.species)

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return len(self.edge_species)

    def count(self, space: str) -> int:
        """Columns of a value in 'edge' or 'atom' space."""
        return self.n_edges if space == "edge" else self.n_atoms

    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``neighbour`` and ``reverse``.

        Raises:
            BackendError: they were not given.
        """
        return both_given(self.neighbour, self.reverse)

    def part(self, first: int, last: int) -> Geometry:
        """That of the atoms first .. last-1, whose neighbours are all among them where neighbours are known."""
        start, stop = self.edge_offsets[first], self.edge_offsets[last]
        return Geometry(
            self.edge_offsets[first : last + 1] - start,
            self.species[first:last],
            self.edge_species[start:stop],
            None if self.neighbour is None else self.neighbour[start:stop] - first,
            None if self.reverse is None else self.reverse[start:stop] - start,
        )

    def __post_init__(self) -> None:
        offsets = self.edge_offsets
        if len(offsets) != self.n_atoms + 1 or offsets[0] != 0 or offsets[-1] != self.n_edges:
            raise BackendError(
                f"edge_offsets has {len(offsets)} entries from {offsets[:1]} to {offsets[-1:]}, expected "
                f"{self.n_atoms + 1} (one more than atoms) from 0 to {self.n_edges} (the number of edges)"
            )
        from etn_gpu.backend.cpu.indices import survey

        decreasing, least, last, *fit = survey(offsets, self.species, self.edge_species, self.neighbour, self.reverse)
        if decreasing:
            raise BackendError(f"edge_offsets must not decrease, got {offsets}")
        if least < 0:
            raise BackendError("species are indices >= 0, got a negative one")
        for name, fits, count in zip(("neighbour", "reverse"), fit, (self.n_atoms, self.n_edges), strict=True):
            if not fits:
                given = getattr(self, name)
                raise BackendError(
                    f"{name} must have an index from 0 to {count - 1} for each of {self.n_edges} edges, got "
                    f"{len(given)} from {given.min(initial=0)} to {given.max(initial=0)}"
                )
        object.__setattr__(self, "last_species", last)


def both_given(neighbour: T | None, reverse: T | None, where: str = "") -> tuple[T, T]:
    """The neighbours of a geometry and the edges back; ``where`` it lies, if that is not the host.

    Raises:
        BackendError: one of them was not given.
    """
    if neighbour is None or reverse is None:
        raise BackendError(
            f"the Program gathers values of neighbours: its geometry{where} must have the atoms that edges lead to and "
            "the edges back (neighbour and reverse)"
        )
    return neighbour, reverse


def nearest_neighbours(
    geometry: Geometry, n_species: int, x: NDArray[np.floating], w: NDArray[np.floating]
) -> NDArray[np.float64]:
    """See :class:`~etn_gpu.plan.operations.Nearest`; x [E, 3] and w -> [E]."""
    marks = np.zeros(geometry.n_edges)
    pairs = pairs_of_edges(geometry, n_species)
    r = np.sqrt(x[:, 0] ** 2 + x[:, 1] ** 2 + x[:, 2] ** 2)
    distance = np.where(r < w[n_species**2 + pairs], r - w[pairs], np.inf)
    counts = np.diff(geometry.edge_offsets)
    starts = geometry.edge_offsets[:-1][counts > 0]
    least = np.repeat(np.minimum.reduceat(distance, starts), counts[counts > 0]) if len(starts) else distance
    marks[(distance == least) & np.isfinite(distance)] = 1.0
    shared = np.repeat(np.add.reduceat(marks, starts), counts[counts > 0]) if len(starts) else marks
    return marks / np.maximum(shared, 1.0)


def pairs_of_edges(geometry: Geometry, n_species: int) -> NDArray[np.int64]:
    """t_i n_species + t_j of each edge, with the species of its centre and of its neighbour."""
    centres = np.repeat(geometry.species.astype(np.int64), np.diff(geometry.edge_offsets))
    return centres * n_species + geometry.edge_species
