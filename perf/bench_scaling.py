"""How time and memory grow: with atoms, neighbours, species and threads.

    python perf/bench_scaling.py [--most-atoms 1000000] [--preset standard]

Untrained models of a preset on bcc solid solutions, energy, forces and stress in float64; each row is measured in a
process of its own, whose peak memory it shows. Written to perf/results/bench_scaling.json. A million atoms take about
half a minute and 8 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from common import bcc_crystal, machine, print_table, save, timed

from etn_gpu import ETNPotential
from etn_gpu.plan.count import work
from etn_gpu.potential import preset_architecture
from etn_gpu.potential.programs import programs
from etn_gpu.structures import StructureBatch

CUTOFF, INNER = 5.0, 1.8
SPECIES = ("Nb", "Mo", "Ta", "W", "Ti", "Zr", "Hf", "V", "Cr", "Fe", "Al", "Ni", "Co", "Mn", "Cu", "Re")
#: Cubic cells along each direction: 128 to 986 078 atoms.
SIZES = (4, 8, 17, 37, 79)
#: Lattice constants in A that give 14 to 150 neighbours inside the cutoff.
LATTICE_CONSTANTS = (4.3, 3.24, 2.95, 2.5, 2.2, 1.9)
EXPECTED = {
    "us/atom, 10^3 to 10^6 atoms: largest / smallest (target: at most)": 1.1,
    "us/atom, 1 to 16 species: largest / smallest (target: at most)": 1.1,
    "parameters (target)": "linear in species",
    "one thread / two threads (target: at least)": 1.8,
    "GB for 10^6 atoms (target: at most)": 17.2,
}


@dataclass(frozen=True)
class Case:
    """A crystal with `cells`^3 cubic cells of lattice constant `a` (A), and how it is evaluated."""

    cells: int = 10
    a: float = 2.95
    species: int = 4
    threads: int = 1
    preset: str = "standard"


def measure(case: Case) -> dict[str, Any]:
    """Microseconds per atom, peak memory in GB and counts of one case, in this process."""
    species = SPECIES[: case.species]
    architecture = preset_architecture(case.preset, species, CUTOFF, INNER)
    rng = np.random.default_rng(0)
    shapes = architecture.parameter_shapes
    model = ETNPotential(architecture, {name: rng.normal(scale=0.3, size=shapes[name]) for name in shapes})
    crystal = bcc_crystal(species, case.cells, a=case.a)
    repeats = 7 if len(crystal) < 50_000 else 1
    build = partial(StructureBatch.build, [crystal], species, CUTOFF)
    search = timed(build, repeats).per(len(crystal))
    batch = build()
    evaluation = timed(partial(model.evaluate_batch, batch, backend="numba", threads=case.threads), repeats)
    cpu, wall = evaluation.per(batch.n_atoms)
    flops = work(programs(architecture).gradient).total(batch.n_atoms, batch.n_edges) / batch.n_atoms
    # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)
    return {
        **asdict(case),
        "atoms": batch.n_atoms,
        "neighbours": batch.n_edges / batch.n_atoms,
        "parameters": architecture.n_parameters,
        "kflop": 1e-3 * flops,
        "list": search.cpu,
        "cpu": cpu,
        "wall": wall,
        "peak_gigabytes": 1e-9 * peak,
    }


def measure_apart(case: Case) -> dict[str, Any]:
    """The same in a new process, so that its peak memory is that of the case alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, case).result()


def spread(rows: list[dict[str, Any]]) -> float:
    """Largest processor time per atom over the smallest."""
    times = [row["cpu"] for row in rows]
    return max(times) / min(times)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most-atoms", type=int, default=1_000_000)
    parser.add_argument("--preset", default="standard")
    options = parser.parse_args()
    where, base = machine(), Case(preset=options.preset)
    print(f"preset {options.preset}, cutoff {CUTOFF:g} A, float64; {where['processor']}\n\nExpected")
    print_table(("figure", "value"), list(EXPECTED.items()))

    series = {
        "atoms": [replace(base, cells=cells) for cells in SIZES if 2 * cells**3 <= options.most_atoms],
        "neighbours": [replace(base, a=a) for a in LATTICE_CONSTANTS],
        "species": [replace(base, species=count) for count in (1, 2, 4, 8, 16)],
        "threads": [replace(base, cells=17, threads=count) for count in (1, 2)],
    }
    columns = (
        "atoms",
        "neighbours",
        "species",
        "threads",
        "parameters",
        "kflop",
        "list",
        "cpu",
        "wall",
        "peak_gigabytes",
    )
    units = (*columns[:5], "kflop/atom", "list us/atom", "CPU us/atom", "wall us/atom", "peak GB")
    results = {}
    for name, cases in series.items():
        print(f"Growing {name}")
        results[name] = [measure_apart(case) for case in cases]
        print_table(units, [[row[key] for key in columns] for row in results[name]])
    found = {
        "us/atom, 10^3 atoms and more: largest / smallest": spread(results["atoms"][1:]),
        "us/atom, 1 to 16 species: largest / smallest": spread(results["species"]),
        "one thread / two threads": results["threads"][0]["wall"] / results["threads"][1]["wall"],
        "GB for the most atoms": results["atoms"][-1]["peak_gigabytes"],
    }
    print("Found")
    print_table(("figure", "value"), list(found.items()))
    print(f"written to {save('bench_scaling', {**where, 'expected': EXPECTED, 'found': found, **results})}")


if __name__ == "__main__":
    main()
