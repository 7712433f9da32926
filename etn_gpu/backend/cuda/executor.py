"""Programs on a device, compiled once, and run as on any other backend on arrays of the host."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import CupyDevice, Device
from etn_gpu.backend.cuda.executable import DeviceGeometry, Executable
from etn_gpu.backend.cuda.passes import DevicePasses
from etn_gpu.backend.cuda.program import DeviceProgram
from etn_gpu.backend.cuda.slots import Slots
from etn_gpu.backend.geometry import Geometry
from etn_gpu.plan.program import Program

Array = NDArray[np.floating]


@lru_cache(maxsize=1)
def default_device() -> CupyDevice:
    """The GPU that programs run on unless told otherwise.

    Raises:
        BackendError: there is none that can be used.
    """
    return CupyDevice()


@lru_cache(maxsize=64)
def compiled(device: Device, program: Program, dtype: np.dtype) -> Executable:
    """``program`` on a device, compiled once.

    Raises:
        BackendError: a Program that cannot be lowered, or kernels that do not compile.
    """
    return DevicePasses(device, program, dtype) if program.gathers else DeviceProgram(device, program, dtype)


def run(
    program: Program,
    inputs: Mapping[str, Array],
    geometry: Geometry,
    *,
    dtype: np.dtype,
    samples: NDArray[np.int64] | None = None,
    device: Device | None = None,
) -> dict[str, Array]:
    """Execute ``program`` on arrays of the host; see :func:`etn_gpu.backend.run`."""
    device = device or default_device()
    executable = compiled(device, program, dtype)
    whole = np.array([0, geometry.n_atoms], np.int64)
    parts = np.asarray(samples, np.int64) if samples is not None else whole
    neighbours = geometry.neighbours() if program.gathers else ()
    on_device = DeviceGeometry(
        device.to_device(geometry.edge_offsets),
        device.to_device(geometry.edge_species),
        Slots.of_samples(device, geometry.species, parts),
        *map(device.to_device, neighbours),
    )
    parameters = executable.parameters(inputs)
    given = {v.name: device.to_device(np.asarray(inputs[v.name], np.float64)) for v in program.batched_inputs}
    outputs, sums = executable.run(parameters, given, on_device)
    results = {name: device.to_host(array) for name, array in outputs.items()}
    return results | executable.parameter_outputs(inputs, parameters, sums, samples is not None, dtype)
