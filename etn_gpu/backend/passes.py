"""Programs with gathers: their passes one after the other, and what is exchanged between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.geometry import Geometry
from etn_gpu.backend.parameters import closing_outputs
from etn_gpu.errors import BackendError
from etn_gpu.plan.passes import passes
from etn_gpu.plan.program import Program

Array = NDArray[np.floating]
Inputs = Mapping[str, Array]
#: Executes a Program without gathers; its outputs lie in a memory, ``memory=``.
Execute = Callable[..., dict[str, Array]]


def run_passes(
    program: Program, inputs: Inputs, geometry: Geometry, execute: Execute, dtype: np.dtype, threads: int | None = None
) -> dict[str, Array]:
    """The outputs of ``program``; see :func:`etn_gpu.backend.run`.

    Raises:
        BackendError: the geometry does not know the neighbours.
    """
    from etn_gpu.backend.cpu.exchanges import gather, sum_reverse
    from etn_gpu.backend.cpu.memory_pool import memory

    split = passes(program)
    neighbour, reverse = geometry.neighbours()
    values: dict[str, Array] = dict(inputs)
    with memory() as room:
        for one in split.passes:
            for exchange in one.exchanges:
                source, target = values[exchange.source], exchange.target
                shape = (geometry.count(target.space), target.size)
                found = values[target.name] = room.empty(shape, source.dtype)
                if exchange.back:
                    sum_reverse(source, reverse, geometry.edge_offsets, found, threads)
                else:
                    gather(source, neighbour, found, threads)
            values |= execute(one.program, values, memory=room)
        results = closing_outputs(program, split.closing, values, dtype)
        for name, value in program.outputs:
            if program.values[value].space != "param":
                results[name] = values[value].copy()
    return results


def check_gathers(geometry: Geometry, samples: NDArray[np.int64] | None) -> None:
    """That the neighbours of all atoms are there, each in the sample of its atom.

    Raises:
        BackendError: they are not.
    """
    neighbour, _ = geometry.neighbours()
    if samples is None:
        return
    sample_of = np.repeat(np.arange(len(samples) - 1), np.diff(samples))
    centre = np.repeat(sample_of, np.diff(geometry.edge_offsets))
    if np.any(sample_of[neighbour] != centre):
        raise BackendError(
            "an edge leads to an atom of another sample: samples must hold the neighbours of their atoms"
        )
