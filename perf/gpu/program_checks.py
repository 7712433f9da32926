"""Whole Programs and whole evaluations against the backend numpy in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from gpu import oracle
from gpu.crystals import CUTOFF, Array, ragged
from gpu.models import model
from gpu.section import Bench, Case, Code, Row, Section, compared, relative
from numpy.typing import NDArray

from etn_gpu import backend
from etn_gpu.backend import Geometry
from etn_gpu.backend.cuda import executor
from etn_gpu.plan import Program

#: Largest difference over the largest magnitude of an output.
LIMITS = {"float32": 2e-5, "float64": 1e-10}
#: The Programs of an evaluation.
EVALUATED = ("gradient", "energy")


def first(bench: Bench) -> Iterator[Case]:
    """Evaluations of structures, what users call, by the first preset, and the Programs in them."""
    preset = bench.sizes.presets[0]
    yield from _evaluations(bench, preset)
    yield from _programs(bench, preset, [name for name in bench.sizes.programs if name in EVALUATED])


def others(bench: Bench) -> Iterator[Case]:
    """All that is left."""
    first_preset, *presets = bench.sizes.presets
    yield from _programs(bench, first_preset, [name for name in bench.sizes.programs if name not in EVALUATED])
    for preset in presets:
        yield from _evaluations(bench, preset)
        yield from _programs(bench, preset, bench.sizes.programs)


@dataclass(frozen=True)
class Given:
    """A Program, inputs for it, and the structures of a batch as samples of its atoms."""

    program: Program
    inputs: dict[str, Array]
    geometry: Geometry
    samples: NDArray[np.int64]


def given(bench: Bench, preset: str, name: str) -> Given:
    """A Program of a preset with random inputs for a ragged batch."""
    chosen, rng = model(preset, bench.seed), bench.rng()
    structures = ragged(rng, bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    program, geometry = getattr(chosen.programs, name), edges.geometry(structures)
    known = {"x": edges.vectors, **chosen.parameters}
    inputs = {
        v.name: known[v.name] if v.name in known else rng.normal(size=(geometry.count(v.space), v.size))
        for v in program.inputs
    }
    return Given(program, inputs, geometry, structures.atom_offsets)


def _evaluations(bench: Bench, preset: str) -> Iterator[Case]:
    for dtype in bench.sizes.dtypes:
        needs = tuple(Code(preset, program, dtype) for program in EVALUATED)
        yield Case(f"evaluation, {preset}, {dtype}", partial(_evaluation, bench, preset, dtype), needs)


def _programs(bench: Bench, preset: str, names: Iterable[str]) -> Iterator[Case]:
    for name in names:
        for dtype in bench.sizes.dtypes:
            code = Code(preset, name, dtype)
            yield Case(code.name, partial(_program, bench, preset, name, dtype), (code,))


FIRST = Section("programs", "Evaluations and their Programs against NumPy", first, until=0.6, measures=False)
OTHERS = Section("other_programs", "Other Programs against NumPy", others, until=0.85, measures=False)


def _evaluation(bench: Bench, preset: str, dtype: str) -> Row:
    """Energies, forces, virials, nearest and margins of a ragged batch, its list included; the same bits twice, and
    without gradients the energies alone."""
    device, chosen = bench.device, model(preset, bench.seed)
    structures = ragged(bench.rng(), bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    evaluator = chosen.evaluator(device, dtype)
    given = structures.upload(device), structures.segments(device)
    before = evaluator.launches
    results = evaluator.evaluate(*given)
    launches = evaluator.launches - before
    found = {name: device.to_host(array) for name, array in vars(results).items() if array is not None}
    expected = vars(chosen.expected(structures, edges)) | {
        "nearest": oracle.segment_minima(edges.nearest, structures.atom_offsets),
        "margin": oracle.segment_minima(oracle.margins(structures, edges, chosen.limits), structures.atom_offsets),
    }
    worst = max(relative(found[name], values) for name, values in expected.items())
    again = vars(evaluator.evaluate(*given))
    same = all(np.array_equal(device.to_host(again[name]), values) for name, values in found.items())
    alone = evaluator.evaluate(*given, gradients=False)
    worst = max(worst, relative(device.to_host(alone.energies), expected["energies"]))
    row = compared(worst, LIMITS[dtype], size=structures.n_atoms, launches=launches, reproducible=same)
    return row | {"passed": row["passed"] and same and alone.forces is None}


def _program(bench: Bench, preset: str, name: str, dtype: str) -> Row:
    """All outputs, sums over atoms by sample included, from random inputs."""
    asked = given(bench, preset, name)
    samples = asked.samples if name == "parameter_gradient" else None
    expected = backend.run(asked.program, asked.inputs, asked.geometry, backend="numpy", samples=samples)
    found = executor.run(
        asked.program, asked.inputs, asked.geometry, dtype=np.dtype(dtype), samples=samples, device=bench.device
    )
    worst = {name: relative(found[name], values) for name, values in expected.items()}
    output = max(worst, key=lambda key: worst[key])
    return compared(worst[output], LIMITS[dtype], size=asked.geometry.n_atoms, worst_output=output)
