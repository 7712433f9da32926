"""What can be run on a device: a Program, or, where atoms hear of their neighbours' values, its passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import DeviceArray
from etn_gpu.backend.cuda.lowering import Stage
from etn_gpu.backend.cuda.slots import Slots
from etn_gpu.backend.geometry import both_given

Array = NDArray[np.floating]


@dataclass(frozen=True)
class DeviceGeometry:
    """What the kernels must know of a batch: edges of atoms, species of neighbours, places of atoms in tiles.

    Programs with gathers also need ``neighbour`` [E], the atom that an edge leads to, and ``reverse`` [E], the edge
    back, both int64.
    """

    edge_offsets: DeviceArray
    edge_species: DeviceArray
    slots: Slots
    neighbour: DeviceArray | None = None
    reverse: DeviceArray | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.edge_offsets) - 1

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return len(self.edge_species)

    def neighbours(self) -> tuple[DeviceArray, DeviceArray]:
        """``neighbour`` and ``reverse``.

        Raises:
            BackendError: they were not given.
        """
        return both_given(self.neighbour, self.reverse, " on the device")


class Executable(Protocol):
    """A Program whose kernels are compiled for a device.

    Parameters and sums over atoms are whatever the other methods take: one array, or one for each pass.
    """

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Everything that was compiled for the Program, in the order in which it runs."""

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""

    def parameters(self, inputs: Mapping[str, Array]) -> Any:
        """The folded parameters on the device, from the parameter inputs of the Program."""

    def bytes(self, n_atoms: Any, n_edges: Any) -> Any:
        """Bytes of device memory that :meth:`run` takes beside its inputs, results included, for one sample.

        Numbers, or arrays of them for many batches at once.
        """

    def run(
        self, parameters: Any, inputs: Mapping[str, DeviceArray], geometry: DeviceGeometry
    ) -> tuple[dict[str, DeviceArray], Any]:
        """Outputs on edges [E, size] and atoms [N, size] by name, and the sums over the atoms of each sample.

        parameters: from :meth:`parameters`; inputs: [E, size] or [N, size] for each edge and atom input.

        Raises:
            BackendError: a geometry without the neighbours that the Program needs.
            DeviceMemoryError: the device has no room; nothing of the run is kept then.
        """

    def parameter_outputs(
        self, inputs: Mapping[str, Array], parameters: Any, sums: Any, sampled: bool, dtype: np.dtype
    ) -> dict[str, Array]:
        """The outputs in parameter space on the host, [size], or [n_samples, size] where ``sampled``, in ``dtype``.

        inputs: the parameter inputs; parameters and sums: from :meth:`parameters` and :meth:`run`.
        """
