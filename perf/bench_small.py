"""Small cells: what a call of the calculator costs beside its kernels, and dynamics, relaxations and bands through ASE.

    ETN_GPU_POTENTIALS=/path/to/potentials python perf/bench_small.py [--repeats 5] [--beside CHECKOUT] [--no-peers]

bcc crystals of 2 to 128 atoms, microseconds of processor time of one thread, each row a process of its own: this
library with a shipped model, with a published MTP and a published SNAP of Mo, all through ``ETNCalculator``; the same
files in motep and LAMMPS through ASE (each in an environment that the script makes, see ``compare_peers.py``); ASE's
EMT (Cu); a calculator that computes nothing, which is what ASE itself costs; and this library as it is in another
checkout, in turns with our own. ``small_cells.py`` says what is run. `evaluate` is ``model.evaluate`` of one structure,
list and all; `kernels` the time inside compiled loops of a call of the calculator.

Expected, written down before the first run: of the 2.2 ms that a call for 16 atoms took (Zen 3) 0.13 ms are kernels,
some 0.1 ms ASE's, and the rest calls of NumPy on arrays of some tens of numbers, parameters that are read again to see
whether they have changed, and memory that is asked for and given back. Without these at most 0.25 ms are left beside
the kernels, so a call takes a sixth. EMT in Python takes about 2 ms for 16 atoms and grows with them. Written to
perf/results/bench_small.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import bcc_crystal, commit_of, machine, print_table, save
from peers.environments import ONE_THREAD, Environments, PeerError
from peers.published import PUBLISHED, find
from small_cells import CALLS, CELLS, Nothing, measure
from small_cells import least as quickest

HERE = Path(__file__).resolve()
EXPECTED = {
    "calculator - kernels, 2 to 64 atoms, us (target: at most)": 250,
    "model.evaluate - kernels, 2 to 64 atoms, us (target: at most)": 250,
    "calculator of another build (d0d4102) / this one, 16 atoms (target: at least)": 6,
    "EMT / calculator, 16 atoms (expected)": 5,
    "motep / calculator, the same MTP, 16 atoms (expected)": 6,
}
#: Lattice constants in A: bcc Mo, the alloys, and Cu with the volume of its fcc crystal.
MO, ALLOY, CU = 3.16, 3.23, 2.87
#: The largest cells that the target is for.
LARGEST = 64


def own(model: Any, a: float, repeats: int) -> dict[str, Any]:
    """All figures of this library."""
    from etn_gpu import ETNCalculator

    species = model.species
    found = measure(partial(ETNCalculator, model, threads=1), species, a, repeats)
    crystals = {n: bcc_crystal(species, cells, a=a) for n, cells in CELLS.items()}
    if shares_loops():
        found["kernels"] = {str(n): kernels(ETNCalculator(model, threads=1), atoms) for n, atoms in crystals.items()}
    found["evaluate"] = {
        str(n): quickest(partial(model.evaluate, atoms, threads=1), CALLS * repeats) for n, atoms in crystals.items()
    }
    return found


def shares_loops() -> bool:
    """Whether the library's compiled loops go through one function; early versions had none."""
    from etn_gpu.backend.cpu import threads

    return hasattr(threads, "share")


def kernels(calculator: Any, atoms: Any) -> float:
    """Microseconds inside the compiled loops of a call, which all go through :func:`threads.share`."""
    from etn_gpu.backend.cpu import threads

    spent: list[float] = []

    def timed_share(loop: Callable[..., object], number: int, *arguments: Any) -> None:
        start = time.process_time()
        share(loop, number, *arguments)
        spent.append(time.process_time() - start)

    share = threads.share
    users = [module for module in sys.modules.values() if getattr(module, "share", None) is share]
    atoms.calc = calculator
    quickest_call = float("inf")
    try:
        for module in users:
            vars(module)["share"] = timed_share
        for k in range(CALLS):
            spent.clear()
            atoms.positions[0, 0] += 1e-3 * (-1) ** k
            atoms.get_forces()
            quickest_call = min(quickest_call, sum(spent))
    finally:
        for module in users:
            vars(module)["share"] = share
    return 1e6 * quickest_call


def row(what: str, repeats: int) -> dict[str, Any]:
    """The figures of one row, in this process."""
    kind, _, name = what.partition(" ")
    if kind == "nothing":
        return measure(Nothing, ("Mo",), MO, repeats)
    if kind == "emt":
        from ase.calculators.emt import EMT

        return measure(EMT, ("Cu",), CU, repeats)
    from etn_gpu import load

    if kind == "file":
        return own(load(find(name), species=("Mo",)), MO, repeats)
    model = load(name)
    return own(model, MO if len(model.species) == 1 else ALLOY, repeats)


