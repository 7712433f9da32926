"""Atoms per second for energies, forces and stresses: crystals of 10^3 to 10^7 atoms, batches of small structures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np
from gpu import oracle
from gpu.crystals import CUTOFF, SMALL, Structures, bcc, repeated
from gpu.models import Expected, model
from gpu.program_checks import LIMITS
from gpu.section import Bench, Case, Code, Row, Section, relative
from gpu.timing import Seconds, timed

from etn_gpu.backend.cuda.device import CupyDevice, Device
from etn_gpu.backend.cuda.evaluation import Evaluator
from etn_gpu.backend.cuda.neighbours import NeighbourSearch
from etn_gpu.errors import DeviceMemoryError


def crystals(bench: Bench) -> Iterator[Case]:
    """The crystal of a million atoms first, in both precisions; then all sizes."""
    for copies in bench.sizes.copies:
        yield from _crystals(bench, bench.sizes.presets[0], copies)


def other_presets(bench: Bench) -> Iterator[Case]:
    """The crystal of a million atoms by the other presets."""
    for preset in bench.sizes.presets[1:]:
        yield from _crystals(bench, preset, bench.sizes.copies[0])


def _crystals(bench: Bench, preset: str, copies: tuple[int, int, int]) -> Iterator[Case]:
    for dtype in bench.sizes.dtypes:
        run = partial(_crystal, bench, preset, copies, dtype)
        yield Case(crystal_name(bench, preset, copies, dtype), run, (Code(preset, "gradient", dtype),))


def batches(bench: Bench) -> Iterator[Case]:
    """A thousand structures of 64 atoms, then as many as have a million atoms; the same for 16 and 256."""
    first, second = bench.sizes.dtypes
    chosen = [(size, count, first) for size, count in bench.sizes.batches] + [(*bench.sizes.batches[0], second)]
    for size, count, dtype in chosen:
        needs = (Code(bench.sizes.presets[0], "gradient", dtype),)
        yield Case(batch_name(size, count, dtype), partial(_batch, bench, size, count, dtype), needs)


CRYSTALS = Section("crystals", "One crystal: energies, forces and stress", crystals, until=0.75)
BATCHES = Section("batches", "Batches of small structures: energies, forces and stresses", batches, until=0.95)
PRESETS = Section("presets", "The first crystal by the other presets", other_presets, until=0.98)


def crystal_name(bench: Bench, preset: str, copies: tuple[int, int, int], dtype: str) -> str:
    """The case of a crystal."""
    return f"{preset}, {2 * int(np.prod(bench.sizes.block) * np.prod(copies))} atoms, {dtype}"


def batch_name(size: int, count: int, dtype: str) -> str:
    """The case of a batch."""
    return f"{count} structures of {size} atoms, {dtype}"


def headline(bench: Bench) -> Row:
    """The row of a million atoms, preset standard, float32; empty where there is none."""
    sizes = bench.sizes
    return bench.row(CRYSTALS.name, crystal_name(bench, sizes.presets[0], sizes.copies[0], sizes.dtypes[0]))


def target_batch(bench: Bench) -> Row:
    """The row of a thousand structures of 64 atoms, float32; empty where there is none."""
    return bench.row(BATCHES.name, batch_name(*bench.sizes.batches[0], bench.sizes.dtypes[0]))


@lru_cache(maxsize=8)
def _block(preset: str, cells: tuple[int, int, int], seed: int) -> tuple[Structures, Expected]:
    structures = bcc(np.random.default_rng(seed), cells)
    return structures, model(preset, seed).expected(structures, oracle.neighbour_list(structures, CUTOFF))


def _crystal(bench: Bench, preset: str, copies: tuple[int, int, int], dtype: str) -> Row:
    block, expected = _block(preset, bench.sizes.block, bench.seed)
    row, found = _rates(bench, model(preset, bench.seed).evaluator(bench.device, dtype), repeated(block, copies))
    if found is None:
        return row
    many = int(np.prod(copies))
    per_atom = {
        name: np.broadcast_to(getattr(expected, name), (many, *getattr(expected, name).shape))
        for name in ("energies", "forces", "virials")
    }
    worst = max(
        _of_total(found["energy"] / many, expected.energies),
        _of_total(found["virial"] / many, expected.virials),
        *(relative(found[name].reshape(values.shape), values) for name, values in per_atom.items()),
    )
    return row | {"difference": worst, "passed": worst <= LIMITS[dtype]}


def _of_total(found: np.ndarray, parts: np.ndarray) -> float:
    """Difference between a total and the sum of its parts, beside the sum of their magnitudes: parts may cancel."""
    difference = float(np.abs(found[0] - parts.sum(axis=0)).max() / np.abs(parts).sum(axis=0).max())
    return difference if np.isfinite(difference) else math.inf


def _batch(bench: Bench, size: int, count: int, dtype: str) -> Row:
    """The first, the last and one more structure are checked."""
    structures, chosen = bcc(bench.rng(), SMALL[size], count), model(bench.sizes.presets[0], bench.seed)
    row, found = _rates(bench, chosen.evaluator(bench.device, dtype), structures)
    if found is None:
        return row
    worst = 0.0
    for s in {0, count // 2, count - 1}:
        atoms, one = slice(size * s, size * (s + 1)), structures.only(s)
        expected = chosen.expected(one, oracle.neighbour_list(one, CUTOFF))
        worst = max(
            worst,
            _of_total(found["energy"][s : s + 1], expected.energies),
            _of_total(found["virial"][s : s + 1], expected.virials),
            relative(found["forces"][atoms], expected.forces),
        )
    crystal = headline(bench)
    if "atoms_per_second" in crystal:
        row["time_per_atom_of_crystal"] = crystal["atoms_per_second"] / row["atoms_per_second"]
    return row | {"difference": worst, "passed": worst <= LIMITS[dtype]}


def _rates(bench: Bench, evaluator: Evaluator, structures: Structures) -> tuple[Row, dict[str, np.ndarray] | None]:
    """Rates with the list, without, and from arrays of the host to arrays of the host; memory; and the results."""
    n_atoms = structures.n_atoms
    row: Row = {"atoms": n_atoms, "structures": structures.n_structures}
    bench.device.release()
    try:
        row |= _without_list(bench.device, evaluator, structures)
        bench.device.release()
        whole, taken, found = _with_list(bench.device, evaluator, structures)
        around = timed(bench.device, lambda: _from_host_to_host(bench.device, evaluator, structures), seconds=0.3)
    except DeviceMemoryError as error:
        return row | {"not_run": str(error)}, None
    rates = {"atoms_per_second": n_atoms / whole.median, "host_to_host": n_atoms / around.median}
    return row | rates | whole.row() | {"bytes_per_atom": taken / n_atoms}, found


def _without_list(device: Device, evaluator: Evaluator, structures: Structures) -> Row:
    given, segments = structures.upload(device), structures.segments(device)
    edges = NeighbourSearch(device).find(given, CUTOFF)
    seconds = timed(device, lambda: evaluator.of_edges(given, edges, segments))
    n_atoms, n_edges = structures.n_atoms, edges.n_edges
    predicted = evaluator.bytes(structures.n_structures, n_atoms, n_edges)
    return {
        "neighbours": n_edges / n_atoms,
        "predicted_bytes_per_atom": predicted / n_atoms,
        "without_list": n_atoms / seconds.median,
    }


def _with_list(
    device: Device, evaluator: Evaluator, structures: Structures
) -> tuple[Seconds, float, dict[str, np.ndarray]]:
    """Seconds from positions to results, both on the device; bytes of memory that it took; the results."""
    given, segments = structures.upload(device), structures.segments(device)
    seconds = timed(device, lambda: evaluator.evaluate(given, segments))
    taken = _taken_bytes(device)
    results = evaluator.evaluate(given, segments)
    return seconds, taken, {n: device.to_host(array) for n, array in vars(results).items() if array is not None}


def _from_host_to_host(device: Device, evaluator: Evaluator, structures: Structures) -> list[np.ndarray]:
    results = evaluator.evaluate(structures.upload(device), structures.segments(device))
    return [device.to_host(array) for array in (results.energy, results.forces, results.virial)]


def _taken_bytes(device: Device) -> float:
    """Bytes that were taken from the driver: the most that arrays took at a time, and what lies between them."""
    if not isinstance(device, CupyDevice):
        return math.nan
    import cupy

    return float(cupy.get_default_memory_pool().total_bytes())
