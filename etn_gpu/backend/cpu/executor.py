"""The numba executor: lowers a Program once, lays the inputs out and runs the compiled interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend import numpy_backend
from etn_gpu.backend.cpu.interpreter import execute
from etn_gpu.backend.cpu.simd import lanes
from etn_gpu.backend.cpu.tables import Columns, Tables, lower
from etn_gpu.backend.geometry import Geometry
from etn_gpu.plan.program import Program, Step

Array = NDArray[np.floating]
numba_config: Any = numba.config
EDGE_WIDTH = 128
MAX_WIDTH = 32
CHUNKS = 64


def run(
    program: Program,
    inputs: Mapping[str, Array],
    geometry: Geometry,
    *,
    dtype: np.dtype,
    samples: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> dict[str, Array]:
    """Execute ``program``; see :func:`etn_gpu.backend.run`. Results do not depend on the number of threads."""
    dtype = np.dtype(dtype)
    tables = lower(program)
    given = [np.asarray(inputs[v.name], np.float64).ravel() for v in program.inputs if v.space == "param"]
    parameters = _parameters(program, dtype.name, np.concatenate(given).tobytes() if given else b"")
    width, order, block_offsets, chunk_offsets = _blocks(geometry, samples, lanes(dtype), bool(tables.gradients))
    n_species = max(int(geometry.species.max(initial=0)), int(geometry.edge_species.max(initial=0))) + 1
    edge_in = _gather(tables.inputs["edge"], inputs, geometry.n_edges, dtype)
    atom_in = _gather(tables.inputs["atom"], inputs, geometry.n_atoms, dtype)
    edge_out = np.empty((geometry.n_edges, _total(tables.outputs["edge"])), dtype)
    atom_out = np.empty((geometry.n_atoms, _total(tables.outputs["atom"])), dtype)
    gradients = np.zeros((len(chunk_offsets) - 1, _total(tables.gradients)))
    most: int = numba_config.NUMBA_NUM_THREADS
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads or most, most))
    try:
        used = numba.get_num_threads()
        atom_space = np.empty((used, tables.atom_rows * width), dtype)
        edge_space = np.empty((used, tables.edge_rows * EDGE_WIDTH), dtype)
        execute(
            tables.code, tables.scales, tables.phases, tables.constants, tables.groups, tables.entries, tables.values,
            parameters, gradients, chunk_offsets, block_offsets, order, geometry.species, n_species,
            geometry.edge_offsets, geometry.edge_species,
            edge_in, edge_out, atom_in, atom_out, atom_space, edge_space, width, EDGE_WIDTH, lanes(dtype),
        )  # fmt: skip
    finally:
        numba.set_num_threads(before)
    if samples is None:
        gradients = gradients.sum(axis=0)
    return _outputs(program, tables, parameters, edge_out, atom_out, gradients, dtype)


@lru_cache(maxsize=16)
def _parameters(program: Program, dtype: str, given: bytes) -> Array:
    """All parameters, given (float64, in the order of the inputs) and folded, in one flat array.

    Folding takes a millisecond or two: for a small structure longer than everything else, so a model is folded once.
    """
    tables = lower(program)
    values: dict[str, Array] = {}
    rest = np.frombuffer(given)
    for v in program.inputs:
        if v.space == "param":
            values[v.name], rest = rest[: v.size], rest[v.size :]
    _run_parameter_steps(tables.before, values, ())
    flat = np.empty(_total(tables.parameters), dtype)
    for name, (offset, size) in tables.parameters.items():
        flat[offset : offset + size] = values[name]
    flat.flags.writeable = False
    return flat


def _run_parameter_steps(steps: tuple[Step, ...], values: dict[str, Array], lead: tuple[int, ...]) -> None:
    """Add the values of ``steps`` to ``values``; ``lead`` is (samples,) after a sum over atoms sample by sample."""
    for step in steps:
        out = np.zeros((*lead, step.out.size))
        for term in step.terms:
            at = [values[name] for name in term.operands]
            at.insert(term.slot, out)
            numpy_backend.apply_parameter_term(term, at)
        values[step.out.name] = out


def _blocks(
    geometry: Geometry, samples: NDArray[np.int64] | None, lane_count: int, summed: bool
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Lanes per block, atoms in block order (by species), offsets of the blocks in it and of chunks in the blocks."""
    n = geometry.n_atoms
    width = MAX_WIDTH if lane_count <= 8 else 2 * MAX_WIDTH
    if samples is not None:
        sizes = np.diff(samples)
        typical = int(sizes.max(initial=1))
        width = int(min(width, -(-typical // lane_count) * lane_count))
        sample_of = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((geometry.species, sample_of))
        per_sample = -(-sizes // width)
        chunk_offsets = np.concatenate(([0], np.cumsum(per_sample)))
        starts = np.repeat(samples[:-1], per_sample) + width * (
            np.arange(chunk_offsets[-1]) - np.repeat(chunk_offsets[:-1], per_sample)
        )
        return width, order, np.append(starts, n).astype(np.int64), chunk_offsets.astype(np.int64)
    order = np.argsort(geometry.species, kind="stable")
    n_blocks = -(-n // width)
    block_offsets = np.minimum(np.arange(n_blocks + 1) * width, n)
    n_chunks = min(n_blocks, CHUNKS) if summed else n_blocks
    chunk_offsets = (np.arange(n_chunks + 1) * n_blocks) // max(n_chunks, 1)
    return width, order, block_offsets.astype(np.int64), chunk_offsets.astype(np.int64)


def _total(columns: Columns) -> int:
    return sum(size for _, size in columns.values())


def _gather(columns: Columns, inputs: Mapping[str, Array], count: int, dtype: np.dtype) -> Array:
    """Inputs side by side [count, total]; a single input that already fits is not copied."""
    if len(columns) == 1:
        (name,) = columns
        return np.ascontiguousarray(inputs[name], dtype)
    out = np.empty((count, _total(columns)), dtype)
    for name, (offset, size) in columns.items():
        out[:, offset : offset + size] = inputs[name]
    return out


def _outputs(
    program: Program,
    tables: Tables,
    parameters: Array,
    edge_out: Array,
    atom_out: Array,
    gradients: Array,
    dtype: np.dtype,
) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for name, (offset, size) in tables.parameters.items():
        values[name] = parameters[offset : offset + size].astype(np.float64)
    for name, (offset, size) in tables.gradients.items():
        values[name] = gradients[..., offset : offset + size]
    _run_parameter_steps(tables.after, values, gradients.shape[:-1])
    results = {}
    for name, value in program.outputs:
        space = program.values[value].space
        if space == "param":
            shape = (*gradients.shape[:-1], program.values[value].size)
            results[name] = np.broadcast_to(values[value], shape).astype(dtype)
        else:
            offset, size = tables.outputs[space][name]
            source = edge_out if space == "edge" else atom_out
            results[name] = np.ascontiguousarray(source[:, offset : offset + size])
    return results
