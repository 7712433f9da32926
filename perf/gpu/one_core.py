"""One core of the host beside the GPU: the same evaluation by the backend numba, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from gpu.crystals import CUTOFF, bcc
from gpu.models import model
from gpu.packages import obstacle
from gpu.section import Bench, Case, Row, Section
from gpu.throughput import headline

from etn_gpu import backend
from etn_gpu.backend import Geometry
from etn_gpu.structures import geometry as arrays

REPEATS = 3


def cases(bench: Bench) -> Iterator[Case]:
    """Both precisions."""
    for dtype in bench.sizes.dtypes:
        yield Case(dtype, partial(_rate, bench, dtype))


SECTION = Section("one_core", "One core of the host, preset standard: energies, forces and stress", cases, until=0.96)


def _rate(bench: Bench, dtype: str) -> Row:
    """Microseconds of processor time per atom of the list and of the evaluation, and the GPU's rate over the core's."""
    if reason := obstacle("numba"):
        return {"not_run": reason}
    from etn_gpu.backend.cpu.edge_sums import sum_edges
    from etn_gpu.structures.neighbours import neighbour_list

    structures, chosen = bcc(bench.rng(), (bench.sizes.core_cells,) * 3), model(bench.sizes.presets[0], bench.seed)
    n_atoms = structures.n_atoms
    numbers = np.zeros(n_atoms, np.int64)  # the search does not look at them
    of_host = arrays.StructureArrays(
        structures.atom_offsets, numbers, structures.positions, structures.cells, structures.pbc
    )
    edges = neighbour_list(of_host, structures.species, CUTOFF)
    geometry = Geometry(edges.offsets, structures.species, structures.species[edges.neighbour])
    inputs = {"x": edges.vectors, "e_bar": np.ones((n_atoms, 1)), **chosen.parameters}
    forces, virials = np.empty((n_atoms, 3)), np.empty((n_atoms, 6))

    def evaluate() -> None:
        found = backend.run(
            chosen.programs.gradient, inputs, geometry, backend="numba", dtype=np.dtype(dtype), threads=1
        )
        sum_edges(found["g"], edges.vectors, edges.reverse, edges.offsets, forces, virials, threads=1)

    listed = _least(lambda: neighbour_list(of_host, structures.species, CUTOFF)) / n_atoms
    evaluated = _least(evaluate) / n_atoms
    row: Row = {"atoms": n_atoms, "list_us": 1e6 * listed, "evaluation_us": 1e6 * evaluated}
    gpu = headline(bench)
    if dtype == bench.sizes.dtypes[0] and "atoms_per_second" in gpu:
        row["gpu_over_core"] = gpu["atoms_per_second"] * (listed + evaluated)
        row["gpu_over_core_without_list"] = gpu["without_list"] * evaluated
    return row


def _least(function: Callable[[], object]) -> float:
    """Least seconds of processor time after one warm-up, which compiles."""
    function()
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)
