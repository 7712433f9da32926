"""Whole Programs and whole evaluations against the backend numpy in float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from gpu import oracle
from gpu.crystals import CUTOFF, ragged
from gpu.models import model
from gpu.section import Bench, Case, Row, Section, compared, relative

from etn_gpu import backend
from etn_gpu.backend.cuda import executor

#: Largest difference over the largest magnitude of an output.
LIMITS = {"float32": 2e-5, "float64": 1e-10}


def cases(bench: Bench) -> Iterator[Case]:
    """Evaluations of structures first: what users call; then every Program."""
    for preset in bench.sizes.presets:
        for dtype in bench.sizes.dtypes:
            yield Case(f"evaluation, {preset}, {dtype}", partial(_evaluation, bench, preset, dtype))
        for program in bench.sizes.programs:
            for dtype in bench.sizes.dtypes:
                yield Case(f"{program}, {preset}, {dtype}", partial(_program, bench, preset, program, dtype))


SECTION = Section("programs", "Whole Programs against NumPy", cases, until=0.5, measures=False)


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
    found = {name: device.to_host(array) for name, array in vars(results).items()}
    expected = vars(chosen.expected(structures, edges)) | {
        "nearest": oracle.segment_minima(edges.nearest, structures.atom_offsets),
        "margin": oracle.segment_minima(oracle.margins(structures, edges, chosen.limits), structures.atom_offsets),
    }
    worst = max(relative(found[name], values) for name, values in expected.items())
    again = {name: device.to_host(array) for name, array in vars(evaluator.evaluate(*given)).items()}
    same = all(np.array_equal(again[name], values) for name, values in found.items())
    alone = evaluator.evaluate(*given, gradients=False)
    worst = max(worst, relative(device.to_host(alone.energies), expected["energies"]))
    row = compared(worst, LIMITS[dtype], size=structures.n_atoms, launches=launches, reproducible=same)
    return row | {"passed": row["passed"] and same and alone.forces is None}


def _program(bench: Bench, preset: str, name: str, dtype: str) -> Row:
    """All outputs, sums over atoms by sample included, from random inputs."""
    chosen, rng = model(preset, bench.seed), bench.rng()
    structures = ragged(rng, bench.sizes.check_cells)
    edges = oracle.neighbour_list(structures, CUTOFF)
    program, geometry = getattr(chosen.programs, name), edges.geometry(structures)
    inputs = {"x": edges.vectors, **chosen.parameters}
    for value in program.inputs:
        if value.name not in inputs:
            inputs[value.name] = rng.normal(size=(geometry.count(value.space), value.size))
    chosen_inputs = {v.name: inputs[v.name] for v in program.inputs}
    samples = structures.atom_offsets if name == "parameter_gradient" else None
    expected = backend.run(program, chosen_inputs, geometry, backend="numpy", samples=samples)
    found = executor.run(program, chosen_inputs, geometry, dtype=np.dtype(dtype), samples=samples, device=bench.device)
    worst = {name: relative(found[name], values) for name, values in expected.items()}
    output = max(worst, key=lambda key: worst[key])
    return compared(worst[output], LIMITS[dtype], size=structures.n_atoms, worst_output=output)
