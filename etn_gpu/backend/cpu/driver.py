"""The compiled loop over blocks: loads inputs into lanes, calls the phase functions, stores outputs."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from etn_gpu.backend.cpu.loops import compiled, intrinsic, take


@intrinsic
def _call(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the function at ``address`` with a tuple of 64-bit integers (addresses and numbers)."""
    count = len(arguments)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word] * count)
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [builder.extract_value(args[1], k) for k in range(count)])
        return context.get_dummy_value()

    return types.void(types.intp, types.UniTuple(types.intp, count)), codegen


@compiled
def _cut(
    members: Any, edge_offsets: Any, edge_species: Any, pieces: Any, runs: Any, stretches: Any, edge_width: int
) -> int:
    """Cut the edges of a block into stretches of at most ``edge_width`` lanes; returns their number.

    A run (species, first lane, end, place of the atom, cut before, cut behind) holds edges of one atom and species, a
    piece (first edge, first lane, end) edges of one atom, and a stretch (first run, end, first piece, end, lanes in
    use) both. Where a stretch is full, what would have been one run is cut into two.
    """
    n_stretches, n_runs, n_pieces, lane = 0, 0, 0, 0
    first_run, first_piece = 0, 0
    for place in range(len(members)):
        begin, end = edge_offsets[members[place]], edge_offsets[members[place] + 1]
        e = begin
        while e < end:
            if lane == edge_width:
                _close(stretches[n_stretches], first_run, n_runs, first_piece, n_pieces, lane)
                n_stretches, first_run, first_piece, lane = n_stretches + 1, n_runs, n_pieces, 0
            last = min(end, e + edge_width - lane)
            pieces[n_pieces, 0], pieces[n_pieces, 1], pieces[n_pieces, 2] = e, lane, lane + last - e
            n_pieces += 1
            while e < last:
                species, first = edge_species[e], e
                e += 1
                while e < last and edge_species[e] == species:
                    e += 1
                runs[n_runs, 0], runs[n_runs, 1] = species, lane
                lane += e - first
                runs[n_runs, 2], runs[n_runs, 3] = lane, place
                runs[n_runs, 4] = first > begin and edge_species[first - 1] == species
                runs[n_runs, 5] = e < end and edge_species[e] == species
                n_runs += 1
    if lane:
        _close(stretches[n_stretches], first_run, n_runs, first_piece, n_pieces, lane)
        n_stretches += 1
    return n_stretches


@compiled
def _neighbours(runs: Any, n_runs: int, near: Any) -> int:
    """The species of the edges of a block in ascending order, at least one, into ``near``; returns their number."""
    near[:] = 0
    for r in range(n_runs):
        near[runs[r, 0]] = 1
    count = 0
    for species in range(len(near)):
        if near[species]:
            near[count] = species
            count += 1
    return max(count, 1)


@compiled
def _close(stretch: Any, first_run: int, n_runs: int, first_piece: int, n_pieces: int, used: int) -> None:
    stretch[0], stretch[1], stretch[2], stretch[3], stretch[4] = first_run, n_runs, first_piece, n_pieces, used


@compiled
def _copy(source: Any, first: int, target: Any, at: int, count: int) -> None:
    """``count`` numbers; slices, because loops over their lengths become vector instructions."""
    read, write = source[first : first + count], target[at : at + count]
    for k in range(len(write)):
        write[k] = read[k]


@compiled
def _stage(
    edge_in: Any, pairs: Any, pair_in: Any, stage_in: Any, load: int, pieces: Any, stretches: Any, n_stretches: int,
    edge_width: int,
) -> None:  # fmt: skip
    """The inputs of all edges of a block, ``load`` columns: stretch s begins at lane ``s edge_width``.

    The last columns are those of ``pair_in`` [pairs, columns] for the pair of species of the edge.
    """
    paired = pair_in.shape[1]
    given = load - paired
    numbers = pair_in.ravel()
    for s in range(n_stretches):
        for p in range(stretches[s, 2], stretches[s, 3]):
            edge, first, end = pieces[p, 0], pieces[p, 1], pieces[p, 2]
            at = (s * edge_width + first) * load
            if not paired:
                _copy(edge_in, edge * load, stage_in, at, (end - first) * load)
                continue
            for e in range(edge, edge + end - first):
                for k in range(given):
                    stage_in[at + k] = edge_in[e * given + k]
                pair = pairs[e] * paired
                for k in range(paired):
                    stage_in[at + given + k] = numbers[pair + k]
                at += load


@compiled
def _edge_phase(
    address: int, arguments: Any, load: int, store: int, column: int, columns: int, stage_out: Any,
    lanes: int, edge_out: Any, pieces: Any, runs: Any, stretches: Any, n_stretches: int,
) -> None:  # fmt: skip
    """One phase for all edges of a block, stretch by stretch.

    ``load`` is what the staged inputs advance from stretch to stretch, in bytes; ``store`` columns go to column
    ``column`` of ``edge_out`` [E, columns].
    """
    params, gradient, atoms, tiles, work, come, go, _, _, _, present, n_present, near, n_near, masks, valid = arguments
    for s in range(n_stretches):
        groups = (stretches[s, 4] + lanes - 1) // lanes
        n_runs = stretches[s, 1] - stretches[s, 0]
        run_at = runs.ctypes.data + stretches[s, 0] * runs.shape[1] * runs.itemsize
        _call(
            address,
            (
                params, gradient, atoms, tiles, work, come + s * load, go, groups, run_at, n_runs, present, n_present,
                near, n_near, masks, valid,
            ),
        )  # fmt: skip
        if store:
            for p in range(stretches[s, 2], stretches[s, 3]):
                edge, first, end = pieces[p, 0], pieces[p, 1], pieces[p, 2]
                if store == columns:
                    _copy(stage_out, first * store, edge_out, edge * store, (end - first) * store)
                else:
                    for v in range(first, end):
                        for k in range(store):
                            edge_out[(edge + v - first) * columns + column + k] = stage_out[v * store + k]


