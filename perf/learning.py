"""Students of slow potentials: errors on structures that neither chose, and the speed of both, by `etn-gpu learn`.

    python perf/learning.py emt                                              # ASE's EMT for copper and gold
    ETN_GPU_POTENTIALS=/path/to/potentials python perf/learning.py mtp       # needs motep
    python perf/learning.py chgnet                                           # needs chgnet and torch

* ``emt``: alloys of copper and gold, 16 atoms.
* ``mtp``: the MTP of Nb-Mo-Ta-W (Yin et al. 2021) computed by motep (``pip install motep==0.2.*``).
* ``chgnet``: CHGNet on oxides of magnesium and calcium (``pip install chgnet==0.4.2``), a graph network.

Models, labels and students go to the folder in ``--models``; a run that was stopped goes on. The report of a run goes
into perf/results/learning.json beside those of others.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from markdown_table import number, table
from peers.environments import CACHE

from etn_gpu.errors import EtnGpuError
from etn_gpu.learning import LearningConfig, LearningReport, Teacher, learn
from etn_gpu.learning.config import Event
from etn_gpu.structures.units import GPA

HEADERS = (
    "structures",
    "number",
    "energy RMSE (meV/atom)",
    "forces RMSE (meV/Å)",
    "of forces (meV/Å)",
    "stress RMSE (GPa)",
)
TOLD = ("rounds", "number", "test_number", "max_iterations", "preset", "stop_grade", "steps", "trajectories")
MTP_FILE = "NbMoTaW/mtp.2021.08/quaternary.mtp"


def copper_gold(rng: np.random.Generator) -> list[Atoms]:
    """Both elements and fourteen fcc alloys."""
    return [bulk("Cu"), bulk("Au"), *(_alloy(rng, "fcc", rng.uniform(3.7, 4.0), ("Cu", "Au")) for _ in range(14))]


def refractory(rng: np.random.Generator) -> list[Atoms]:
    """Twenty bcc alloys of one to four elements."""
    elements = ("Nb", "Mo", "Ta", "W")
    some = [tuple(rng.choice(elements, rng.integers(1, 5), replace=False)) for _ in range(20)]
    return [_alloy(rng, "bcc", rng.uniform(3.15, 3.32), chosen) for chosen in some]


def oxides(rng: np.random.Generator) -> list[Atoms]:
    """Twelve rock salts of magnesium and calcium, whose cations are drawn."""
    found = []
    for _ in range(12):
        atoms = bulk("MgO", "rocksalt", a=rng.uniform(4.2, 4.8), cubic=True) * (2, 1, 1)
        share = rng.uniform()
        cations = [k for k, symbol in enumerate(atoms.symbols) if symbol == "Mg" and rng.uniform() < share]
        atoms.symbols[cations] = "Ca"
        found.append(atoms)
    return found


def _alloy(rng: np.random.Generator, lattice: str, a: float, elements: tuple[str, ...]) -> Atoms:
    atoms = bulk(elements[0], lattice, a=a, cubic=True) * (2, 2, 1 if lattice == "fcc" else 2)
    atoms.symbols[:] = rng.choice(elements, len(atoms))
    return atoms


@dataclass(frozen=True)
class Case:
    """A teacher, what to begin with, and options that are not the default."""

    teacher: Callable[[], Teacher]
    structures: Callable[[np.random.Generator], list[Atoms]]
    options: dict[str, Any] = field(default_factory=dict)


def _mtp() -> Teacher:
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if folder is None:
        raise SystemExit("ETN_GPU_POTENTIALS is not set: point it to the folder of the published potentials")
    arguments = {"file": str(Path(folder) / MTP_FILE), "species": ["Nb", "Mo", "Ta", "W"]}
    return Teacher("teachers:mtp", arguments)


CASES = {
    "emt": Case(lambda: Teacher("ase.calculators.emt:EMT"), copper_gold, {"exchange": (("Cu", "Au"),)}),
    "mtp": Case(_mtp, refractory, {"exchange": (("Nb", "Mo", "Ta", "W"),), "temperature": 2000.0}),
    "chgnet": Case(lambda: Teacher("teachers:chgnet"), oxides, {"exchange": (("Mg", "Ca"),), "temperature": 1500.0}),
}


def run(name: str, options: argparse.Namespace) -> LearningReport:
    """A run of learning, or the rest of one."""
    case = CASES[name]
    folder = options.models / name
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / "start.extxyz"
    if not start.exists():
        write(start, case.structures(np.random.default_rng(0)))
    output = folder / "student.etn"
    chosen = {
        key: getattr(options, key) for key in ("rounds", "number", "test_number", "max_iterations", "preset", "threads")
    }
    resume = (output.with_suffix(".learn") / "run.json").exists()
    return learn(LearningConfig(case.teacher(), (start,), output, **case.options, **chosen, resume=resume), show)


def show(event: Event) -> None:
    """Phases and rounds on standard error."""
    if event.text or event.kind == "round":
        print(event.text or event.facts, file=sys.stderr, flush=True)


def main() -> int:
    """Run the cases that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--models", type=Path, default=CACHE.parent / "learning", help="folder of the runs")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--number", type=int, default=60, help="labels in each round")
    parser.add_argument("--test-number", type=int, default=60)
    parser.add_argument("--max-iterations", type=int, default=12, help="of each training")
    parser.add_argument("--threads", type=int, default=1, help="of teacher and student")
    options = parser.parse_args()
    for name in options.cases:
        try:
            report = run(name, options)
        except EtnGpuError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        rows = [
            (
                origin,
                str(row["n_structures"]),
                number(1e3 * row["energy"]["rmse"], 2),
                number(1e3 * row["forces"]["rmse"], 1),
                number(1e3 * row["forces_rms"], 0),
                number(row["stress"]["rmse"] / GPA, 3),
            )
            for origin, row in report.errors.items()
        ]
        print(f"\n{name}\n\n{table(HEADERS, rows)}\n\n{report.speed}")
        found = report.to_dict()
        # Folders of the machine mean nothing elsewhere.
        found["options"] = {key: found["options"][key] for key in (*TOLD, *CASES[name].options)}
        common.merge("learning", name, found | {"machine": common.machine()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
