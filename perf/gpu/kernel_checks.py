"""Every hand-written kernel against NumPy: neighbour lists, sums, tiles, exchanges, slots, terms, margins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from gpu import oracle
from gpu.crystals import CUTOFF, SPECIES, Structures, anything, bcc, ragged
from gpu.packages import obstacle
from gpu.section import FULL, Bench, Case, Row, Section, bitwise, compared, relative
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.exchanges import Exchanges
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.neighbours import DeviceEdges, NeighbourSearch
from etn_gpu.backend.cuda.slots import TILE, SlotFiller
from etn_gpu.backend.cuda.sums import CHUNK, Segments, Sums
from etn_gpu.backend.cuda.terms import DeviceTerms, TermKernels
from etn_gpu.backend.terms import SiteTerms
from etn_gpu.potential.selfcheck import check_terms
from etn_gpu.structures.geometry import StructureArrays

#: Sums of float64 numbers in another order than NumPy's, and fused multiplications.
ROUNDING = 1e-12
#: Cubic cells along each direction of the crystal whose list is that of the CPU.
LARGE = 36
DTYPES = ("float32", "float64")


def cases(bench: Bench) -> Iterator[Case]:
    """All checks of kernels that do not depend on a Program."""
    for name, make in _batches(bench).items():
        yield Case(f"neighbours, {name}", partial(_list, bench, make))
    if bench.sizes is FULL:
        yield Case(f"neighbours, {2 * LARGE**3} atoms, as on the CPU", partial(_large_list, bench))
    for dtype in DTYPES:
        yield Case(f"forces and virials, {dtype}", partial(_edge_sums, bench, dtype))
        yield Case(f"sums of segments, {dtype}", partial(_segment_sums, bench, dtype))
        yield Case(f"tiles and back, {dtype}", partial(_tiles, bench, dtype))
        yield Case(f"exchanges, {dtype}", partial(_exchanges, bench, dtype))
        yield Case(f"terms, {dtype}", partial(_terms, bench, dtype))
    yield Case("minima of segments", partial(_minima, bench))
    yield Case("sums of columns", partial(_column_sums, bench))
    yield Case("slots", partial(_slots, bench))
    yield Case("margins", partial(_margins, bench))


SECTION = Section("kernels", "Kernels against NumPy", cases, until=0.3, measures=False)


def _batches(bench: Bench) -> dict[str, Callable[[], Structures]]:
    cells, n_random = bench.sizes.check_cells, bench.sizes.random_structures
    return {
        "ragged batch": lambda: ragged(bench.rng(), cells),
        "random cells": lambda: anything(bench.rng(), n_random),
        "crystal": lambda: bcc(bench.rng(), (cells, cells, cells + 1)),
    }


def _fields(device: Device, found: DeviceEdges, expected: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for field in fields(DeviceEdges):
        yield device.to_host(getattr(found, field.name)), getattr(expected, field.name)


def _list(bench: Bench, make: Callable[[], Structures]) -> Row:
    structures = make()
    found = NeighbourSearch(bench.device).find(structures.upload(bench.device), CUTOFF)
    row = bitwise(_fields(bench.device, found, oracle.neighbour_list(structures, CUTOFF)))
    return row | {"size": found.n_edges}


def _large_list(bench: Bench) -> Row:
    if reason := obstacle("numba"):
        return {"not_run": reason}
    from etn_gpu.structures.neighbours import neighbour_list

    device, structures = bench.device, bcc(bench.rng(), (LARGE,) * 3)
    found = NeighbourSearch(device).find(structures.upload(device), CUTOFF)
    numbers = np.zeros(structures.n_atoms, np.int64)  # the search does not look at them
    geometry = StructureArrays(structures.atom_offsets, numbers, structures.positions, structures.cells, structures.pbc)
    listed = neighbour_list(geometry, structures.species, CUTOFF)
    pairs = (
        (device.to_host(getattr(found, name)), getattr(listed, name))
        for name in ("offsets", "neighbour", "shifts", "reverse", "vectors")
    )
    return bitwise(pairs) | {"size": found.n_edges}


def _edge_sums(bench: Bench, dtype: str) -> Row:
    device, rng = bench.device, bench.rng()
    structures = ragged(rng, bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    gradient = rng.normal(size=edges.vectors.shape).astype(dtype)
    given = (device.to_device(a) for a in (gradient, edges.vectors, edges.reverse, edges.offsets))
    found = Sums(device).forces_and_virials(*given)
    expected = oracle.forces_and_virials(edges, gradient)
    worst = max(relative(device.to_host(f), e) for f, e in zip(found, expected, strict=True))
    return compared(worst, ROUNDING, size=len(gradient))


def _segments(bench: Bench) -> NDArray[np.int64]:
    """Offsets of segments that are empty, of one row, of less and more than a chunk, and of ``rows`` rows."""
    sizes = [3, 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 0, bench.sizes.rows, 191, 192, 193]
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def _segment_sums(bench: Bench, dtype: str) -> Row:
    device, rng, offsets = bench.device, bench.rng(), _segments(bench)
    segments, sums, worst = Segments.upload(device, offsets), Sums(device), 0.0
    shapes: tuple[tuple[int, ...], ...] = ((), (1,), (6,))
    for shape in shapes:
        values = rng.normal(1.0, 1.0, size=(offsets[-1], *shape)).astype(dtype)
        found = device.to_host(sums.sum(device.to_device(values), segments))
        worst = max(worst, relative(found, oracle.segment_sums(values, offsets)))
    return compared(worst, ROUNDING, size=int(offsets[-1]))


def _minima(bench: Bench) -> Row:
    device, offsets = bench.device, _segments(bench)
    values = bench.rng().normal(size=offsets[-1])
    found = Sums(device).minimum(device.to_device(values), Segments.upload(device, offsets))
    pairs = iter([(device.to_host(found), oracle.segment_minima(values, offsets))])
    return bitwise(pairs) | {"size": len(values)}


def _tiles(bench: Bench, dtype: str) -> Row:
    """Atoms in random slots, half of them padding: 0 there in the tiles, every atom back where it was."""
    device, rng, size = bench.device, bench.rng(), 7
    module = Module.of_source(device, "tiles.cu")
    n_atoms = max(40, bench.sizes.rows // 10)
    n_slots = -(-2 * n_atoms // TILE) * TILE
    atoms = np.full(n_slots, -1, np.int64)
    atoms[rng.permutation(n_slots)[:n_atoms]] = rng.permutation(n_atoms)
    values, of_slot = rng.normal(size=(n_atoms, size)), device.to_device(atoms)
    tiles, back = device.empty((n_slots // TILE, size, TILE), dtype), device.empty((n_atoms, size), dtype)
    common = {"atoms": of_slot, "tiles": tiles, "size": size, "n_slots": n_slots}
    module[f"gather_tiles_{dtype}"].over(tiles.size, values=device.to_device(values), **common)
    module[f"scatter_tiles_{dtype}"].over(tiles.size, values=back, **common)
    rows = np.where((atoms >= 0)[:, None], values[atoms], 0.0).astype(dtype)
    expected = rows.reshape(-1, TILE, size).swapaxes(1, 2)
    pairs = [(device.to_host(tiles), expected), (device.to_host(back), values.astype(dtype))]
    if dtype == "float32":
        module["gather_kept_float32"].over(tiles.size, values=back, **common)
        pairs.append((device.to_host(tiles), expected))
    return bitwise(iter(pairs)) | {"size": n_atoms * size}


def _exchanges(bench: Bench, dtype: str) -> Row:
    """Values of neighbours on edges, and sums over the edges that lead to each atom."""
    device, rng, size = bench.device, bench.rng(), 11
    structures = ragged(rng, bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    atoms, values = (rng.normal(size=(n, size)).astype(dtype) for n in (structures.n_atoms, len(edges.neighbour)))
    kernels, put = Exchanges(device), device.to_device
    gathered = kernels.gather(put(atoms), put(edges.neighbour))
    summed = kernels.sum_reverse(put(values), put(edges.reverse), put(edges.offsets))
    expected = np.zeros((structures.n_atoms, size))
    np.add.at(expected, edges.neighbour, values.astype(np.float64))
    same = np.array_equal(device.to_host(gathered), atoms[edges.neighbour])
    row = compared(
        relative(device.to_host(summed), expected), 1e-6 if dtype == "float32" else ROUNDING, size=len(values)
    )
    return row | {"passed": row["passed"] and same}


def _column_sums(bench: Bench) -> Row:
    device, rng, columns = bench.device, bench.rng(), 130
    offsets = np.concatenate(([0], np.cumsum([0, 1, 9, 0, bench.sizes.rows // 100]))).astype(np.int64)
    values = rng.normal(1.0, 1.0, size=(offsets[-1], columns))
    results = device.empty((len(offsets) - 1, columns), np.float64)
    Module.of_source(device, "tiles.cu")["column_sums"].over(
        results.size, values=device.to_device(values), offsets=device.to_device(offsets), results=results,
        columns=columns, n_samples=len(offsets) - 1,
    )  # fmt: skip
    worst = relative(device.to_host(results), oracle.segment_sums(values, offsets))
    return compared(worst, ROUNDING, size=values.size)


def _slots(bench: Bench) -> Row:
    device, n_atoms = bench.device, bench.sizes.rows + 5
    species = bench.rng().integers(0, len(SPECIES), n_atoms).astype(np.int32)
    found = SlotFiller(device).fill(device.to_device(species))
    order, n_slots = np.argsort(species, kind="stable"), -(-n_atoms // TILE) * TILE
    padding = n_slots - n_atoms
    pairs = [
        (device.to_host(found.atoms), np.concatenate((order, np.full(padding, -1)))),
        (device.to_host(found.species), np.concatenate((species[order], np.full(padding, species[order[-1]])))),
    ]
    return bitwise(iter(pairs)) | {"size": n_slots}


def _terms(bench: Bench, dtype: str) -> Row:
    """Sites, energies and edge gradients beside random outputs of a network."""
    device, rng = bench.device, bench.rng()
    structures = ragged(rng, bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    tables = check_terms(len(SPECIES), CUTOFF).tables(SPECIES, CUTOFF)
    expected = SiteTerms(tables, edges.geometry(structures), edges.vectors)
    outputs = rng.normal(size=structures.n_atoms).astype(dtype)
    gradient = rng.normal(size=edges.vectors.shape).astype(dtype)
    arrays = edges.vectors, edges.offsets, structures.species, edges.species
    terms = DeviceTerms(TermKernels(device), tables).at(*(device.to_device(array) for array in arrays))
    values, found = device.to_device(outputs), device.to_device(gradient)
    terms.add_to_gradients(values, found)
    expected.add_to_gradients(outputs, gradient)
    pairs = [
        (device.to_host(terms.sites), expected.sites),
        (device.to_host(terms.energies(values)), expected.energies(outputs)),
        (device.to_host(found), gradient),
    ]
    limit = ROUNDING if dtype == "float64" else 1e-6
    return compared(max(relative(*pair) for pair in pairs), limit, size=structures.n_atoms)


def _margins(bench: Bench) -> Row:
    device, rng = bench.device, bench.rng()
    structures = ragged(rng, bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    limits = rng.uniform(1.0, 3.0, (len(SPECIES), len(SPECIES)))
    found = device.empty(structures.n_atoms, np.float64)
    arrays: dict[str, NDArray[Any]] = {
        "vectors": edges.vectors, "edge_offsets": edges.offsets, "species": structures.species,
        "edge_species": edges.species, "limits": limits,
    }  # fmt: skip
    Module.of_source(device, "margins.cu")["atom_margins"].over(
        structures.n_atoms, 8, **{name: device.to_device(array) for name, array in arrays.items()}, margins=found,
        n_species=len(SPECIES), n_atoms=structures.n_atoms,
    )  # fmt: skip
    expected = oracle.margins(structures, edges, limits)
    return compared(relative(device.to_host(found), expected), ROUNDING, size=structures.n_atoms)
