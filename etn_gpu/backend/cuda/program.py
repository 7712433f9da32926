"""A lowered Program on arrays of a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.columns import total
from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.edge_stage import EdgeStage
from etn_gpu.backend.cuda.executable import DeviceGeometry
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.lowering import Stage, lower
from etn_gpu.backend.cuda.slots import MOST_GROUPS, TILE, Slots
from etn_gpu.backend.cuda.stage import EDGE_INPUT, EDGE_KEPT, EDGE_OUTPUT, Argument
from etn_gpu.backend.parameters import fold, parameter_outputs
from etn_gpu.plan.program import Program

Array = NDArray[np.floating]


class DeviceProgram:
    """A Program without gathers on a device: its stages are compiled once.

    Args:
        device: where to run.
        program: what to run.
        dtype: float32 or float64.
        kept: edge and atom inputs that an earlier pass made: they come in ``dtype``, all others in float64.

    Raises:
        BackendError: a Program that cannot be lowered, or kernels that do not compile.
    """

    def __init__(self, device: Device, program: Program, dtype: np.dtype, kept: frozenset[str] = frozenset()) -> None:
        self.device = device
        self.program = program
        self.dtype = np.dtype(dtype)
        self.lowered = lower(program, self.dtype, kept)
        self._stages = [Module(device, stage.text, f"{stage.name}.cu") for stage in self.lowered.stages]
        self._tiles = Module.of_source(device, "tiles.cu")
        self._brought = {v.name: f"gather_tiles_{self.dtype.name}" for v in program.inputs}
        if self.dtype == np.float32:
            self._brought |= dict.fromkeys(kept, "gather_kept_float32")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What was compiled, in the order in which it runs."""
        return self.lowered.stages

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return sum(module.launches for module in (*self._stages, self._tiles))

    def parameters(self, inputs: Mapping[str, Array]) -> DeviceArray:
        """The folded parameters on the device, from the parameter inputs of the Program."""
        return self.device.to_device(fold(self.program, self.lowered.parameters, inputs, self.dtype))

    def bytes(self, n_atoms: Any, n_edges: Any) -> Any:
        """Bytes of device memory that :meth:`run` takes beside its inputs, results included, for one sample.

        Numbers, or arrays of them for many batches at once.
        """
        n_slots = -(-n_atoms // TILE) * TILE
        size = self.dtype.itemsize
        sizes = {
            space: sum(self.program.output(name).size for name in self._outputs(space)) for space in ("edge", "atom")
        }
        groups = np.minimum(n_slots // TILE, MOST_GROUPS)
        slabs = max((getattr(stage, "work_rows", 0) for stage in self.lowered.stages), default=0) * TILE * size
        rows = 8 * total(self.lowered.gradients)
        per_atom = sum(self.lowered.tiles.values())
        return size * (n_slots * per_atom + sizes["edge"] * n_edges + sizes["atom"] * n_atoms) + groups * (slabs + rows)

    def run(
        self, parameters: DeviceArray, inputs: Mapping[str, DeviceArray], geometry: DeviceGeometry
    ) -> tuple[dict[str, DeviceArray], DeviceArray]:
        """Outputs on edges [E, size] and atoms [N, size] by name, and the sums over atoms [n_samples, total], float64.

        parameters: from :meth:`parameters`; inputs: [E, size] or [N, size] for each edge and atom input.

        Raises:
            DeviceMemoryError: the device has no room; nothing of the run is kept then.
        """
        device, slots = self.device, geometry.slots
        tiles: dict[str, DeviceArray] = {}
        for name, size in self.lowered.tiles.items():
            tiles[name] = device.empty((slots.n_tiles, size, TILE), self.dtype)
            if name in self._brought:
                self._move(self._brought[name], inputs[name], tiles[name], slots)
        edges: dict[str, DeviceArray] = {}
        gradients = device.zeros((slots.n_groups, total(self.lowered.gradients)), np.float64)
        for stage, module in zip(self.lowered.stages, self._stages, strict=True):
            common: dict[str, Any] = {
                "parameters": parameters, "gradients": gradients, "atoms": slots.atoms, "slot_species": slots.species,
                "group_offsets": slots.group_offsets, "edge_offsets": geometry.edge_offsets,
                "edge_species": geometry.edge_species, "n_slots": slots.n_slots,
            }  # fmt: skip
            for argument in stage.arguments:
                common[argument.name] = self._bound(argument, inputs, tiles, edges, geometry)
            if isinstance(stage, EdgeStage):
                blocks = -(-slots.n_slots // stage.slots)
            else:
                blocks = slots.n_groups
                common["workspace"] = device.empty(slots.n_groups * stage.work_rows * TILE, self.dtype)
            kernel = module[stage.name]
            wanted = {p.name: common[p.name] for p in kernel.signature.parameters}
            kernel.launch(blocks, stage.shared_bytes, **wanted)
        outputs = {}
        for name, value in self.program.outputs:
            space = self.program.values[value].space
            if space == "edge":
                outputs[name] = edges[value]
            elif space == "atom":
                outputs[name] = device.empty((geometry.n_atoms, self.program.values[value].size), self.dtype)
                self._move(f"scatter_tiles_{self.dtype.name}", outputs[name], tiles[value], slots)
        return outputs, self._summed(gradients, slots)

    def parameter_outputs(
        self,
        inputs: Mapping[str, Array],
        parameters: DeviceArray,
        sums: DeviceArray,
        sampled: bool,
        dtype: np.dtype,
    ) -> dict[str, Array]:
        """The outputs in parameter space on the host, from the folded parameters and the sums over atoms."""
        if not self.program.has_parameter_outputs:
            return {}
        rows = self.device.to_host(sums)
        return parameter_outputs(
            self.program,
            self.lowered.parameters,
            self.device.to_host(parameters),
            self.lowered.gradients,
            rows if sampled else rows[0],
            dtype,
        )

    def _bound(
        self,
        argument: Argument,
        inputs: Mapping[str, DeviceArray],
        tiles: Mapping[str, DeviceArray],
        edges: dict[str, DeviceArray],
        geometry: DeviceGeometry,
    ) -> DeviceArray:
        """The array of an argument; those of edge outputs are new."""
        if argument.role in (EDGE_INPUT, EDGE_KEPT):
            return inputs[argument.value]
        if argument.role == EDGE_OUTPUT:
            size = self.program.values[argument.value].size
            return edges.setdefault(argument.value, self.device.empty((geometry.n_edges, size), self.dtype))
        return tiles[argument.value]

    def _move(self, kernel: str, values: DeviceArray, tiles: DeviceArray, slots: Slots) -> None:
        size = tiles.shape[1]
        self._tiles[kernel].over(
            slots.n_slots * size, values=values, tiles=tiles, atoms=slots.atoms, size=size, n_slots=slots.n_slots
        )

    def _summed(self, gradients: DeviceArray, slots: Slots) -> DeviceArray:
        columns = gradients.shape[1]
        sums = self.device.empty((slots.n_samples, columns), np.float64)
        self._tiles["column_sums"].over(
            slots.n_samples * columns, values=gradients, offsets=slots.sample_groups, results=sums, columns=columns,
            n_samples=slots.n_samples,
        )  # fmt: skip
        return sums

    def _outputs(self, space: str) -> list[str]:
        return [name for name, value in self.program.outputs if self.program.values[value].space == space]
