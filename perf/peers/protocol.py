"""The side of the conversation that runs inside a peer's virtual environment.

A runner is started in the folder perf/ as ``python -m peers.run_<peer> JOB``. JOB is a JSON file, one of

    {"task": "time", "potential": {...}, "structures": "crystal.extxyz", "repeats": 5}
    {"task": "predict", "potential": {...}, "structures": "test.extxyz", "predictions": "out.npz"}
    {"task": "small", "potential": {...}, "species": ["Mo"], "a": 3.16, "repeats": 5}

and the answer is the last line of standard output, one JSON object. What ``potential`` may hold is said by each runner.
Nothing but the standard library, NumPy and ASE is imported here: every peer has these.
"""

from __future__ import annotations

import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import iread
from common import timed
from small_cells import measure


class Engine(ABC):
    """One potential, run by one peer."""

    #: Name of the peer's distribution, whose version is reported.
    distribution: str
    #: 'excluded' or 'included': whether an evaluation that is timed searches the neighbours again.
    neighbour_list = "excluded"
    #: Largest cutoff of the potential in A.
    cutoff: float

    @abstractmethod
    def evaluation(self, atoms: Atoms) -> Callable[[], float]:
        """A function that computes energy, forces and stress of ``atoms`` anew at each call; it returns the energy."""

    @abstractmethod
    def calculator(self) -> Calculator:
        """A new ASE calculator of the potential."""


def serve(engine: Callable[[dict[str, Any], Path], Engine]) -> None:
    """Do the job that the command line names and print the answer.

    ``engine`` makes the Engine from the job's ``potential`` and a folder for files of its own.
    """
    path = Path(sys.argv[1])
    job = json.loads(path.read_text())
    made = engine(job["potential"], path.parent)
    answer = {"time": _time, "predict": _predict, "small": _small}[job["task"]](made, job)
    answer |= {"cutoff": float(made.cutoff), "version": f"{made.distribution} {version(made.distribution)}"}
    print(json.dumps(answer))


def _time(engine: Engine, job: dict[str, Any]) -> dict[str, Any]:
    """Microseconds per atom on the first structure."""
    atoms = next(iread(job["structures"]))
    evaluation = engine.evaluation(atoms)
    energy = evaluation()
    if not math.isfinite(energy):
        raise SystemExit(f"the energy of the crystal is {energy}: the timing of such an evaluation means nothing")
    timing = timed(evaluation, job["repeats"]).per(len(atoms))
    return {"cpu": timing.cpu, "wall": timing.wall, "neighbour_list": engine.neighbour_list}


def _small(engine: Engine, job: dict[str, Any]) -> dict[str, Any]:
    """Small cells through ASE; see :mod:`small_cells`."""
    return measure(engine.calculator, job["species"], job["a"], job["repeats"])


def _predict(engine: Engine, job: dict[str, Any]) -> dict[str, Any]:
    """Energies [S] in eV, forces [N, 3] in eV/A and stresses [S, 6] in eV/A^3 of all structures, into one npz file."""
    energies, forces, stresses = [], [], []
    for atoms in iread(job["structures"]):
        atoms.calc = engine.calculator()
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress())
    np.savez(job["predictions"], energy=energies, forces=np.concatenate(forces), stress=stresses)
    return {"structures": len(energies)}
