"""The compiled interpreter: walks through the tables, block of atoms by block of atoms, shared among threads."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.np.ufunc import get_thread_id

from etn_gpu.backend.cpu import kernels
from etn_gpu.backend.cpu.emit import (
    ADD,
    CONSTANT,
    COUPLE,
    EDGE_SPREAD,
    EDGE_SUM,
    LOAD_ATOM,
    LOAD_EDGE,
    MIX,
    MIX_WEIGHTS,
    ON_EDGES,
    RADIAL,
    STORE_ATOM,
    STORE_EDGE,
    ZERO,
)

_jit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _instruction(
    c: Any, scale: float, constants: Any, groups: Any, entries: Any, values: Any, params: Any, gradient: Any,
    atoms: Any, width: int, edges: Any, edge_width: int, used: int, runs: Any, n_runs: int,
    present: Any, masks: Any, lanes: int,
) -> None:  # fmt: skip
    """Execute one instruction on the rows of a block (and, in an edge phase, on the edges in the lanes)."""
    op = c[0]
    if op == ZERO:
        if c[1] == ON_EDGES:
            edges[c[2] * edge_width : (c[2] + c[3]) * edge_width] = 0.0
        else:
            atoms[c[2] * width : (c[2] + c[3]) * width] = 0.0
    elif op == COUPLE:
        rows, w, n = (edges, edge_width, used) if c[1] == ON_EDGES else (atoms, width, width)
        kernels.couple(
            rows, c[2], rows, c[3], rows, c[4], w, lanes, n,
            c[5:8], c[8:17], groups, entries, values, c[17], c[18], scale,
        )  # fmt: skip
    elif op == MIX:
        length = c[5] * width
        if c[9] == 0:
            kernels.mix(atoms, c[1] * width, c[2], c[3] * width, c[4], length, params, c[6], c[7], c[8], scale, lanes)
        else:
            for t in range(len(present)):
                if present[t]:
                    source = _masked(atoms, c[3], c[4] * c[5], c[10], width, masks, present, t, lanes)
                    w = c[6] + t * c[9]
                    kernels.mix(
                        atoms, c[1] * width, c[2], source * width, c[4], length, params, w, c[7], c[8], scale, lanes
                    )
    elif op == MIX_WEIGHTS:
        length = c[5] * width
        if c[8] == 0:
            kernels.mix_weights(
                atoms, c[1] * width, c[2], c[3] * width, c[4], length, gradient, c[6], c[7], scale, lanes
            )
        else:
            for t in range(len(present)):
                if present[t]:
                    target = _masked(atoms, c[1], c[2] * c[5], c[9], width, masks, present, t, lanes)
                    w = c[6] + t * c[8]
                    kernels.mix_weights(
                        atoms, target * width, c[2], c[3] * width, c[4], length, gradient, w, c[7], scale, lanes
                    )
    elif op == EDGE_SUM:
        kernels.edge_sum(atoms, c[1], width, edges, c[2], c[3], c[4], c[5], edge_width, runs, n_runs, scale, lanes)
    elif op == EDGE_SPREAD:
        kernels.edge_spread(
            atoms, c[1], width, edges, c[2], c[3], c[4], c[5], c[6], c[7], c[8], edge_width, runs, n_runs, scale, lanes
        )  # fmt: skip
    elif op == RADIAL:
        cutoff, inner = constants[c[7]], constants[c[7] + 1]
        kernels.radial(edges, c[1], c[2], c[3], c[4], c[5], cutoff, inner, edge_width, used, c[6], scale, lanes)
    elif op == ADD:
        if c[1] == ON_EDGES:
            kernels.add_rows(edges, c[2] * edge_width, edges, c[3] * edge_width, c[4] * edge_width, scale, lanes)
        else:
            kernels.add_rows(atoms, c[2] * width, atoms, c[3] * width, c[4] * width, scale, lanes)


@_jit
def _masked(
    atoms: Any, row: int, count: int, scratch: int, width: int, masks: Any, present: Any, species: int, lanes: int
) -> int:
    """Rows with the lanes of other species set to zero; the rows themselves where the block has only one species."""
    if present.sum() == 1:
        return row
    kernels.mask_rows(atoms, scratch, row, count, width, masks, species * width, lanes)
    return scratch


@_jit
def _load_edges(
    member: int, e: int, members: Any, edge_offsets: Any, edge_species: Any, edge_width: int, lanes: int,
    lane_of: Any, runs: Any,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Fill the lanes from edge ``e`` of ``members[member]`` on; return (next member, its next edge, runs, used lanes).

    A run holds edges of one atom and one species and starts at a new vector register: (species, first lane, end, place
    of the atom).
    """
    n_runs, lane = 0, 0
    while member < len(members) and lane < edge_width:
        end = edge_offsets[members[member] + 1]
        if e == end:
            member += 1
            if member < len(members):
                e = edge_offsets[members[member]]
            continue
        species = edge_species[e]
        first = lane
        while e < end and edge_species[e] == species and lane < edge_width:
            lane_of[lane] = e
            lane += 1
            e += 1
        while lane % lanes:
            lane_of[lane] = -1
            lane += 1
        runs[n_runs, 0], runs[n_runs, 1], runs[n_runs, 2], runs[n_runs, 3] = species, first, lane, member
        n_runs += 1
    return member, e, n_runs, lane


