"""Full neighbour lists of many structures at once, on a device; in content and order those of the CPU.

The number of launches does not depend on the structures, and one number comes back to the host: how many edges there
are. See ``kernels/neighbours.cu`` for how it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.structures import DeviceStructures

#: As in kernels/bins.cuh: bins of all structures are this many for each atom, and these for each structure.
BINS_PER_ATOM, MORE_BINS = 1, 32
_GRID_SIZE = 15
_WARP, _LANES_PER_ATOM = 32, 8


@dataclass(frozen=True)
class DeviceEdges:
    """Edges sorted by (centre, species of neighbour, neighbour, shift), on a device.

    offsets [N+1], neighbour [E], reverse [E] int64; species of the neighbour [E], shifts [E, 3] int32; vectors [E, 3]
    and the square of the shortest edge of each atom, nearest [N], float64 in A and A^2: inf for atoms without edges, -1
    for those with an edge whose reverse was lost, where positions are so far away that round-off matters.
    """

    offsets: DeviceArray
    neighbour: DeviceArray
    species: DeviceArray
    shifts: DeviceArray
    reverse: DeviceArray
    vectors: DeviceArray
    nearest: DeviceArray

    @property
    def n_edges(self) -> int:
        """The number of directed edges E."""
        return len(self.neighbour)


def search_bytes(n_structures: Any, n_atoms: Any, n_edges: Any) -> Any:
    """Bytes of device memory that :meth:`NeighbourSearch.find` takes for a batch, the list included.

    Numbers, or arrays of them for many batches at once.
    """
    n_bins = BINS_PER_ATOM * n_atoms + MORE_BINS * n_structures
    per_atom = 8 + 8 + (24 + 24 + 12 + 4) + 8 + 8 + 8  # keys, order, slots, counts, offsets, nearest
    per_structure = 8 * _GRID_SIZE + 24
    per_edge = 8 + 8 + 12 + 4 + 24  # neighbour, reverse, shifts, species, vectors
    return per_atom * n_atoms + per_structure * n_structures + (4 + 8) * n_bins + per_edge * n_edges + 16


class NeighbourSearch:
    """The kernels of ``neighbours.cu`` on a device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._module = Module.of_source(device, "neighbours.cu")

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return self._module.launches

    def find(self, structures: DeviceStructures, cutoff: float) -> DeviceEdges:
        """All edges shorter than ``cutoff`` (A).

        A vector is r_neighbour - r_centre + shift . cell, in float64, and that vector decides whether it is an edge.

        Raises:
            DeviceMemoryError: the device has no room for the list; nothing of it is kept then.
        """
        n_atoms = structures.n_atoms
        searched = self._bins(structures, cutoff)
        counts = self._device.empty(n_atoms, np.int64)
        self._module["count_edges"].over(n_atoms, _WARP, **searched, counts=counts)
        offsets = self._device.cumulative(counts)
        n_edges = int(self._device.to_host(offsets[-1:])[0])

        neighbour, reverse = (self._device.empty(n_edges, np.int64) for _ in range(2))
        shifts, species = self._device.empty((n_edges, 3), np.int32), self._device.empty(n_edges, np.int32)
        listed = {"edge_offsets": offsets, "neighbour": neighbour, "shifts": shifts, "edge_species": species}
        self._module["fill_edges"].over(n_atoms, _WARP, **searched, species=structures.species, **listed)
        vectors, nearest = self._vectors(structures, offsets, neighbour, shifts)
        self._module["reverse_edges"].over(
            n_atoms, _LANES_PER_ATOM, species=structures.species, **listed, reverse=reverse, nearest=nearest,
            n_atoms=n_atoms,
        )  # fmt: skip
        return DeviceEdges(offsets, neighbour, species, shifts, reverse, vectors, nearest)

    def _bins(self, structures: DeviceStructures, cutoff: float) -> dict[str, DeviceArray | float | int]:
        """Sort the atoms into bins; all arguments that both passes of the search share."""
        n, s = structures.n_atoms, structures.n_structures
        sizes = {"n_structures": s, "n_atoms": n}
        keys = self._device.empty(n, np.int64)
        self._module["species_keys"].over(
            n, atom_offsets=structures.atom_offsets, species=structures.species, keys=keys,
            n_species=structures.n_species, **sizes,
        )  # fmt: skip
        order = self._device.stable_order(keys)
        grids, bins = self._device.empty((s, _GRID_SIZE), np.float64), self._device.empty((s, 3), np.int64)
        self._module["make_grids"].over(
            s, cells=structures.cells, pbc=structures.pbc, atom_offsets=structures.atom_offsets, grids=grids, bins=bins,
            cutoff=cutoff, n_structures=s,
        )  # fmt: skip

        counts = self._device.zeros(BINS_PER_ATOM * n + MORE_BINS * s, np.int32)
        binned = {
            "positions": structures.positions, "order": order, "pbc": structures.pbc,
            "atom_offsets": structures.atom_offsets, "grids": grids, "bins": bins, "counts": counts, **sizes,
        }  # fmt: skip
        self._module["count_bins"].over(n, **binned)
        slots = {
            "slot_position": self._device.empty((n, 3), np.float64),
            "slot_level": self._device.empty((n, 3), np.float64),
            "slot_wrap": self._device.empty((n, 3), np.int32),
            "slot_place": self._device.empty(n, np.int32),
            "starts": self._device.cumulative(counts),
        }
        self._module["fill_bins"].over(n, **binned, **slots)
        return {
            "cells": structures.cells, "grids": grids, "bins": bins, "pbc": structures.pbc,
            "atom_offsets": structures.atom_offsets, "order": order, "cutoff": cutoff, **slots, **sizes,
        }  # fmt: skip

    def _vectors(
        self, structures: DeviceStructures, offsets: DeviceArray, neighbour: DeviceArray, shifts: DeviceArray
    ) -> tuple[DeviceArray, DeviceArray]:
        vectors = self._device.empty((len(neighbour), 3), np.float64)
        nearest = self._device.empty(structures.n_atoms, np.float64)
        self._module["edge_vectors"].over(
            structures.n_atoms, _LANES_PER_ATOM, positions=structures.positions, cells=structures.cells,
            atom_offsets=structures.atom_offsets, edge_offsets=offsets, neighbour=neighbour, shifts=shifts,
            vectors=vectors, nearest=nearest, n_structures=structures.n_structures, n_atoms=structures.n_atoms,
        )  # fmt: skip
        return vectors, nearest
