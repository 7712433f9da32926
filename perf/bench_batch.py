"""Many small structures in one batch against one large crystal: neighbour lists and evaluation, microseconds per atom.

    python perf/bench_batch.py [--model nbmotaw] [--structures 2000] [--repeats 5]

The neighbour lists are also compared with vesin alone, called structure by structure on one thread: a full list with
shifts and vectors, which is what a batch holds before its edges are sorted and paired, and a half list. Written to
perf/results/bench_batch.json.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from common import bcc_crystal, machine, print_table, save, timed
from vesin import NeighborList

from etn_gpu import ETNPotential
from etn_gpu.potential import load
from etn_gpu.structures import StructureBatch

#: Cubic cells of the large crystal, and of the small structures.
LARGE = 10
SMALL = {4: (2, 1, 1), 16: (2, 2, 2), 64: (4, 4, 2)}
EXPECTED = {
    "2000 x 16 atoms / large crystal, neighbour lists included (target: at most)": 1.4,
    "neighbour list / vesin, full list, large crystal (target: at most)": 1.3,
}
HEADERS = ("structures", "neighbours", "list", "evaluation", "sum", "of large", "vesin full", "half", "list / full")


def vesin(structures: list[Atoms], cutoff: float, *, full: bool) -> None:
    """Search each structure with vesin alone."""
    search = NeighborList(cutoff=cutoff, full_list=full, n_threads=1)
    for atoms in structures:
        search.compute(atoms.positions, atoms.cell.array, np.ones(3, dtype=bool), "PSD", copy=False)


def row(name: str, model: ETNPotential, structures: list[Atoms], repeats: int) -> dict[str, Any]:
    """Processor time in microseconds per atom of the neighbour list and of energy, forces and stress, one thread."""
    build = partial(StructureBatch.build, structures, model.species, model.cutoff)
    batch = build()

    def cpu(function: Any) -> float:
        return timed(function, repeats).per(batch.n_atoms).cpu

    search, evaluation = cpu(build), cpu(partial(model.evaluate_batch, batch, threads=1))
    return {
        "structures": name,
        "neighbours": batch.n_edges / batch.n_atoms,
        "list": search,
        "evaluation": evaluation,
        "sum": search + evaluation,
        "vesin_full": cpu(partial(vesin, structures, model.cutoff, full=True)),
        "vesin_half": cpu(partial(vesin, structures, model.cutoff, full=False)),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw")
    parser.add_argument("--structures", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    model, where = load(options.model), machine()
    print(f"{model!r}, float64, one thread; {where['processor']}\n\nExpected")
    print_table(("figure", "value"), list(EXPECTED.items()))

    rows = [row("one of 2000 atoms", model, [bcc_crystal(model.species, LARGE)], options.repeats)]
    for size, cells in SMALL.items():
        many = [bcc_crystal(model.species, cells, seed=seed) for seed in range(options.structures)]
        rows.append(row(f"{options.structures} of {size} atoms", model, many, options.repeats))
    for entry in rows:
        entry |= {"of_large": entry["sum"] / rows[0]["sum"], "list_over_vesin": entry["list"] / entry["vesin_full"]}
    keys = ("structures", "neighbours", "list", "evaluation", "sum", "of_large", "vesin_full", "vesin_half")
    print("CPU us/atom")
    print_table(HEADERS, [[entry[key] for key in (*keys, "list_over_vesin")] for entry in rows])
    print(f"written to {save('bench_batch', {**where, 'model': repr(model), 'expected': EXPECTED, 'rows': rows})}")


if __name__ == "__main__":
    main()
