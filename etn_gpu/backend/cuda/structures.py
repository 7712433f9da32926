"""Many structures in arrays of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.errors import BackendError


@dataclass(frozen=True)
class DeviceStructures:
    """S structures with N atoms in all, on a device.

    atom_offsets [S+1] int64; species [N] int32, indices below n_species; positions [N, 3] float64 in A; cells [S, 3, 3]
    float64 with one vector per row, in A; pbc [S, 3] bool. What they hold must have been validated: finite positions,
    independent periodic vectors, offsets that ascend from 0 to N.
    """

    atom_offsets: DeviceArray
    species: DeviceArray
    positions: DeviceArray
    cells: DeviceArray
    pbc: DeviceArray
    n_species: int

    @staticmethod
    def upload(
        device: Device,
        atom_offsets: NDArray[np.int64],
        species: NDArray[np.int32],
        positions: NDArray[np.float64],
        cells: NDArray[np.float64],
        pbc: NDArray[np.bool_],
        n_species: int,
    ) -> DeviceStructures:
        """Copy arrays of NumPy to a device.

        Raises:
            BackendError: shapes that do not fit together, or a species that is not below n_species.
            DeviceMemoryError: the device has no room for them.
        """
        n_structures, n_atoms = len(cells), len(positions)
        expected = ((n_structures + 1,), (n_atoms,), (n_atoms, 3), (n_structures, 3, 3), (n_structures, 3))
        given = tuple(np.shape(a) for a in (atom_offsets, species, positions, cells, pbc))
        if given != expected:
            raise BackendError(f"structures of shapes {given} were given, expected {expected}")
        if n_atoms and (species.min() < 0 or species.max() >= n_species):
            raise BackendError(f"species from {species.min()} to {species.max()} were given, there are {n_species}")
        return DeviceStructures(
            device.to_device(np.asarray(atom_offsets, np.int64)),
            device.to_device(np.asarray(species, np.int32)),
            device.to_device(np.asarray(positions, np.float64)),
            device.to_device(np.asarray(cells, np.float64)),
            device.to_device(np.asarray(pbc, np.bool_)),
            n_species,
        )

    @property
    def n_structures(self) -> int:
        """The number of structures S."""
        return len(self.cells)

    @property
    def n_atoms(self) -> int:
        """The number of atoms N."""
        return len(self.positions)
