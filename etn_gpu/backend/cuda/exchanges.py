"""What passes of a Program hear of each other on a device; see :mod:`etn_gpu.backend.cpu.exchanges`."""

from __future__ import annotations

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.errors import BackendError

_THREADS_PER_EDGE = 4


class Exchanges:
    """The kernels of ``exchanges.cu`` on a device. Values and results are float32 or float64, both the same."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._module = Module.of_source(device, "exchanges.cu")

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return self._module.launches

    def gather(self, values: DeviceArray, neighbour: DeviceArray) -> DeviceArray:
        """The values [N, n] of the atoms that edges lead to, [E, n]; neighbour [E].

        Raises:
            DeviceMemoryError: the device has no room.
        """
        size = values.shape[1]
        results = self._device.empty((len(neighbour), size), values.dtype)
        self._module[f"gather_neighbours_{values.dtype}"].over(
            len(neighbour), _THREADS_PER_EDGE, values=values, neighbour=neighbour, results=results, size=size,
            n_edges=len(neighbour),
        )  # fmt: skip
        return results

    def sum_reverse(self, values: DeviceArray, reverse: DeviceArray, edge_offsets: DeviceArray) -> DeviceArray:
        """The sums [N, n] of values [E, n] over the edges that lead to each atom; reverse [E], edge_offsets [N+1].

        Sums run in float64, in the order of the atom's own edges.

        Raises:
            BackendError: not as many values as edges.
            DeviceMemoryError: the device has no room.
        """
        if len(values) != len(reverse):
            raise BackendError(f"values {values.shape} of edges and reverse edges {reverse.shape} do not fit together")
        n_atoms, size = len(edge_offsets) - 1, values.shape[1]
        results = self._device.empty((n_atoms, size), values.dtype)
        self._module[f"sum_reverse_{values.dtype}"].over(
            n_atoms * size, values=values, reverse=reverse, edge_offsets=edge_offsets, results=results, size=size,
            n_atoms=n_atoms,
        )  # fmt: skip
        return results
