"""What the parts of the method are worth: species embedding, ranks that adapt, sweeps and second order.

    ETN_GPU_DATA=/path/to/data python perf/ablation.py                                # zuo2020_Mo and nbmotaw
    ETN_GPU_DATA=/path/to/data python perf/ablation.py nbmotaw --structures 600 --time-limit 10m --seeds 3

Every arm trains on the same part of the train split for the same time and is judged by the same other part of it; the
test split is not read. Arms differ in one thing from the first one or from each other:

* ``sweeps``: ranks adapt to the data;
* ``gradient``: the ranks of the preset stay;
* ``gradient, ranks of the sweeps``: the ranks that the sweeps ended with, from the beginning (where they differ);
* ``L-BFGS alone``: the ranks of the preset, the same objective, no second-order method;
* ``gradient, no embedding``: radial functions of every pair of species instead of embeddings, channels and ranks
  reduced until there are as many parameters (sets of several species).

Models go to a folder in ``--models`` that is named after the settings; what is there is not trained again, and a
training run that was interrupted goes on. Results of a set go into perf/results/ablation.json beside those of others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import common
import numpy as np
from data_sets import DATA_SETS
from held_out import split_file
from lbfgs import train_lbfgs
from markdown_table import bonds, table
from peers.environments import CACHE
from sizes import n_parameters, without_embedding
from trained import Trainer, mean_errors, provenance, trained

from etn_gpu.cli.parsing import parse_time_limit
from etn_gpu.errors import EtnGpuError
from etn_gpu.potential import PRESETS, Preset
from etn_gpu.structures import LabelledSet, read_labelled
from etn_gpu.training import TrainingConfig, train
from etn_gpu.training.data import species_of

DEFAULT_SETS = ("zuo2020_Mo", "nbmotaw")
HEADERS = (
    "arm", "ranks", "parameters", "training (s)", "iterations", "energy (meV/atom)", "forces (eV/Å)", "stress (GPa)",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    preset: Preset
    method: str = "gradient"
    trainer: Trainer = train


@dataclass(frozen=True)
class Ablation:
    """The parts of one set, and how every arm is trained on it."""

    fit: Path
    held: LabelledSet
    species: tuple[str, ...]
    preset: Preset
    time_limit: float
    folder: Path

    def runs(self, seed: int) -> Iterator[dict[str, Any]]:
        """One result for each arm with one seed."""
        sweeps = self.run(Arm("sweeps", self.preset, "sweeps"), seed)
        yield sweeps
        yield self.run(Arm("gradient", self.preset), seed)
        found = tuple(sweeps["architecture"]["bonds"])
        if found != self.preset.bonds:
            yield self.run(Arm("gradient, ranks of the sweeps", replace(self.preset, bonds=found)), seed)
        yield self.run(Arm("L-BFGS alone", self.preset, trainer=train_lbfgs), seed)
        if len(self.species) > 1:
            yield self.run(Arm("gradient, no embedding", without_embedding(self.preset, self.species)), seed)

    def run(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Errors on the held-out part of the model of one arm and seed."""
        output = self.folder / f"{arm.name.replace(', ', '-').replace(' ', '-')}-{seed}.etn"
        config = TrainingConfig(
            self.fit, output, preset=arm.preset, method=arm.method, time_limit=self.time_limit, seed=seed
        )
        model = trained(config, trainer=arm.trainer)
        return {"arm": arm.name, "seed": seed, "errors": mean_errors(model, self.held), **provenance(model)}


def rows(runs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Rows of the table: means over the seeds of an arm, and how far they spread."""
    for name in dict.fromkeys(run["arm"] for run in runs):
        same = [run for run in runs if run["arm"] == name]
        errors = [[run["errors"][f"{quantity}_mae"] for run in same] for quantity in ("energy", "forces", "stress")]
        yield (
            name,
            " or ".join(dict.fromkeys(bonds(run["architecture"]["bonds"]) for run in same)),
            " or ".join(dict.fromkeys(str(run["parameters"]) for run in same)),
            _spread([run["seconds"] for run in same], 0),
            _spread([run["iterations"] for run in same], 0),
            *(_spread(values, digits) for values, digits in zip(errors, (2, 4, 3), strict=True)),
        )


def _spread(values: list[float | None], digits: int) -> str:
    """Mean and, of several values, their standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    deviation = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{deviation}"


def main() -> int:
    """Run the ablation; exit status 2 where the data are not there or a model cannot be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(DATA_SETS)}; default: both above")
    parser.add_argument("--preset", choices=list(PRESETS), default="standard")
    parser.add_argument("--structures", type=int, default=600, help="to train on at most")
    parser.add_argument("--time-limit", default="5m", help="of each training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each arm")
    parser.add_argument("--models", type=Path, default=CACHE.parent / "ablation", help="folder of the models")
    options = parser.parse_args()
    if unknown := sorted(set(options.sets) - set(DATA_SETS)):
        parser.error(f"unknown sets {', '.join(unknown)}: choose from {', '.join(DATA_SETS)}")
    if min(options.structures, options.seeds) < 1:
        parser.error("--structures and --seeds must be at least 1")
    try:
        for name in options.sets or DEFAULT_SETS:
            run(name, options)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(name: str, options: argparse.Namespace) -> None:
    """All arms and seeds on one set."""
    limit, preset = parse_time_limit(options.time_limit), PRESETS[options.preset]
    source = DATA_SETS[name].path()
    folder = options.models.expanduser() / f"{name}-{options.preset}-{options.structures}-{limit:g}s"
    fit, held = split_file(source, folder, options.structures)
    labels, reported = read_labelled(fit), read_labelled(held)
    species = species_of(labels, range(len(labels)))
    ablation = Ablation(fit, reported, species, preset, limit, folder)
    if len(species) > 1:
        fewer = without_embedding(preset, species)
        print(f"{n_parameters(preset, species)} parameters with species embedding, {n_parameters(fewer, species)} "
              f"without it: channels {fewer.channels}, bonds {bonds(fewer.bonds)}")  # fmt: skip
    runs = [result for seed in range(options.seeds) for result in ablation.runs(seed)]
    common.merge(
        "ablation",
        name,
        {
            **common.machine(),
            "preset": asdict(preset),
            "time_limit": limit,
            "structures": {"trained on": len(labels), "held out": len(reported)},
            "runs": runs,
        },
    )
    print(f"\n{name}: {len(labels)} structures to train on, MAE on {len(reported)} others of the train split\n")
    print(table(HEADERS, list(rows(runs)), text_columns=2), flush=True)


if __name__ == "__main__":
    sys.exit(main())
