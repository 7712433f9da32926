"""The terms of a potential beside its network on a device; formulas and columns as in :mod:`etn_gpu.backend.terms`."""

from __future__ import annotations

from typing import Any

import numpy as np

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.terms import COLUMNS, TermTables

_LANES_PER_ATOM = 8


class TermKernels:
    """The kernels of ``terms.cu`` on a device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.module = Module.of_source(device, "terms.cu")

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return self.module.launches


class DeviceTerms:
    """The terms of one potential, with their numbers on the device."""

    def __init__(self, kernels: TermKernels, tables: TermTables) -> None:
        self._device, self._module = kernels.device, kernels.module
        upload = kernels.device.to_device
        self._pairs, self._table = upload(tables.pairs), upload(tables.species)
        self._common = {
            "pairs": self._pairs, "reaches": upload(tables.reach * tables.reach), "cutoff": tables.cutoff,
            "n_species": len(tables.species),
        }  # fmt: skip

    @staticmethod
    def bytes(n_atoms: Any) -> Any:
        """Bytes of device memory that the terms of so many atoms take: sites, weights and energies."""
        return 8 * (COLUMNS + 2) * n_atoms

    def sites(
        self, vectors: DeviceArray, edge_offsets: DeviceArray, species: DeviceArray, edge_species: DeviceArray
    ) -> tuple[DeviceArray, DeviceArray]:
        """What is known of each site before its energy, [N, 6], and the weights of the network, [N, 1].

        vectors [E, 3] in A, edge_offsets [N+1], species [N], edge_species [E].
        """
        n_atoms = len(species)
        sites = self._device.empty((n_atoms, COLUMNS), np.float64)
        weights = self._device.empty((n_atoms, 1), np.float64)
        self._module["site_terms"].over(
            n_atoms, _LANES_PER_ATOM, vectors=vectors, edge_offsets=edge_offsets, species=species,
            edge_species=edge_species, table=self._table, sites=sites, weights=weights, n_atoms=n_atoms, **self._common,
        )  # fmt: skip
        return sites, weights

    def energies(self, sites: DeviceArray, outputs: DeviceArray) -> DeviceArray:
        """Energies of atoms beyond the references [N] in eV, float64, from the ``outputs`` [N] of the Program."""
        energies = self._device.empty(len(sites), np.float64)
        self._module[f"site_energies_{outputs.dtype}"].over(
            len(sites), outputs=outputs, sites=sites, energies=energies, n_atoms=len(sites)
        )
        return energies

    def add_to_gradients(
        self, vectors: DeviceArray, edge_offsets: DeviceArray, species: DeviceArray, edge_species: DeviceArray,
        sites: DeviceArray, outputs: DeviceArray, gradient: DeviceArray,
    ) -> None:  # fmt: skip
        """Make edge gradients [E, 3] of the Program, with weights for ``e_bar``, those of all terms, in place."""
        self._module[f"add_to_gradients_{gradient.dtype}"].over(
            len(sites), _LANES_PER_ATOM, vectors=vectors, edge_offsets=edge_offsets, species=species,
            edge_species=edge_species, sites=sites, outputs=outputs, gradient=gradient, n_atoms=len(sites),
            **self._common,
        )  # fmt: skip
