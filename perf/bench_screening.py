"""Screening against the evaluator that it stands on: processor time per atom from files, and of what it is made of.

    python perf/bench_screening.py [--model nbmotaw] [--structures 20000] [--rounds 3] [--beside CHECKOUT]

Random bcc alloys of 2 to 24 atoms, half of them rattled so much that they are flagged as extrapolating, in an extxyz
file, the same compressed, and a traj file. Everything on one thread. Each measurement is a process of its own, which
first does the same with a few structures; the least of some rounds counts, in which the measurements take turns.
ASE is left out where a file is compressed: it goes back and forth in it, which takes thirty times as long.
`--workers` (0: leave it out) compares so many processes with one, on `--many` structures of one extxyz file. Starting
processes takes seconds, so that the clocks run from when a tenth of the rows is there to when (nearly) all are, and
then until the results are whole; processor time is that of all processes, which tells the efficiency on a machine that
is busy with other things as well. `--beside`
runs `screen` of another checkout of this library on the same file, between our own. Written to
perf/results/bench_screening.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import bcc_crystal, commit_of, machine, print_table, save

if TYPE_CHECKING:
    from ase import Atoms

HERE = Path(__file__).resolve()
EXPECTED = {
    "screen / model.evaluate, extxyz (target: at most)": 1.5,
    "screen --structures / model.evaluate, extxyz (target: at most)": 2.0,
    "two workers / one process (target: at least)": 1.9,
    "screen of another build (d0d4102) / screen, extxyz (target: at least)": 5.0,
}
#: Cubic cells along each direction: 2 to 24 atoms.
CELLS = ((1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 2, 2), (1, 1, 5), (1, 2, 3), (1, 1, 7), (2, 2, 2), (1, 3, 3), (1, 2, 5),
         (1, 1, 11), (2, 2, 3))  # fmt: skip
#: Lattice constant in A, and displacements in A of structures that the model knows well, and of those that it does not.
LATTICE, TAME, WILD = 3.33, 0.01, 0.45
FORMATS = ("extxyz", "extxyz.gz", "traj")
FEW = 200
#: The share of the rows after which clocks are started where there are workers.
WARM = 0.1
#: Rows before the last one at which they are stopped: workers are still there.
SPARED = 1000


def structures(species: tuple[str, ...], count: int) -> list[Atoms]:
    """Random alloys, every second one rattled."""
    made = []
    for seed in range(count):
        cells = CELLS[np.random.default_rng(seed).integers(len(CELLS))]
        made.append(bcc_crystal(species, cells, a=LATTICE, displacement=WILD if seed % 2 else TAME, seed=seed))
    return made


def write(folder: Path, model: str, count: int) -> None:
    """The files of all structures, and of a few for the beginning of each process."""
    from ase.io import write as write_file

    from etn_gpu import load

    many = structures(load(model).species, count)
    for name, some in (("all", many), ("few", many[:FEW])):
        for form in FORMATS:
            write_file(folder / f"{name}.{form}", some, format=form.removesuffix(".gz"))


def repeat(path: Path, into: Path, times: int) -> None:
    """A file that holds another one so many times."""
    with into.open("wb") as file:
        for _ in range(times):
            file.write(path.read_bytes())


def measure(what: str, folder: Path, model: str) -> dict[str, float]:
    """Seconds of processor time of this process and its children, and of wall time; atoms and flagged structures."""
    from ase.io import read

    from etn_gpu import load
    from etn_gpu.screening import screen as run

    potential = load(model)
    task, _, form = what.partition(" ")

    def evaluate(many: list[Atoms]) -> dict[str, float]:
        results = potential.evaluate(many, threads=1)
        return {"atoms": sum(map(len, many)), "flagged": sum(result.extrapolating for result in results)}

    def read_all(name: str) -> dict[str, float]:
        return {"atoms": sum(map(len, read(folder / f"{name}.{form}", ":")))}

    def screen(name: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as out:
            kept = {"structures": Path(out, "out.extxyz")} if task == "structures" else {}
            report = run(potential, [folder / f"{name}.{form}"], Path(out, "rows.csv"), threads=1, **kept)
        return {"atoms": report.n_atoms, "flagged": report.n_extrapolating, "failed": report.n_failed}

    if task == "workers":
        return shared(potential, folder / "many.extxyz", int(form))
    if task == "evaluate":
        few, many = (read(folder / f"{name}.{form}", ":") for name in ("few", "all"))
        return _timed(evaluate, few, many)
    return _timed(read_all if task == "read" else screen, "few", "all")


def shared(potential: Any, path: Path, workers: int) -> dict[str, float]:
    """Seconds per structure of a run with so many workers, 0 for none: wall time, processor time of all processes, of
    this one, and of its thread that cuts and writes, from a tenth of the rows to the last ones; and processor time from
    there to the results. Dask's own threads take some hundredths of a core, whatever the number of structures."""
    import psutil  # type: ignore[import-untyped]

    from etn_gpu.screening import Screening

    def clocks() -> tuple[float, float, float, float]:
        others = sum(sum(process.cpu_times()[:2]) for process in psutil.Process().children(recursive=True))
        return time.perf_counter(), sum(os.times()[:2]), others, time.thread_time()

    count = sum(line.count(b"Lattice=") for line in path.open("rb"))
    with tempfile.TemporaryDirectory() as out:
        given: dict[str, Any] = {"workers": workers} if workers else {}
        seen, start, last, before = 0, None, None, 0
        for rows in Screening(potential, path, Path(out, "rows.csv"), threads=1, **given):
            seen += len(rows)
            if start is None and seen >= WARM * count:
                start, before = clocks(), seen
            if last is None and seen >= count - SPARED:
                last, counted = clocks(), seen - before
        end = clocks()
    assert start is not None
    assert last is not None
    wall, own, others, thread = (b - a for a, b in zip(start, last, strict=True))
    each = {"wall": wall / counted, "all": (own + others) / counted, "own": own / counted, "thread": thread / counted}
    return {**each, "end": (end[1] - last[1]) / count, "structures": count}


