"""Many structures of any size as one ragged batch with its neighbour list: what every evaluation starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.errors import StructureError
from etn_gpu.structures.admission import Admitted, admit
from etn_gpu.structures.crowded import CrowdedError
from etn_gpu.structures.geometry import cell_volumes
from etn_gpu.structures.validate import check_cutoff, overlap_failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms


@dataclass(frozen=True)
class StructureBatch:
    """S structures, N atoms and E directed edges, in flat float64 and int64 arrays (unless said otherwise).

    An edge is a pair (i, image of j) closer than the cutoff. The list is full: every pair is there in both directions,
    images of an atom with itself included. The edges of one centre are consecutive and sorted by (species of
    neighbour, neighbour, shift), so the same structure always gives the same arrays.
    """

    species: tuple[str, ...]
    cutoff: float
    #: First atom of each structure and the end [S+1].
    atom_offsets: NDArray[np.int64]
    #: Structure of each atom [N].
    structure_of_atom: NDArray[np.int64]
    #: Place of each atom's element in `species` [N], int32.
    species_index: NDArray[np.int32]
    #: Positions [N, 3] in A, as given (not wrapped into the cell).
    positions: NDArray[np.float64]
    #: Cell vectors [S, 3, 3], one a row, in A.
    cells: NDArray[np.float64]
    #: Periodic directions [S, 3], bool.
    pbc: NDArray[np.bool_]
    #: Cell volumes [S] in A^3, nan unless periodic in all three directions (stress is undefined there).
    volumes: NDArray[np.float64]
    #: First edge of each centre atom and the end [N+1].
    edge_offsets: NDArray[np.int64]
    #: Neighbour j of each edge, an index into all atoms of the batch [E].
    neighbour: NDArray[np.int64]
    #: r_j + shift . cell - r_i [E, 3] in A.
    vectors: NDArray[np.float64]
    #: Cell shift of the neighbour's image [E, 3], int32.
    shifts: NDArray[np.int32]
    #: The edge from j back to i, with the opposite vector [E].
    reverse: NDArray[np.int64]
    #: Length of the shortest edge of each structure [S] in A, inf where there is none.
    shortest: NDArray[np.float64]
    #: Indices into the input list of the structures that are in the batch [S].
    kept: NDArray[np.int64]
    #: Why the others are not, by their index in the input list.
    failures: dict[int, StructureError] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        structures: Sequence[Atoms],
        species: Sequence[str],
        cutoff: float,
        *,
        on_error: Literal["raise", "collect"] = "raise",
        most_edges: int | None = None,
    ) -> StructureBatch:
        """Validate the structures and find all neighbours closer than `cutoff` (A).

        Raises:
            StructureError: a structure that cannot be evaluated, named by its index in the list (no atoms, an element
                that is not in `species`, NaN or infinite positions or cell, periodic along linearly dependent cell
                vectors, two atoms closer than 0.001 A, far too many neighbours). With on_error="collect" such
                structures are left out and listed in `failures` instead. A bad cutoff always raises.
            CrowdedError: several structures have together more than `most_edges` edges; see
                :func:`~etn_gpu.structures.bounded.bounded_batches`.
        """
        cutoff = check_cutoff(cutoff)
        batch = cls.of_admitted(admit(structures, species, cutoff), species, cutoff, most_edges=most_edges)
        if batch.failures and on_error == "raise":
            first, failure = next(iter(batch.failures.items()))
            raise StructureError(f"structure {first} (of {len(structures)}, counted from 0): {failure}")
        return batch

    @classmethod
    def of_admitted(
        cls, admitted: Admitted, species: Sequence[str], cutoff: float, *, most_edges: int | None = None
    ) -> StructureBatch:
        """All neighbours closer than a checked `cutoff` (A) in structures that were admitted for it.

        Structures with two atoms at one place join the `failures`.

        Raises:
            CrowdedError: as :meth:`build`.
        """
        from etn_gpu.structures.neighbours import neighbour_list

        try:
            edges = neighbour_list(admitted.geometry, admitted.species_index, cutoff, most_edges)
        except CrowdedError as error:
            counts = np.zeros(len(admitted.kept) + len(admitted.failures), dtype=np.int64)
            counts[admitted.kept] = error.edges
            raise CrowdedError(counts) from None
        overlapping = overlap_failures(admitted.geometry, edges)
        admitted = admitted.without(overlapping)
        if overlapping:
            edges = neighbour_list(admitted.geometry, admitted.species_index, cutoff)
        geometry = admitted.geometry
        return cls(
            species=tuple(species),
            cutoff=cutoff,
            atom_offsets=geometry.atom_offsets,
            structure_of_atom=geometry.structure_of_atom,
            species_index=admitted.species_index,
            positions=geometry.positions,
            cells=geometry.cells,
            pbc=geometry.pbc,
            volumes=cell_volumes(geometry.cells, geometry.pbc),
            edge_offsets=edges.offsets,
            neighbour=edges.neighbour,
            vectors=edges.vectors,
            shifts=edges.shifts,
            reverse=edges.reverse,
            shortest=edges.shortest,
            kept=admitted.kept,
            failures=admitted.failures,
        )

    @property
    def n_structures(self) -> int:
        """The number of structures S."""
        return len(self.cells)

    @property
    def n_atoms(self) -> int:
        """The number of atoms N."""
        return len(self.positions)

    @property
    def n_edges(self) -> int:
        """The number of directed edges E."""
        return len(self.neighbour)

    @property
    def centre(self) -> NDArray[np.int64]:
        """The centre atom i of each edge [E]."""
        return np.repeat(np.arange(self.n_atoms), np.diff(self.edge_offsets))

    def with_vectors(self, positions: ArrayLike, cells: ArrayLike) -> StructureBatch:
        """The same edges for moved atoms: positions [N, 3] and cells [S, 3, 3], in A.

        For molecular dynamics with a skin: build with cutoff + skin, update here. The list is not searched again, so
        edges may now be longer than the cutoff or missing; that is the caller's to decide.

        Raises:
            StructureError: positions or cells of another shape.
        """
        from etn_gpu.structures.neighbours import edge_vectors

        positions = _copy_of_shape(positions, self.positions.shape, "positions")
        cells = _copy_of_shape(cells, self.cells.shape, "cells")
        vectors, shortest, _ = edge_vectors(
            positions, cells, self.atom_offsets, self.edge_offsets, self.neighbour, self.shifts
        )
        volumes = self.volumes if cells.tobytes() == self.cells.tobytes() else cell_volumes(cells, self.pbc)
        return self._with(positions=positions, cells=cells, volumes=volumes, vectors=vectors, shortest=shortest)

    def within(self, cutoff: float) -> StructureBatch:
        """The same structures with only the edges shorter than `cutoff` (A): a batch as if built with it.

        Raises:
            StructureError: a bad cutoff, or one larger than that of the batch.
        """
        from etn_gpu.structures.neighbours import shorter_edges

        cutoff = check_cutoff(cutoff)
        if cutoff > self.cutoff:
            raise StructureError(f"cutoff = {cutoff:g}: the batch has edges up to {self.cutoff:g} Angstrom only.")
        offsets, neighbour, shifts, reverse, vectors, shortest = shorter_edges(
            self.edge_offsets, self.neighbour, self.shifts, self.reverse, self.vectors, self.shortest, cutoff
        )
        return self._with(
            cutoff=cutoff,
            edge_offsets=offsets,
            neighbour=neighbour,
            shifts=shifts,
            reverse=reverse,
            vectors=vectors,
            shortest=shortest,
        )

    def _with(self, **changes: Any) -> StructureBatch:
        """The same with other fields; dataclasses.replace takes as long as an atom does."""
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__ | changes)
        return changed

    def minimum_distances(self) -> NDArray[np.float64]:
        """The closest distance of each pair of species [n_species, n_species] in A, inf where no edge joins them."""
        n_species = len(self.species)
        pair = np.repeat(self.species_index.astype(np.int64) * n_species, np.diff(self.edge_offsets))
        pair += self.species_index[self.neighbour]
        closest = np.full(n_species * n_species, np.inf)
        np.minimum.at(closest, pair, np.linalg.norm(self.vectors, axis=1))
        return closest.reshape(n_species, n_species)

    def closer_than(self, limits: ArrayLike) -> NDArray[np.bool_]:
        """Which structures [S] have an edge shorter than the limit of its species pair, [n_species, n_species] in A.

        Raises:
            StructureError: limits of another shape.
        """
        from etn_gpu.structures.neighbours import mark_closer

        limits = _copy_of_shape(limits, (len(self.species), len(self.species)), "limits")
        result = self.shortest < limits.max()
        if result.any():
            mark_closer(
                self.atom_offsets, self.edge_offsets, self.species_index, self.neighbour, self.vectors, limits, result
            )
        return result


def _copy_of_shape(values: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise StructureError(f"{name} have shape {array.shape}: expected {shape}, as in the batch.")
    return array
