"""Energy, forces and stress of a model on one crystal: time, GFLOP/s, bytes, stages, start-up.

    python perf/bench_evaluate.py [--model nbmotaw] [--cells 10] [--repeats 9] [--no-start]

Prints first what should come out, then microseconds per atom of processor and of wall time for each precision and
number of threads, what share of the gemm rate of this machine that is, and where the time goes. Written to
perf/results/bench_evaluate.json. Neighbour lists are timed apart from evaluations.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet
from common import bcc_crystal, gemm_ceiling, machine, print_table, save, timed
from stages import BYTES_PER_EDGE, Stage, evaluation_stages

from etn_gpu import ETNCalculator, ETNPotential
from etn_gpu.plan.count import work
from etn_gpu.potential import load
from etn_gpu.potential.programs import programs
from etn_gpu.structures import StructureBatch

COMBINATIONS = (
    ("numba", "float64", 1),
    ("numba", "float64", 2),
    ("numba", "float32", 1),
    ("numba", "float32", 2),
    ("numpy", "float64", 1),
)
#: Skins of the neighbour list in molecular dynamics, in A.
SKINS = (0.0, 0.2, 0.5, 1.0)
#: What a new process does until it has a first result; it prints seconds for the import and the time of the result.
FIRST_RESULT = """
import time
start = time.perf_counter()
import etn_gpu
imported = time.perf_counter() - start
from ase.build import bulk
model = etn_gpu.potential.load({model!r})
model.evaluate(bulk(model.species[0], "bcc", a=3.2, cubic=True))
print(imported, time.time())
"""


def expected(model: ETNPotential, batch: StructureBatch, ceilings: dict[str, float]) -> dict[str, float]:
    """What should come out: the work per atom, the time it takes at a quarter of the gemm rate, and the targets."""
    neighbours = batch.n_edges / batch.n_atoms
    flops = work(programs(model.architecture).gradient).total(batch.n_atoms, batch.n_edges) / batch.n_atoms
    return {
        "flops per atom": flops,
        **{f"bytes per atom, {dtype}": size * neighbours for dtype, size in BYTES_PER_EDGE.items()},
        **{f"us/atom at a quarter of gemm, {dtype}": 4e-3 * flops / rate for dtype, rate in ceilings.items()},
        "us/atom, float64 (target: at most)": 8.0,
        "float64 / float32 (target: at least)": 1.6,
        "one thread / two threads (target: at least)": 1.8,
        "seconds to the first result, warm (target: at most)": 1.5,
        "seconds to the first result, cold (target: at most)": 20.0,
        "seconds of import etn_gpu (target: at most)": 0.4,
    }


def evaluations(
    model: ETNPotential, batch: StructureBatch, figures: dict[str, float], ceilings: dict[str, float], repeats: int
) -> list[dict[str, Any]]:
    """One row for each backend, precision and number of threads."""
    rows = []
    for name, dtype, threads in COMBINATIONS:
        run = partial(model.evaluate_batch, batch, backend=name, dtype=dtype, threads=threads)
        cpu, wall = timed(run, 1 if name == "numpy" else repeats).per(batch.n_atoms)
        gflops = 1e-3 * figures["flops per atom"] / wall
        rows.append(
            {
                "backend": name,
                "dtype": dtype,
                "threads": threads,
                "cpu": cpu,
                "wall": wall,
                "gflops": gflops,
                "share_of_gemm": gflops / (threads * ceilings[dtype]),
                "gigabytes_per_second": 1e-3 * figures[f"bytes per atom, {dtype}"] / wall,
            }
        )
    return rows


def stage_rows(stages: list[Stage], batch: StructureBatch, ceiling: float) -> list[dict[str, Any]]:
    """One row for each stage: microseconds and flops per atom, GFLOP/s and their share of the gemm rate."""
    rows = []
    for stage in stages:
        row: dict[str, Any] = {"stage": stage.name, "cpu": stage.seconds.per(batch.n_atoms).cpu}
        if stage.work is not None:
            flops = stage.work.total(batch.n_atoms, batch.n_edges) / batch.n_atoms
            gflops = 1e-3 * flops / row["cpu"]
            row |= {"kflop": 1e-3 * flops, "gflops": gflops, "share_of_gemm": gflops / ceiling}
        rows.append(row)
    return rows


def dynamics(model: ETNPotential, steps: int) -> list[dict[str, Any]]:
    """Molecular dynamics of 250 atoms with ASE at about 300 K, one thread: microseconds per atom and step."""
    rows = []
    for skin in SKINS:
        atoms = bcc_crystal(model.species, 5, a=3.24, displacement=0.0)
        speeds = np.sqrt(600 * units.kB / atoms.get_masses())
        atoms.set_velocities(speeds[:, None] * np.random.default_rng(0).normal(size=(len(atoms), 3)))
        calculator = atoms.calc = ETNCalculator(model, threads=1, skin=skin)
        run = VelocityVerlet(atoms, timestep=2 * units.fs)
        run.run(5)
        lists = calculator.statistics.neighbour_lists
        begin = time.process_time()
        run.run(steps)
        cpu = time.process_time() - begin
        lists = calculator.statistics.neighbour_lists - lists
        rows.append({"skin": skin, "cpu": 1e6 * cpu / (steps * len(atoms)), "lists": lists, "steps": steps})
    return rows


def start(model: str, repeats: int) -> list[dict[str, Any]]:
    """Seconds until a new process has its first result: with empty caches, and with those this leaves behind."""
    rows = []
    with TemporaryDirectory() as cache:
        environment = {**os.environ, "ETN_GPU_CACHE": cache, "NUMBA_CACHE_DIR": cache, "XDG_CACHE_HOME": cache}
        for name, count in (("cold", 1), ("warm", repeats)):
            runs = [_first_result(model, environment) for _ in range(count)]
            rows.append({"cache": name, "import": min(run[0] for run in runs), "first": min(run[1] for run in runs)})
    return rows


def _first_result(model: str, environment: dict[str, str]) -> tuple[float, float]:
    begin = time.time()
    command = [sys.executable, "-c", FIRST_RESULT.format(model=model)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported, end = map(float, done.stdout.split())
    return imported, end - begin


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw")
    parser.add_argument("--cells", type=int, default=10, help="cubic cells along each direction")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--no-start", action="store_true", help="do not start new processes (the cold one compiles)")
    options = parser.parse_args()

    model = load(options.model)
    crystal = bcc_crystal(model.species, options.cells)
    batch = StructureBatch.build([crystal], model.species, model.cutoff)
    ceilings = {dtype: gemm_ceiling(dtype) for dtype in ("float64", "float32")}
    where = machine()
    print(f"{model!r}\n{batch.n_atoms} atoms, {batch.n_edges / batch.n_atoms:.1f} neighbours; {where['processor']}\n")

    figures = expected(model, batch, ceilings)
    print("Expected")
    print_table(("figure", "value"), list(figures.items()))
    print("Measured rate of gemm, one thread")
    print_table(("dtype", "GFLOP/s"), list(ceilings.items()))

    rows = evaluations(model, batch, figures, ceilings, options.repeats)
    headers = ("backend", "dtype", "threads", "CPU us/atom", "wall us/atom", "GFLOP/s", "of gemm", "GB/s")
    print("Energy, forces and stress without the neighbour list")
    print_table(headers, [list(row.values()) for row in rows])

    search = timed(partial(StructureBatch.build, [crystal], model.species, model.cutoff), options.repeats)
    stages = [Stage("neighbours", search), *evaluation_stages(model, batch, "float64", 1, options.repeats)]
    stage_table = stage_rows(stages, batch, ceilings["float64"])
    keys = ("stage", "cpu", "kflop", "gflops", "share_of_gemm")
    print("Stages, numba, float64, one thread: differences of the times of Programs that end earlier")
    print_table(
        ("stage", "CPU us/atom", "kflop/atom", "GFLOP/s", "of gemm"),
        [[row.get(key) for key in keys] for row in stage_table],
    )

    runs = dynamics(model, 200)
    print("Molecular dynamics of 250 atoms, 2 fs a step, neighbour list kept while the atoms are inside the skin")
    print_table(("skin (A)", "CPU us/atom/step", "lists built", "steps"), [list(row.values()) for row in runs])

    starts = [] if options.no_start else start(options.model, 5)
    if starts:
        print("A new process (seconds)")
        print_table(("cache", "import etn_gpu", "first result"), [list(row.values()) for row in starts])
    report = {
        **where,
        "model": repr(model),
        "n_atoms": batch.n_atoms,
        "neighbours": batch.n_edges / batch.n_atoms,
        "gemm_gflops": ceilings,
        "expected": figures,
        "evaluations": rows,
        "stages": stage_table,
        "dynamics": runs,
        "start": starts,
    }
    print(f"written to {save('bench_evaluate', report)}")


if __name__ == "__main__":
    main()
