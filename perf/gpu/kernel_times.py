"""Seconds of every kernel of an evaluation beside its floor: counted operations and bytes over the measured ceilings.

Bytes are those of the arrays that a kernel is given, each read or written once. Operations are those that
:mod:`etn_gpu.plan.count` counts, for each stage of a Program: its sums over edges and what follows from them on edges,
or its couplings and mixings on atoms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import numpy as np
from gpu.ceilings import ceiling
from gpu.crystals import CUTOFF, bcc, repeated
from gpu.models import model
from gpu.section import Bench, Case, Code, Row, Section
from gpu.stopwatch import Run, Stopwatch
from gpu.timing import warmed_up

from etn_gpu.backend.cuda.neighbours import NeighbourSearch
from etn_gpu.backend.phases import number_phases, split
from etn_gpu.plan.count import Work, work
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Program, Step, Value

REPEATS = 7


def cases(bench: Bench) -> Iterator[Case]:
    """Both precisions; each gives a row for the whole evaluation and one for every kernel, slowest first."""
    stopwatch = Stopwatch(bench.device)
    for dtype in bench.sizes.dtypes:
        needs = (Code(bench.sizes.presets[0], "gradient", dtype),)
        yield Case(f"all, {dtype}", partial(_measure, bench, stopwatch, dtype), needs)


SECTION = Section("kernel_times", "Every kernel beside its floor, a million atoms, preset standard", cases, until=0.8)


def stage_work(program: Program) -> dict[str, Work]:
    """Operations of each stage that :func:`etn_gpu.backend.cuda.lowering.lower` makes of ``program``, by its name."""
    _, body, _ = split(program)
    phase = number_phases(program, body)
    steps: dict[str, list[Step]] = defaultdict(list)
    for step in body:
        number = phase[step.out.name]
        summed = any(isinstance(t.operation, EdgeSum) for t in step.terms) and step.out.space == "atom"
        number -= summed
        steps[f"atoms{number}" if number % 2 else f"edges{number}"].append(step)
    values = {**program.values, **{s.out.name: s.out for s in body}}
    return {name: work(_alone(chosen, values)) for name, chosen in steps.items()}


def _alone(steps: list[Step], values: dict[str, Value]) -> Program:
    """The steps as a Program whose inputs are all that they do not compute."""
    made = {s.out.name for s in steps}
    read = dict.fromkeys(n for s in steps for t in s.terms for n in t.operands if n not in made)
    return Program(tuple(values[name] for name in read), tuple(steps), ())


def _measure(bench: Bench, stopwatch: Stopwatch, dtype: str) -> list[Row]:
    """The sum of all kernels of an evaluation with its list, and each."""
    chosen, device = model(bench.sizes.presets[0], bench.seed), stopwatch.device
    evaluator = chosen.evaluator(device, dtype)
    structures = repeated(bcc(bench.rng(), bench.sizes.block), bench.sizes.copies[0])
    given = structures.upload(device), structures.segments(device)
    n_edges = NeighbourSearch(device).find(given[0], CUTOFF).n_edges
    warmed_up(device, lambda: evaluator.evaluate(*given))
    noted: list[list[Run]] = []
    for _ in range(REPEATS):
        with stopwatch.noting() as runs:
            evaluator.evaluate(*given)
        noted.append(runs)
    flops = {k: w.total(structures.n_atoms, n_edges) for k, w in stage_work(chosen.programs.gradient).items()}
    rows = sorted(_rows(bench, noted, flops, dtype), key=lambda row: -row["milliseconds"])
    keys = ("launches", "milliseconds", "bytes", "flops")
    total: Row = {key: sum(row[key] for row in rows) for key in keys}
    floors = [row["floor_milliseconds"] for row in rows]
    if None not in floors:
        total |= {"floor_milliseconds": sum(floors), "of_floor": sum(floors) / total["milliseconds"]}
    return [total, *rows]


def _rows(bench: Bench, noted: list[list[Run]], flops: dict[str, float], dtype: str) -> list[Row]:
    """One row for each kernel; launches of one kernel are added up."""
    rows: list[Row] = []
    for name in dict.fromkeys(run.kernel for run in noted[0]):
        seconds = float(np.median([sum(r.seconds for r in runs if r.kernel == name) for runs in noted]))
        size = sum(run.bytes for run in noted[0] if run.kernel == name)
        operations = flops.get(name, 0.0)
        floor = _floor(bench, size, operations, dtype)
        rows.append(
            {
                "case": f"{name}, {dtype}",
                "launches": sum(run.kernel == name for run in noted[0]),
                "milliseconds": 1e3 * seconds,
                "bytes": size,
                "flops": operations,
                "floor_milliseconds": None if floor is None else 1e3 * floor,
                "of_floor": None if floor is None else floor / seconds,
            }
        )
    return rows


def _floor(bench: Bench, size: int, flops: float, dtype: str) -> float | None:
    """Seconds that nothing is faster than; None without measured ceilings."""
    bandwidth, rate = ceiling(bench, "copy"), ceiling(bench, dtype)
    return None if bandwidth is None or rate is None else max(size / bandwidth, flops / rate)