@_jit
def _edge_phase(
    code: Any, scales: Any, first: int, last: int, constants: Any, groups: Any, entries: Any, values: Any,
    params: Any, gradient: Any, atoms: Any, width: int, edges: Any, edge_width: int, members: Any, edge_offsets: Any,
    edge_species: Any, edge_in: Any, edge_out: Any, lane_of: Any, runs: Any, present: Any, masks: Any, lanes: int,
) -> None:  # fmt: skip
    """All instructions of an edge phase for the edges of a block, ``edge_width`` lanes at a time."""
    member, e = 0, edge_offsets[members[0]]
    while True:
        member, e, n_runs, used = _load_edges(
            member, e, members, edge_offsets, edge_species, edge_width, lanes, lane_of, runs
        )
        if used == 0:
            return
        for i in range(first, last):
            c = code[i]
            if c[0] == LOAD_EDGE:
                for k in range(c[2]):
                    row = (c[1] + k) * edge_width
                    for v in range(used):
                        edge = lane_of[v]
                        edges[row + v] = edge_in[edge, c[3] + k] if edge >= 0 else 0.0
            elif c[0] == STORE_EDGE:
                for v in range(used):
                    edge = lane_of[v]
                    if edge >= 0:
                        for k in range(c[2]):
                            edge_out[edge, c[3] + k] = edges[(c[1] + k) * edge_width + v]
            elif c[0] == CONSTANT:
                for k in range(c[2]):
                    row = (c[1] + k) * edge_width
                    for v in range(used):
                        if lane_of[v] >= 0:
                            edges[row + v] += scales[i]
            else:
                _instruction(
                    c, scales[i], constants, groups, entries, values, params, gradient, atoms, width,
                    edges, edge_width, used, runs, n_runs, present, masks, lanes,
                )  # fmt: skip


@_jit
def _block(
    code: Any, scales: Any, phases: Any, constants: Any, groups: Any, entries: Any, values: Any,
    params: Any, gradient: Any, atoms: Any, width: int, edges: Any, edge_width: int,
    members: Any, species: Any, n_species: int,
    edge_offsets: Any, edge_species: Any, edge_in: Any, edge_out: Any, atom_in: Any, atom_out: Any, lanes: int,
) -> None:  # fmt: skip
    """All phases for the atoms ``members`` (at most ``width``)."""
    n = len(members)
    masks = np.zeros(n_species * width, atoms.dtype)
    present = np.zeros(n_species, np.int64)
    for k in range(n):
        t = species[members[k]]
        present[t] = 1
        masks[t * width + k] = 1.0
    lane_of = np.empty(edge_width + lanes, np.int64)
    runs = np.empty((edge_width // lanes + 1, 4), np.int64)
    for p in range(len(phases)):
        first, last = phases[p, 1], phases[p, 2]
        if phases[p, 0] == ON_EDGES:
            if first == last:
                continue
            _edge_phase(
                code, scales, first, last, constants, groups, entries, values, params, gradient, atoms, width,
                edges, edge_width, members, edge_offsets, edge_species, edge_in, edge_out, lane_of, runs,
                present, masks, lanes,
            )  # fmt: skip
            continue
        for i in range(first, last):
            c = code[i]
            if c[0] == LOAD_ATOM:
                for k in range(c[2]):
                    row = (c[1] + k) * width
                    for v in range(width):
                        atoms[row + v] = atom_in[members[v], c[3] + k] if v < n else 0.0
            elif c[0] == STORE_ATOM:
                for v in range(n):
                    for k in range(c[2]):
                        atom_out[members[v], c[3] + k] = atoms[(c[1] + k) * width + v]
            elif c[0] == CONSTANT:
                for k in range(c[2]):
                    row = (c[1] + k) * width
                    atoms[row : row + n] += scales[i]
            else:
                _instruction(
                    c, scales[i], constants, groups, entries, values, params, gradient, atoms, width,
                    edges, edge_width, 0, runs, 0, present, masks, lanes,
                )  # fmt: skip


_parallel: Any = numba.njit(cache=True, parallel=True, nogil=True, error_model="numpy")


@_parallel
def execute(
    code: Any, scales: Any, phases: Any, constants: Any, groups: Any, entries: Any, values: Any,
    params: Any, gradients: Any, chunk_offsets: Any, block_offsets: Any, order: Any, species: Any, n_species: int,
    edge_offsets: Any, edge_species: Any, edge_in: Any, edge_out: Any, atom_in: Any, atom_out: Any,
    atom_space: Any, edge_space: Any, width: int, edge_width: int, lanes: int,
) -> None:  # fmt: skip
    """Chunk c runs its blocks one after the other into ``gradients[c]``: results do not depend on the threads."""
    for chunk in numba.prange(len(chunk_offsets) - 1):
        thread = get_thread_id()
        for b in range(chunk_offsets[chunk], chunk_offsets[chunk + 1]):
            _block(
                code, scales, phases, constants, groups, entries, values, params, gradients[chunk],
                atom_space[thread], width, edge_space[thread], edge_width,
                order[block_offsets[b] : block_offsets[b + 1]], species, n_species,
                edge_offsets, edge_species, edge_in, edge_out, atom_in, atom_out, lanes,
            )  # fmt: skip
