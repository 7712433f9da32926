"""Relaxation of many alloys at once beside ASE, and a step of it beside torch-sim.

    OPENBLAS_NUM_THREADS=1 python perf/bench_relax.py [--structures 400] [--by-ase 3] [--rounds 4] [--no-peer]

Alloys of 16 atoms, strained by 3 % and rattled by 0.1 A, relaxed with their cells to the same fmax: by
``etn_gpu.relax`` all together, and by ASE's BFGS with FrechetCellFilter and our calculator one by one. Processor time
of one thread; both take turns. Then a step of FIRE with the cell, ours with this model and that of torch-sim with
Lennard-Jones, the cheapest of its models, with the same cutoff and in float64, on the same 100 alloys.

Expected, written down before the first run: an evaluation takes 24 us/atom with the neighbour list and the step, so a
structure that needs 13 of them 5 ms; a step of ASE takes 60 ms, most of it matrix functions of SciPy, and it needs 40:
2.4 s. That is a ratio of 400 (target: at least 60). A step of torch-sim is about a millisecond of PyTorch calls and
a neighbour list per structure: 100 us/atom, four times ours. Written to perf/results/bench_relax.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ase
import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.io import write
from ase.optimize import BFGS
from common import bcc_crystal, machine, print_table, save
from peers.environments import Environments, Peer, PeerError

from etn_gpu import ETNCalculator, ETNPotential, relax
from etn_gpu.potential import load

#: The extra index has torch without CUDA.
PEER = Peer(
    "torch_sim",
    (
        *("torch-sim-atomistic==0.3.0", "torch==2.13.*", "ase", "numpy"),
        "--extra-index-url=https://download.pytorch.org/whl/cpu",
    ),
)
EXPECTED = {
    "structures per second, over ASE (target: at least)": 60,
    "structures per second, over ASE (expected)": 400,
    "torch-sim / ours, time per step and atom (expected)": 4,
}
FMAX, LATTICE, STRAIN, RATTLE, LONGEST = 0.01, 3.22, 0.03, 0.1, 500
PEER_STRUCTURES, PEER_STEPS = 100, 20


def alloys(model: ETNPotential, number: int) -> list[Atoms]:
    """Strained and rattled alloys of 16 atoms."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(number):
        atoms = bcc_crystal(model.species, 2, a=LATTICE, displacement=RATTLE, seed=seed)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + STRAIN * rng.normal(size=(3, 3))), scale_atoms=True)
        found.append(atoms)
    return found


def by_us(model: ETNPotential, structures: list[Atoms]) -> dict[str, Any]:
    """Processor seconds, steps and what did not converge, all together."""
    start = time.process_time()
    found = relax(model, structures, cell="full", fmax=FMAX, threads=1)
    seconds = time.process_time() - start
    steps = [one.steps for one in found]
    bad = sum(one.status != "converged" for one in found)
    return {"seconds": seconds, "structures": len(found), "steps": float(np.mean(steps)), "not converged": bad}


def by_ase(model: ETNPotential, structures: list[Atoms]) -> dict[str, Any]:
    """The same, one by one."""
    calculator = ETNCalculator(model, threads=1)
    steps, bad, start = [], 0, time.process_time()
    for atoms in structures:
        moving = atoms.copy()
        moving.calc = calculator
        target: Any = FrechetCellFilter(moving)
        optimiser = BFGS(target, logfile=None)
        bad += not optimiser.run(fmax=FMAX, steps=LONGEST)
        steps.append(optimiser.nsteps)
    seconds = time.process_time() - start
    return {"seconds": seconds, "structures": len(steps), "steps": float(np.mean(steps)), "not converged": bad}


def fire_step(model: ETNPotential, structures: list[Atoms]) -> float:
    """Processor time of a step of FIRE with the cell in us/atom, evaluation, neighbour list and all."""

    def seconds(steps: int) -> float:
        start = time.process_time()
        relax(model, structures, cell="full", fmax=1e-9, steps=steps, optimizer="fire", threads=1)
        return time.process_time() - start

    return 1e6 * (seconds(PEER_STEPS + 5) - seconds(5)) / PEER_STEPS / sum(map(len, structures))


def peer_step(structures: list[Atoms], cutoff: float) -> dict[str, Any]:
    """The same of torch-sim; PeerError where it is not to be had."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "alloys.extxyz"
        write(path, structures)
        job = {"structures": str(path), "cutoff": cutoff, "steps": PEER_STEPS}
        return Environments().ask(PEER, job)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw")
    parser.add_argument("--structures", type=int, default=400, help="of each round, by us")
    parser.add_argument("--by-ase", type=int, default=3, help="of each round, by ASE")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    model, where = load(options.model), machine()
    print(f"{model!r}, float64, one thread, fmax {FMAX} eV/A; ASE {ase.__version__}; {where['processor']}\n\nExpected")
    print_table(("figure", "value"), list(EXPECTED.items()))

    structures = alloys(model, options.structures)
    by_us(model, structures[:4])
    by_ase(model, structures[:1])
    ours, theirs = [], []
    for k in range(options.rounds):
        some = [structures[j % len(structures)] for j in range(k * options.by_ase, (k + 1) * options.by_ase)]
        ours.append(by_us(model, structures))
        theirs.append(by_ase(model, some))
    rows: dict[str, dict[str, float]] = {}
    for name, runs in (("etn_gpu.relax", ours), ("ASE", theirs)):
        number, seconds = (sum(run[key] for run in runs) for key in ("structures", "seconds"))
        rows[name] = {
            "structures": number,
            "per second": number / seconds,
            "steps": float(np.mean([run["steps"] for run in runs])),
            "not converged": sum(run["not converged"] for run in runs),
        }
    each = [a["structures"] / a["seconds"] * b["seconds"] / b["structures"] for a, b in zip(ours, theirs, strict=True)]
    ratio = rows["etn_gpu.relax"]["per second"] / rows["ASE"]["per second"]
    print_table(("", *rows["ASE"]), [[name, *row.values()] for name, row in rows.items()])
    print(f"structures per second over ASE: {ratio:.0f} (rounds: {', '.join(f'{x:.0f}' for x in each)})")

    report = {**where, "model": repr(model), "ase": ase.__version__, "fmax": FMAX, "expected": EXPECTED}
    report |= {"rows": rows, "ratio": ratio, "ratios": each}
    if not options.no_peer:
        some = structures[:PEER_STRUCTURES]
        try:
            peer = peer_step(some, model.cutoff)
            step = fire_step(model, some)
            report["fire"] = {"ours": step, **peer, "ratio": peer["microseconds"] / step}
            print(
                f"a step of FIRE, us/atom: {step:.1f} ours, {peer['microseconds']:.1f} {peer['version']} with "
                f"Lennard-Jones, {report['fire']['ratio']:.1f} times ours"
            )
        except PeerError as error:
            print(f"torch-sim: {error}")
    print(f"written to {save('bench_relax', report)}")


if __name__ == "__main__":
    main()
