"""A step of torch-sim's FIRE (MIT licence) with the cell, on one thread, with its Lennard-Jones potential.

The job names ``structures``, a ``cutoff`` in A and how many ``steps``; the answer holds ``microseconds`` of processor
time per step and atom, ``neighbours`` inside that cutoff as the model finds them in each step, and ``version``.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
import torch_sim
from ase.io import read
from torch_sim.models.lennard_jones import LennardJonesModel
from torch_sim.optimizers import frechet_cell_fire

#: In A and eV: the least energy at the nearest neighbours of the alloys, about as deep as the bonds of metals.
SIGMA, DEPTH = 2.45, 0.3


def main() -> None:
    """Do the job that the command line names and print the answer."""
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    structures = read(job["structures"], ":")
    model = LennardJonesModel(
        sigma=SIGMA, epsilon=DEPTH, cutoff=job["cutoff"], device=torch.device("cpu"), dtype=torch.float64,
        compute_stress=True,
    )  # fmt: skip
    first, step = frechet_cell_fire(model)
    state = first(torch_sim.initialize_state(structures, torch.device("cpu"), torch.float64))
    for _ in range(3):
        state = step(state)
    start = time.process_time()
    for _ in range(job["steps"]):
        state = step(state)
    seconds = time.process_time() - start
    atoms = sum(map(len, structures))
    name = "torch-sim-atomistic"
    print(json.dumps({"microseconds": 1e6 * seconds / job["steps"] / atoms, "version": f"{name} {version(name)}"}))


if __name__ == "__main__":
    main()
