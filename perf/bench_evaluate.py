"""Time energy + forces + stress of a model on a bcc crystal: microseconds per atom of each backend, one thread.

    python perf/bench_evaluate.py [--model nbmotaw] [--cells 10] [--repeats 7]

Neighbour lists are timed apart. The figures are printed and written to perf/results/bench_evaluate.json with date,
commit and machine; the minimum over the repeats is quoted, because other work on a machine only ever adds time.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu.structures import StructureBatch

RESULTS = Path(__file__).parent / "results"
COMBINATIONS = (("numba", "float64"), ("numba", "float32"), ("numpy", "float64"))


def crystal(species: tuple[str, ...], cells: int) -> Atoms:
    """A random bcc solid solution of all species, 2 cells^3 atoms, a = 3.24 A, displaced by 0.05 A."""
    rng = np.random.default_rng(0)
    atoms = bulk("W", "bcc", a=3.24, cubic=True) * (cells, cells, cells)
    atoms.set_chemical_symbols(rng.choice(list(species), len(atoms)))
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return atoms


def best(function: Callable[[], object], repeats: int) -> float:
    """Least seconds over the repeats, after one warm-up."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def commit() -> str:
    """Short hash of the commit, 'unknown' outside a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"


def processor() -> str:
    """Name of the processor as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw")
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    model = etn_gpu.load(options.model)
    atoms = crystal(model.species, options.cells)
    n = len(atoms)
    batch = StructureBatch.build([atoms], model.species, model.cutoff)
    rows = {"neighbour list": best(lambda: StructureBatch.build([atoms], model.species, model.cutoff), options.repeats)}
    for backend, dtype in COMBINATIONS:
        evaluate = partial(model.evaluate_batch, batch, backend=backend, dtype=dtype, threads=1)
        rows[f"{backend} {dtype}"] = best(evaluate, 1 if backend == "numpy" else options.repeats)
    figures = {name: 1e6 * seconds / n for name, seconds in rows.items()}
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "processor": processor(),
        "model": repr(model),
        "n_atoms": n,
        "neighbours": batch.n_edges / n,
        "microseconds_per_atom": figures,
    }
    print(f"{model!r}\n{n} atoms, {report['neighbours']:.1f} neighbours, one thread, {report['processor']}")
    for name, value in figures.items():
        print(f"{name:20s} {value:8.2f} us/atom")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bench_evaluate.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