def in_process(what: str, repeats: int, checkout: Path) -> dict[str, Any]:
    """The same in a process with the library of a checkout."""
    command = [sys.executable, str(HERE), "--repeats", str(repeats), "--measure", what]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The least of each figure."""
    first = runs[0]
    return {
        key: least([run[key] for run in runs]) if isinstance(value, dict) else min(run[key] for run in runs)
        for key, value in first.items()
        if not isinstance(value, str)
    } | {key: value for key, value in first.items() if isinstance(value, str)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="our own rows and those of the other checkout take turns")
    parser.add_argument("--beside", type=Path, help="another checkout of this library")
    parser.add_argument("--no-peers", action="store_true", help="without motep and LAMMPS")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(row(options.measure, options.repeats)))
        return
    where, ours = machine(), HERE.parents[1]
    print(f"{options.model}, one thread; {where['processor']}\n\nExpected")
    print_table(("figure", "value"), list(EXPECTED.items()))

    tasks = [("etn_gpu", f"model {options.model}", ours)]
    if options.beside:
        tasks.append(("other build", f"model {options.model}", options.beside.resolve()))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in tasks}
    for _ in range(options.rounds):
        for name, what, checkout in tasks:
            runs[name].append(in_process(what, options.repeats, checkout))
    rows = {name: least(some) for name, some in runs.items()}
    rows["ASE alone"] = in_process("nothing", options.repeats, ours)
    rows["EMT (ASE)"] = in_process("emt", options.repeats, ours)
    if not options.no_peers:
        rows |= with_peers(options.repeats, ours)
    show(rows)
    figures = compared(rows)
    print_table(("figure", "value"), list(figures.items()))
    report = {**where, "model": options.model, "expected": EXPECTED, "rows": rows, "figures": figures}
    print(f"written to {save('bench_small', report | {'beside': options.beside and commit_of(options.beside)})}")


def with_peers(repeats: int, checkout: Path) -> dict[str, dict[str, Any]]:
    """Published potentials of Mo here and in their own engines."""
    environments, rows = Environments(), {}
    for item in PUBLISHED[:2]:
        engine, method = item.peer.name, item.label.split(",")[0]
        try:
            rows[f"etn_gpu, {method}"] = in_process(f"file {item.files[0]}", repeats, checkout)
            job = {"task": "small", "potential": item.potential(), "species": item.species, "a": MO, "repeats": repeats}
            rows[f"{engine}, {method}"] = environments.ask(item.peer, job)
        except PeerError as error:
            print(f"{engine}: {error}")
    return rows


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    sizes = [str(n) for n in CELLS]
    print("Microseconds: a call of the calculator, a step of dynamics, of a relaxation, an image of a band")
    print_table(
        ("", *(f"{n} atoms" for n in sizes), "dynamics", "relaxation", "band"),
        [[name, *(row["calls"][n] for n in sizes), row["md"], row["relax"], row["neb"]] for name, row in rows.items()],
    )
    parts = {key: what for key, what in (("kernels", "kernels of a call"), ("evaluate", "model.evaluate"))}
    print_table(
        ("", *(f"{n} atoms" for n in sizes)),
        [[f"{name}, {what}", *(row[key][n] for n in sizes)] for name, row in rows.items() for key, what in parts.items()
         if key in row],
    )  # fmt: skip


def compared(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Figures as they were expected."""
    ours, sizes = rows["etn_gpu"], [str(n) for n in CELLS if n <= LARGEST]
    figures = {
        f"{name} - kernels, 2 to {LARGEST} atoms, us": max(ours[key][n] - ours["kernels"][n] for n in sizes)
        for name, key in (("calculator", "calls"), ("model.evaluate", "evaluate"))
    }
    for name, row in rows.items():
        if name != "etn_gpu" and "," not in name:
            figures[f"{name} / etn_gpu, 16 atoms"] = row["calls"]["16"] / ours["calls"]["16"]
    for engine, method in ((name.split(", ")) for name in rows if "," in name and not name.startswith("etn_gpu")):
        mine = rows[f"etn_gpu, {method}"]["calls"]["16"]
        figures[f"{engine} / etn_gpu, {method}, 16 atoms"] = rows[f"{engine}, {method}"]["calls"]["16"] / mine
    return figures


if __name__ == "__main__":
    main()
