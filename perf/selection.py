"""Learning curves: what is chosen by `etn-gpu select` against as many structures at random.

    ETN_GPU_DATA=/path/to/data python perf/selection.py                 # nbmotaw and acac
    ETN_GPU_DATA=/path/to/data python perf/selection.py acac --seeds 5 --added 100

A potential is trained on a few structures of the train split, and chooses more from the rest of it; the choice, and
random ones of the same size, are added, and each is trained on from the beginning, for the same number of iterations.
All are judged by other structures that were in neither part. The test split is not read.

* ``nbmotaw``: 300 random structures, the pool are the others of the train split but 500 that are held out.
* ``acac``: 50 structures at 300 K; the pool are the other ones at 300 K and half of those at 600 K, the other half of
  which is held out.

Models go to a folder in ``--models``; what is there is not trained again. Results of a set go into
perf/results/selection.json beside those of others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np
from ase import Atoms
from ase.io import write
from data_sets import DATA_SETS
from markdown_table import number, table
from peers.environments import CACHE
from trained import mean_errors, provenance, trained

from etn_gpu.errors import EtnGpuError
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.grade import graded
from etn_gpu.selection import select
from etn_gpu.structures import LabelledSet, StructureBatch, collect_labels, read_labelled
from etn_gpu.training import TrainingConfig
from etn_gpu.training.data import split_validation

HEADERS = ("trained on", "structures", "atoms", "energy (meV/atom)", "forces (eV/Å)")
ADDED = {"nbmotaw": (100, 200), "acac": (50, 100)}
BASE = {"nbmotaw": 300, "acac": 50}
HELD = 500
#: Of all random decisions but those of the random arms.
SEED = 0


@dataclass(frozen=True)
class Study:
    """What to begin with, what to choose from, what to judge by, and how to train."""

    name: str
    base: list[Atoms]
    pool: list[Atoms]
    held: LabelledSet
    preset: str
    iterations: int
    added: tuple[int, ...]
    folder: Path

    def model(self, arm: str, added: list[Atoms], cutoff: float | None) -> ETNPotential:
        """The potential trained on the base and ``added``."""
        file = self.folder / f"{arm}.extxyz"
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, [*self.base, *added])
        config = TrainingConfig(
            file, file.with_suffix(".etn"), preset=self.preset, cutoff=cutoff, seed=SEED, threads=1,
            max_iterations=self.iterations,
        )  # fmt: skip
        return trained(config)

    def runs(self, seeds: int) -> Iterator[dict[str, Any]]:
        """Errors of the beginning, and of each arm for each number of added structures."""
        start = self.model("start", [], None)
        yield self._result("start", 0, [], start)
        batches = [StructureBatch.build([atoms], start.species, start.cutoff) for atoms in self.base]
        choices = select(start.with_grade(graded(start, batches)), self.pool, max(self.added), threads=1)
        arms = {"chosen": [choice.index for choice in choices]}
        for seed in range(seeds):
            rng = np.random.default_rng([SEED, seed])
            arms[f"random {seed}"] = rng.permutation(len(self.pool))[: max(self.added)].tolist()
        for count in self.added:
            for arm, places in arms.items():
                added = [self.pool[i] for i in places[:count]]
                model = self.model(f"{arm.replace(' ', '-')}-{count}", added, start.cutoff)
                yield self._result(arm, count, added, model)

    def _result(self, arm: str, count: int, added: list[Atoms], model: ETNPotential) -> dict[str, Any]:
        errors = mean_errors(model, self.held)
        print(f"{self.name}: {arm} {count}: {errors}", flush=True)
        everything = [*self.base, *added]
        return {
            "arm": arm,
            "added": count,
            "structures": len(everything),
            "atoms": sum(map(len, everything)),
            "errors": errors,
            **{k: v for k, v in provenance(model).items() if k != "architecture"},
        }


def study(name: str, options: argparse.Namespace) -> Study:
    """The parts of one set."""
    data = DATA_SETS[name]
    labels = read_labelled(data.path())
    rng = np.random.default_rng(SEED)
    if name == "acac":
        hot = read_labelled(data.path("train_600K.extxyz.gz"))
        places = rng.permutation(len(hot))
        held = collect_labels([hot.atoms[i] for i in places[: len(hot) // 2]])
        left = [labels.atoms[i] for i in rng.permutation(len(labels))]
        more = [hot.atoms[i] for i in places[len(hot) // 2 :]]
    else:
        rest, out = split_validation(labels, HELD / len(labels), SEED, range(len(labels)))
        held, left, more = collect_labels([labels.atoms[i] for i in out]), [labels.atoms[i] for i in rest], []
    base, pool = left[: BASE[name]], left[BASE[name] :] + more
    folder = options.models.expanduser() / f"{name}-{options.preset}-{options.iterations}"
    added = tuple(options.added or ADDED[name])
    return Study(name, base, pool, held, options.preset, options.iterations, added, folder)


def rows(runs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Rows of the table: random ones as mean and range."""
    for count in dict.fromkeys(run["added"] for run in runs):
        for arm in ("start", "chosen", "random"):
            same = [run for run in runs if run["added"] == count and run["arm"].startswith(arm)]
            if not same:
                continue
            label = arm if arm == "start" else f"{count} {'at random' if arm == 'random' else arm} more"
            errors = [[run["errors"][f"{quantity}_mae"] for run in same] for quantity in ("energy", "forces")]
            atoms = round(float(np.mean([run["atoms"] for run in same])))
            yield (
                label,
                str(same[0]["structures"]),
                str(atoms),
                *(_with_range(values, digits) for values, digits in zip(errors, (2, 4), strict=True)),
            )


def _with_range(values: list[float], digits: int) -> str:
    mean = number(float(np.mean(values)), digits)
    return mean if len(values) == 1 else f"{mean} ({number(min(values), digits)} to {number(max(values), digits)})"


def main() -> int:
    """Run the studies; exit status 2 where the data are not there or a model cannot be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(BASE)}; default: all")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--iterations", type=int, default=25, help="of each training, at most")
    parser.add_argument("--added", type=int, nargs="+", metavar="N", help="structures to add; default: by the set")
    parser.add_argument("--seeds", type=int, default=2, help="random choices of each size")
    parser.add_argument("--models", type=Path, default=CACHE.parent / "selection", help="folder of the models")
    options = parser.parse_args()
    if unknown := sorted(set(options.sets) - set(BASE)):
        parser.error(f"unknown sets {', '.join(unknown)}: choose from {', '.join(BASE)}")
    try:
        for name in options.sets or BASE:
            one = study(name, options)
            runs = list(one.runs(options.seeds))
            counts = {"held out": len(one.held), "pool": len(one.pool)}
            entry = {**common.machine(), "preset": one.preset, "iterations": one.iterations, "structures": counts}
            common.merge("selection", name, entry | {"runs": runs})
            print(f"\n{name}: MAE on {len(one.held)} structures that nobody chose from\n")
            print(table(HEADERS, list(rows(runs))), flush=True)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
