"""The terms of a potential beside its network on a device; formulas and columns as in :mod:`etn_gpu.backend.terms`."""

from __future__ import annotations

from dataclasses import dataclass
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
        self._kernels = kernels
        upload = kernels.device.to_device
        self._common = {
            "pairs": upload(tables.pairs), "reaches": upload(tables.squared_reach), "cutoff": tables.cutoff,
            "table": upload(tables.species), "n_species": len(tables.species),
        }  # fmt: skip

    @staticmethod
    def bytes(n_atoms: Any) -> Any:
        """Bytes of device memory that the terms of so many atoms take: sites, weights and energies."""
        return 8 * (COLUMNS + 2) * n_atoms

    def at(
        self, vectors: DeviceArray, edge_offsets: DeviceArray, species: DeviceArray, edge_species: DeviceArray
    ) -> DeviceSiteTerms:
        """The terms of the atoms of a batch: vectors [E, 3] in A, edge_offsets [N+1], species [N], edge_species [E].

        Raises:
            DeviceMemoryError: the device has no room.
        """
        device, n_atoms = self._kernels.device, len(species)
        edges = {
            "vectors": vectors, "edge_offsets": edge_offsets, "species": species, "edge_species": edge_species,
            "n_atoms": n_atoms, **self._common,
        }  # fmt: skip
        sites, weights = device.empty((n_atoms, COLUMNS), np.float64), device.empty((n_atoms, 1), np.float64)
        self._kernels.module["site_terms"].over(n_atoms, _LANES_PER_ATOM, sites=sites, weights=weights, **edges)
        return DeviceSiteTerms(self._kernels, sites, weights, edges)


@dataclass(frozen=True)
class DeviceSiteTerms:
    """As :class:`etn_gpu.backend.terms.SiteTerms`: ``sites`` [N, 6], and ``weights`` [N, 1] for ``e_bar``."""

    kernels: TermKernels
    sites: DeviceArray
    weights: DeviceArray
    #: Arguments of kernels that go through edges.
    edges: dict[str, Any]

    def energies(self, outputs: DeviceArray) -> DeviceArray:
        """Energies of atoms beyond the references [N] in eV, float64, from the ``outputs`` [N] of the Program."""
        n_atoms = len(self.sites)
        energies = self.kernels.device.empty(n_atoms, np.float64)
        self.kernels.module[f"site_energies_{outputs.dtype}"].over(
            n_atoms,
            outputs=outputs,
            species=self.edges["species"],
            table=self.edges["table"],
            sites=self.sites,
            energies=energies,
            n_atoms=n_atoms,
        )
        return energies

    def add_to_gradients(self, outputs: DeviceArray, gradient: DeviceArray) -> None:
        """Make edge gradients [E, 3] of the Program, with the weights as ``e_bar``, those of all terms, in place."""
        self.kernels.module[f"add_to_gradients_{gradient.dtype}"].over(
            len(self.sites), _LANES_PER_ATOM, sites=self.sites, outputs=outputs, gradient=gradient, **self.edges
        )
