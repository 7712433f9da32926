"""Programs with gathers on a device: their passes one after the other, and what is exchanged between them.

As :mod:`etn_gpu.backend.passes`, but nothing leaves the device, and what no later pass needs makes room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.exchanges import Exchanges
from etn_gpu.backend.cuda.executable import DeviceGeometry
from etn_gpu.backend.cuda.lowering import Stage
from etn_gpu.backend.cuda.program import DeviceProgram
from etn_gpu.backend.parameters import closing_outputs
from etn_gpu.plan.passes import Exchange, Pass, passes
from etn_gpu.plan.program import Program, Value

Array = NDArray[np.floating]


@dataclass(frozen=True)
class _Part:
    """A pass: what is exchanged before it, its compiled Program, and all of what was made before that is still needed
    while it runs or afterwards, by name."""

    exchanges: tuple[Exchange, ...]
    executable: DeviceProgram
    held: dict[str, Value]

    @property
    def sources(self) -> dict[str, Value]:
        """What the exchanges read."""
        return {e.source: Value(e.source, "edge" if e.back else "atom", e.target.size) for e in self.exchanges}


class DevicePasses:
    """A Program with gathers on a device, see :class:`~etn_gpu.backend.cuda.executable.Executable`.

    Args:
        device: where to run.
        program: what to run.
        dtype: float32 or float64, of everything that passes leave for each other.

    Raises:
        BackendError: a pass that cannot be lowered, or kernels that do not compile.
    """

    def __init__(self, device: Device, program: Program, dtype: np.dtype) -> None:
        self.program = program
        self.dtype = np.dtype(dtype)
        split = passes(program)
        self._closing = split.closing
        self._exchanges = Exchanges(device)
        given = {v.name for v in program.inputs}
        self._parts = [
            _Part(one.exchanges, DeviceProgram(device, one.program, self.dtype, _made_before(one, given)), held)
            for one, held in zip(split.passes, _held(program, split.passes), strict=True)
        ]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those of all passes."""
        return tuple(stage for part in self._parts for stage in part.executable.stages)

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return self._exchanges.launches + sum(part.executable.launches for part in self._parts)

    def parameters(self, inputs: Mapping[str, Array]) -> tuple[DeviceArray, ...]:
        """The folded parameters of each pass on the device."""
        return tuple(part.executable.parameters(inputs) for part in self._parts)

    def bytes(self, n_atoms: Any, n_edges: Any) -> Any:
        """The most that a pass takes, or what is exchanged before it, with all that is kept at that time."""
        counts = {"atom": n_atoms, "edge": n_edges}

        def size(values: Mapping[str, Value]) -> Any:
            return sum(self.dtype.itemsize * counts[v.space] * v.size for v in values.values())

        found = [
            np.maximum(size(part.held) + part.executable.bytes(n_atoms, n_edges), size(part.held | part.sources))
            for part in self._parts
        ]
        return np.max(found, axis=0)

    def run(
        self, parameters: tuple[DeviceArray, ...], inputs: Mapping[str, DeviceArray], geometry: DeviceGeometry
    ) -> tuple[dict[str, DeviceArray], tuple[DeviceArray, ...]]:
        """Outputs on edges [E, size] and atoms [N, size] by name, and the sums over atoms of each pass.

        inputs: float64 [E, size] or [N, size] for each edge and atom input.

        Raises:
            BackendError: a geometry without neighbours.
            DeviceMemoryError: the device has no room; nothing of the run is kept then.
        """
        neighbour, reverse = geometry.neighbours()
        made: dict[str, DeviceArray] = {}
        sums = []
        for part, own in zip(self._parts, parameters, strict=True):
            for exchange in part.exchanges:
                source = made[exchange.source]
                made[exchange.target.name] = (
                    self._exchanges.sum_reverse(source, reverse, geometry.edge_offsets)
                    if exchange.back
                    else self._exchanges.gather(source, neighbour)
                )
                del source
            made = {name: made[name] for name in part.held}
            # What was given is read in float64, even where a pass left it for an exchange.
            outputs, rows = part.executable.run(own, {**made, **inputs}, geometry)
            made |= outputs
            sums.append(rows)
        outputs = {name: made[value] for name, value in self.program.outputs if value in made}
        return outputs, tuple(sums)

    def parameter_outputs(
        self,
        inputs: Mapping[str, Array],
        parameters: tuple[DeviceArray, ...],
        sums: tuple[DeviceArray, ...],
        sampled: bool,
        dtype: np.dtype,
    ) -> dict[str, Array]:
        """The outputs in parameter space on the host, from the sums over atoms of all passes."""
        if not self.program.has_parameter_outputs:
            return {}
        values = {v.name: inputs[v.name] for v in self.program.parameter_inputs}
        for part, own, rows in zip(self._parts, parameters, sums, strict=True):
            values |= part.executable.parameter_outputs(inputs, own, rows, sampled, np.dtype(np.float64))
        return closing_outputs(self.program, self._closing, values, dtype)


def _made_before(one: Pass, given: set[str]) -> frozenset[str]:
    """The inputs of a pass that the whole Program is not given."""
    return frozenset(v.name for v in one.program.batched_inputs if v.name not in given)


def _held(program: Program, of: tuple[Pass, ...]) -> list[dict[str, Value]]:
    """For each pass what earlier ones, or exchanges, have made and it or later ones read, or what is a result."""
    reads = [{*(v.name for v in p.program.inputs), *(e.source for e in p.exchanges)} for p in of]
    later = list(accumulate(reversed(reads), set.union, initial=set(program.output_names.values())))[::-1]
    made: dict[str, Value] = {}
    held = []
    for number, one in enumerate(of):
        made |= {e.target.name: e.target for e in one.exchanges}
        needed = later[number + 1] | {v.name for v in one.program.inputs}
        held.append({name: value for name, value in made.items() if name in needed})
        outputs = map(one.program.output, one.program.output_names)
        made |= {value.name: value for value in outputs if value.space != "param"}
    return held
