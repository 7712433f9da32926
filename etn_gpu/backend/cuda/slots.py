"""Tiles of 32 atoms of, as far as possible, one species, and the groups of tiles that one block goes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.launcher import Module

TILE = 32
#: Most groups of tiles, unless there are more samples. More keep a larger device busy, and take more memory for sums
#: over the atoms of a group.
MOST_GROUPS = 2048


@dataclass(frozen=True)
class Slots:
    """Where atoms lie in tiles: slot k of tile t is slot 32 t + k.

    atoms [n_slots] int64, -1 in padding; species [n_slots] int32, that of a neighbouring slot in padding; the tiles of
    group g are group_offsets[g] .. group_offsets[g+1]-1, the groups of sample s are sample_groups[s] ..
    sample_groups[s+1]-1, both int64. What is summed over a sample does not depend on the device.
    """

    atoms: DeviceArray
    species: DeviceArray
    group_offsets: DeviceArray
    sample_groups: DeviceArray

    @property
    def n_slots(self) -> int:
        """All slots, a multiple of 32."""
        return len(self.atoms)

    @property
    def n_tiles(self) -> int:
        """Tiles of 32 slots."""
        return self.n_slots // TILE

    @property
    def n_groups(self) -> int:
        """Groups of tiles."""
        return len(self.group_offsets) - 1

    @property
    def n_samples(self) -> int:
        """Samples of atoms that are summed apart."""
        return len(self.sample_groups) - 1

    @staticmethod
    def of_samples(device: Device, species: NDArray[np.int32], samples: NDArray[np.int64]) -> Slots:
        """Slots of atoms whose samples are samples[s] .. samples[s+1]-1; no tile holds atoms of two samples.

        The fewer samples, the more groups each has: a device is kept busy, and memory for the sums stays small.
        """
        sizes = np.diff(samples)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((species, owner))
        tiles = -(-sizes // TILE)
        first_slot = TILE * np.concatenate(([0], np.cumsum(tiles)))
        place = first_slot[owner] + np.arange(len(order)) - samples[owner]
        atoms = np.full(first_slot[-1], -1, np.int64)
        atoms[place] = order
        # Padding takes the species of the last atom before it.
        last = np.maximum.accumulate(np.where(atoms >= 0, np.arange(len(atoms)), 0))
        groups = np.clip(tiles, 1, max(MOST_GROUPS // max(len(sizes), 1), 1))
        first_tile = first_slot // TILE
        cuts = [first_tile[s] + np.arange(g) * tiles[s] // g for s, g in enumerate(groups)]
        return Slots(
            device.to_device(atoms),
            device.to_device(species[atoms[last]].astype(np.int32)),
            device.to_device(np.concatenate((*cuts, first_tile[-1:])).astype(np.int64)),
            device.to_device(np.concatenate(([0], np.cumsum(groups))).astype(np.int64)),
        )


class SlotFiller:
    """Slots of atoms whose species are on the device, all of one sample."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._module = Module.of_source(device, "slots.cu")

    def fill(self, species: DeviceArray) -> Slots:
        """Slots of atoms of ``species`` [N] int32."""
        n_atoms = len(species)
        n_tiles = -(-n_atoms // TILE)
        order = self._device.stable_order(species)
        atoms = self._device.empty(n_tiles * TILE, np.int64)
        slot_species = self._device.empty(n_tiles * TILE, np.int32)
        self._module["fill_slots"].over(
            n_tiles * TILE, order=order, species=species, atoms=atoms, slot_species=slot_species, n_atoms=n_atoms,
            n_slots=n_tiles * TILE,
        )  # fmt: skip
        n_groups = min(n_tiles, MOST_GROUPS)
        cuts = np.arange(n_groups + 1, dtype=np.int64) * n_tiles // max(n_groups, 1)
        whole = np.array([0, n_groups], np.int64)
        return Slots(atoms, slot_species, self._device.to_device(cuts), self._device.to_device(whole))

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return self._module.launches