def _timed(work: Callable[[Any], dict[str, float]], few: Any, many: Any) -> dict[str, float]:
    work(few)
    start = sum(os.times()[:4]), time.perf_counter()
    found = work(many)
    return {**found, "cpu": sum(os.times()[:4]) - start[0], "wall": time.perf_counter() - start[1]}


def in_process(what: str, folder: Path, model: str, checkout: Path) -> dict[str, float]:
    """The same in a process with the library of a checkout."""
    command = [sys.executable, str(HERE), "--model", model, "--measure", what, str(folder)]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **threads, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw")
    parser.add_argument("--structures", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--many", type=int, default=60_000, help="structures for workers")
    parser.add_argument("--beside", type=Path, help="another checkout of this library")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]), options.model)))
        return
    where, ours = machine(), HERE.parent.parent
    print(f"{options.model}, {options.structures} structures, one thread; {where['processor']}\n\nExpected")
    print_table(("figure", "value"), list(EXPECTED.items()))

    tasks = ["evaluate extxyz", "read extxyz", "read traj"]
    tasks += [f"{task} {form}" for task in ("screen", "structures") for form in FORMATS]
    runs = [("", task, ours) for task in tasks]
    if options.beside:
        other = options.beside.resolve()
        runs += [("beside: ", task, other) for task in ("evaluate extxyz", "screen extxyz", "structures extxyz")]
    shares = [f"workers {count}" for count in (0, options.workers)] if options.workers else []
    found: dict[str, list[dict[str, float]]] = {
        task: [] for task in (*(name + task for name, task, _ in runs), *shares)
    }
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.model, options.structures)
        if shares:
            repeat(Path(folder, "all.extxyz"), Path(folder, "many.extxyz"), -(-options.many // options.structures))
        for _ in range(options.rounds):
            for name, task, checkout in runs:
                found[name + task].append(in_process(task, Path(folder), options.model, checkout))
            for task in shares:
                found[task].append(in_process(task, Path(folder), options.model, ours))
    rows = [_row(what, found[what], options.structures) for what in found if what not in shares]
    base = rows[0]["cpu"]
    for row in rows:
        row["over_evaluate"] = row["cpu"] / base
    keys = ("what", "cpu", "wall", "over_evaluate", "flagged")
    print("Microseconds per atom")
    print_table(("what", "processor", "wall", "/ evaluate", "flagged"), [[row[key] for key in keys] for row in rows])
    cpu = {row["what"]: row["cpu"] for row in rows}
    ratios = {
        f"other build / this one, {task}": cpu[f"beside: {task}"] / cpu[task]
        for task in tasks
        if f"beside: {task}" in cpu
    }
    if ratios:
        print_table(("ratio", "value"), list(ratios.items()))
    processes = {task: {kind: min(run[kind] for run in found[task]) for kind in found[task][0]} for task in shares}
    if shares:
        ratios |= _show_shares(processes, options.workers)
    report = {
        **where,
        "processes": processes,
        "model": options.model,
        "structures": options.structures,
        "expected": EXPECTED,
        "rows": rows,
    }
    report |= {"ratios": ratios, "beside": options.beside and commit_of(options.beside)}
    print(f"written to {save('bench_screening', report)}")


def _show_shares(processes: dict[str, dict[str, float]], workers: int) -> dict[str, float]:
    """Prints the table of runs with and without workers; the ratios."""
    one, many = processes["workers 0"], processes[f"workers {workers}"]
    print(f"Microseconds per structure, {one['structures']} structures; wall time until the last row")
    kinds = {
        "wall": "wall",
        "all": "processor, all",
        "own": "command",
        "thread": "its thread",
        "end": "processor, results of rows",
    }
    print_table(
        ("what", *kinds.values()),
        [
            [what, *(1e6 * some[kind] for kind in kinds)]
            for what, some in (("one process", one), (f"{workers} workers", many))
        ],
    )
    ratios = {
        f"wall time of one process / {workers} workers": one["wall"] / many["wall"],
        f"the same on {workers} idle cores, from processor times": workers * one["all"] / many["all"],
        "workers that the thread of one command can feed": one["all"] / many["thread"],
    }
    print_table(("ratio", "value"), list(ratios.items()))
    return ratios


def _row(what: str, some: list[dict[str, float]], count: int) -> dict[str, Any]:
    atoms = some[0]["atoms"]
    least = {kind: 1e6 * min(run[kind] for run in some) / atoms for kind in ("cpu", "wall")}
    share = some[0]["flagged"] / count if "flagged" in some[0] else None
    return {"what": what, **least, "atoms": atoms, "flagged": share, "failed": some[0].get("failed", 0)}


if __name__ == "__main__":
    main()