@compiled
def _chunk(
    first_block: int, end_block: int, block_offsets: Any, order: Any, phases: Any, loads: Any, stores: Any, params: Any,
    gradient: Any, atoms: Any, tiles: Any, edges: Any, stage_in: Any, stage_out: Any, lanes: int, width: int,
    edge_width: int, load: int,
    species: Any, n_species: int, edge_offsets: Any, edge_species: Any, edge_in: Any, pairs: Any, pair_in: Any,
    edge_out: Any, columns: int, atom_in: Any, atom_out: Any, pieces: Any, runs: Any, stretches: Any, masks: Any,
    present: Any, near: Any,
) -> None:  # fmt: skip
    """All phases for some blocks, one after the other; a block has one atom in a lane."""
    for b in range(first_block, end_block):
        members = order[block_offsets[b] : block_offsets[b + 1]]
        n = len(members)
        masks[:] = 0.0
        n_present = 0
        for k in range(n):
            t = species[members[k]]
            if k == 0 or t != species[members[k - 1]]:
                present[n_present] = t
                n_present += 1
            masks[t * width + k] = 1.0
            masks[n_species * width + k] = 1.0
        n_stretches = _cut(members, edge_offsets, edge_species, pieces, runs, stretches, edge_width)
        n_near = _neighbours(runs, stretches[n_stretches - 1, 1] if n_stretches else 0, near)
        arguments = (
            params.ctypes.data, gradient.ctypes.data, atoms.ctypes.data, tiles.ctypes.data, edges.ctypes.data,
            stage_in.ctypes.data, stage_out.ctypes.data, 0, 0, 0, present.ctypes.data, n_present,
            near.ctypes.data, n_near, masks.ctypes.data, masks.ctypes.data + n_species * width * masks.itemsize,
        )  # fmt: skip
        _stage(edge_in, pairs, pair_in, stage_in, load, pieces, stretches, n_stretches, edge_width)
        for p in range(len(phases)):
            address, kind, first_load, end_load, first_store, end_store = phases[p]
            if kind == 1:
                store, column = 0, 0
                if end_store > first_store:
                    store, column = stores[first_store, 1], stores[first_store, 2]
                _edge_phase(
                    address, arguments, load * edge_width * stage_in.itemsize, store, column, columns, stage_out, lanes,
                    edge_out, pieces, runs, stretches, n_stretches,
                )  # fmt: skip
                continue
            for i in range(first_load, end_load):
                row, size, column = loads[i]
                for k in range(size):
                    for v in range(width):
                        atoms[(row + k) * width + v] = atom_in[members[v], column + k] if v < n else 0.0
            _call(address, arguments)
            for i in range(first_store, end_store):
                row, size, column = stores[i]
                for v in range(n):
                    for k in range(size):
                        atom_out[members[v], column + k] = atoms[(row + k) * width + v]


@compiled
def execute(
    counter: Any, worker: int, phases: Any, loads: Any, stores: Any, params: Any,
    gradients: Any, chunk_offsets: Any, block_offsets: Any, order: Any, species: Any, n_species: int,
    edge_offsets: Any, edge_species: Any, edge_in: Any, pairs: Any, pair_in: Any, edge_out: Any, columns: int,
    atom_in: Any, atom_out: Any,
    atom_space: Any, tile_space: Any, edge_space: Any, stage_in: Any, stage_out: Any, mask_space: Any,
    run_space: Any, piece_space: Any, stretch_space: Any, present_space: Any, near_space: Any, lanes: int, width: int,
    edge_width: int, load: int,
) -> None:  # fmt: skip
    """What one worker does: takes chunks as long as there are any (see :func:`threads.share`).

    Chunk c runs its blocks one after the other into ``gradients[c]``: results do not depend on the threads.

    A row of ``phases``: address of the function, 1 for edges and 0 for atoms, first load, end, first store, end.
    ``load`` is the number of columns of ``edge_in`` and of ``pair_in``, of which each edge takes the row ``pairs``.
    Work spaces have one row for each worker. Sizes are arguments: numba freezes what it compiles, and does not look at
    other modules when it decides whether compiled code is still good.
    """
    c = take(counter)
    while c < len(chunk_offsets) - 1:
        _chunk(
            chunk_offsets[c], chunk_offsets[c + 1], block_offsets, order, phases, loads, stores, params,
            gradients[c], atom_space[worker], tile_space[worker], edge_space[worker], stage_in[worker],
            stage_out[worker], lanes, width, edge_width, load, species, n_species, edge_offsets, edge_species, edge_in,
            pairs, pair_in, edge_out, columns, atom_in, atom_out, piece_space[worker], run_space[worker],
            stretch_space[worker], mask_space[worker], present_space[worker], near_space[worker],
        )  # fmt: skip
        c = take(counter)
