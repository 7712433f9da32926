"""The numba executor: lowers a Program once, lays the inputs out and runs the compiled loop over blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.columns import Columns, total
from etn_gpu.backend.constants import Constants
from etn_gpu.backend.cpu.blocks import blocks
from etn_gpu.backend.cpu.compiling import compiling
from etn_gpu.backend.cpu.driver import execute
from etn_gpu.backend.cpu.edges import EDGE_WIDTH
from etn_gpu.backend.cpu.ir import BYTES
from etn_gpu.backend.cpu.jit import Library, object_code
from etn_gpu.backend.cpu.lowering import VECTORS, Lowered, lower, phase_name
from etn_gpu.backend.cpu.memory_pool import Memory
from etn_gpu.backend.cpu.threads import share, workers
from etn_gpu.backend.cpu.workspaces import Workspaces
from etn_gpu.backend.geometry import Geometry, nearest_neighbours, pairs_of_edges
from etn_gpu.backend.parameters import fold, parameter_outputs
from etn_gpu.backend.phases import merges_neighbours
from etn_gpu.plan.operations import Nearest, PairTable
from etn_gpu.plan.program import Program

Array = NDArray[np.floating]


@dataclass(frozen=True)
class _Compiled:
    """A lowered Program with its machine code and the tables of the driver (see :func:`driver.execute`)."""

    lowered: Lowered
    library: Library
    phases: NDArray[np.int64]
    loads: NDArray[np.int64]
    stores: NDArray[np.int64]
    merges_neighbours: bool
    workspaces: Workspaces


@lru_cache(maxsize=8)
def lowered(program: Program, dtype: str) -> Lowered:
    """The Program as a module of LLVM."""
    return lower(program, np.dtype(dtype))


@dataclass
class _Slot:
    """A place for a compiled Program, which is found without a lock."""

    content: _Compiled | None = None


@lru_cache(maxsize=64)
def _slot(program: Program, dtype: str) -> _Slot:
    return _Slot()


def _compiled(program: Program, dtype: str) -> _Compiled:
    """``program`` as machine code, made once whatever number of threads ask for it."""
    if (found := _slot(program, dtype).content) is None:
        with compiling:
            slot = _slot(program, dtype)  # the one that stays, if two threads have just made one
            found = slot.content = slot.content or _compile(program, dtype)
    return found


def is_loaded(program: Program, dtype: str) -> bool:
    """Whether an execution of the Program need not compile any more."""
    return _slot(program, dtype).content is not None


def _compile(program: Program, dtype: str) -> _Compiled:
    tables = lowered(program, dtype)
    library = Library(object_code(tables.text))
    addresses = library.addresses([phase_name(k) for k in range(len(tables.kinds))])
    (load_cuts, loads), (store_cuts, stores) = (
        _table([getattr(t, name) for t in tables.transfers]) for name in ("loads", "stores")
    )
    columns = (addresses, tables.kinds, load_cuts[:-1], load_cuts[1:], store_cuts[:-1], store_cuts[1:])
    phases = np.array(columns, np.int64).T.copy()
    workspaces = Workspaces(tables, np.dtype(dtype))
    return _Compiled(tables, library, phases, loads, stores, merges_neighbours(program), workspaces)


def _table(entries: Sequence[tuple[tuple[int, int, int], ...]]) -> tuple[list[int], NDArray[np.int64]]:
    """Where the entries of each phase begin and end, and all of them one after the other."""
    cuts = [0, *accumulate(map(len, entries))]
    return cuts, np.array([row for phase in entries for row in phase], np.int64).reshape(-1, 3)


@dataclass(frozen=True)
class _Bound:
    """A compiled Program with its parameters, folded, and the numbers of pairs of species: all without structures."""

    compiled: _Compiled
    parameters: Array
    pairs: Array
    edge_columns: Columns


def _bind(program: Program, inputs: Mapping[str, Array], dtype: np.dtype) -> _Bound:
    compiled = _compiled(program, dtype.name)
    parameters = fold(program, compiled.lowered.parameters, inputs, dtype)
    tables = compiled.lowered
    paired = {step.out.name for step in tables.pairs}
    edge_columns = {name: place for name, place in tables.inputs["edge"].items() if name not in paired}
    return _Bound(compiled, parameters, _numbers_of_pairs(tables, parameters), edge_columns)


def run(
    program: Program,
    inputs: Mapping[str, Array],
    geometry: Geometry,
    *,
    dtype: np.dtype,
    samples: NDArray[np.int64] | None = None,
    threads: int | None = None,
    constants: Constants | None = None,
    memory: Memory | None = None,
) -> dict[str, Array]:
    """Execute ``program``; see :func:`etn_gpu.backend.run`. Results do not depend on the number of threads.

    With ``memory`` outputs on edges and atoms are columns of arrays in it.
    """
    empty = np.empty if memory is None else memory.empty
    if constants is None:
        bound = _bind(program, inputs, dtype)
    else:
        bound = constants.derived((_bind, program, dtype), lambda: _bind(program, constants, dtype))
    compiled, tables, parameters = bound.compiled, bound.compiled.lowered, bound.parameters
    lanes = BYTES // dtype.itemsize
    width = lanes * VECTORS
    # Inputs stay float64 until they are staged: edge vectors lose no digits before the cast.
    on_edges = {**inputs, **_nearest(tables, parameters, geometry, inputs)} if tables.nearest else inputs
    edge_in = _gather(bound.edge_columns, on_edges, geometry.n_edges, empty)
    pairs = _pairs(tables, geometry)
    edge_species = np.zeros_like(geometry.edge_species) if compiled.merges_neighbours else geometry.edge_species
    cut = blocks(geometry.species, edge_species, geometry.edge_offsets, samples, width, bool(tables.gradients))
    atom_in = _gather(tables.inputs["atom"], inputs, geometry.n_atoms, empty)
    in_width, out_width = edge_in.shape[1] + bound.pairs.shape[1], total(tables.outputs["edge"])
    edge_out = empty((geometry.n_edges, out_width), dtype)
    atom_out = empty((geometry.n_atoms, total(tables.outputs["atom"])), dtype)
    n_chunks = len(cut.chunks) - 1
    gradients = np.zeros((n_chunks, total(tables.gradients)))
    used = workers(threads, n_chunks)
    workspace = compiled.workspaces.take(used, cut.n_species, cut.most_edges)
    share(
        execute, used,
        compiled.phases, compiled.loads, compiled.stores,
        parameters, gradients, cut.chunks, cut.offsets, cut.order, geometry.species, cut.n_species,
        geometry.edge_offsets, edge_species, edge_in.ravel(), pairs, bound.pairs,
        edge_out.ravel(), out_width,
        atom_in, atom_out,
        *workspace.arrays,
        lanes, width, EDGE_WIDTH, in_width,
    )  # fmt: skip
    compiled.workspaces.give(workspace)
    results: dict[str, Array] = {}
    if program.has_parameter_outputs:
        sums = gradients.sum(axis=0) if samples is None else gradients
        results = parameter_outputs(program, tables.parameters, parameters, tables.gradients, sums, dtype)
    for space, columns in (("edge", edge_out), ("atom", atom_out)):
        for name, (offset, size) in tables.outputs[space].items():
            part = columns[:, offset : offset + size]
            results[name] = np.ascontiguousarray(part) if memory is None else part
    return results


def _gather(
    columns: Columns, inputs: Mapping[str, Array], count: int, empty: Callable[[tuple[int, int]], Array]
) -> Array:
    """Inputs side by side [count, total]; a single input that already fits is not copied."""
    if len(columns) == 1:
        (name,) = columns
        return np.ascontiguousarray(inputs[name], np.float64)
    out = empty((count, total(columns)))
    for name, (offset, size) in columns.items():
        out[:, offset : offset + size] = inputs[name]
    return out


def _nearest(tables: Lowered, parameters: Array, geometry: Geometry, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Marks of nearest neighbours [E, 1] by name."""
    found: dict[str, Array] = {}
    for step in tables.nearest:
        marks = np.zeros((geometry.n_edges, 1))
        for term in step.terms:
            assert isinstance(term.operation, Nearest)
            x, w = term.operands
            offset, size = tables.parameters[w]
            numbers = parameters[offset : offset + size]
            vectors = np.asarray(inputs[x], np.float64)
            marks[:, 0] += term.scale * nearest_neighbours(geometry, term.operation.n_species, vectors, numbers)
        found[step.out.name] = marks
    return found


def _numbers_of_pairs(tables: Lowered, parameters: Array) -> Array:
    """All numbers of each pair of species, side by side as the edge inputs are."""
    columns = []
    for step in tables.pairs:
        numbers: Array = np.zeros(())
        for term in step.terms:
            offset, size = tables.parameters[term.operands[0]]
            numbers = numbers + term.scale * parameters[offset : offset + size].reshape(-1, step.out.size)
        columns.append(numbers)
    return np.concatenate(columns, axis=1, dtype=np.float64) if columns else np.zeros((1, 0))


def _pairs(tables: Lowered, geometry: Geometry) -> NDArray[np.int64]:
    """The pair of species of each edge [E], if their numbers are asked for."""
    if not tables.pairs:
        return np.zeros(0, np.int64)
    operation = tables.pairs[-1].terms[-1].operation
    assert isinstance(operation, PairTable)
    return pairs_of_edges(geometry, operation.n_species)
