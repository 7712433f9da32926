"""Test errors on published splits, with default settings: our presets beside published potentials.

    ETN_GPU_DATA=/path/to/data python perf/accuracy.py                         # all sets, preset standard
    ETN_GPU_DATA=/path/to/data python perf/accuracy.py zuo2020_Mo --preset small standard --time-limit 20m

Trains on the published train split as ``etn-gpu train`` does, with nothing but the preset and the time limit given,
into ``--models`` (<set>-<preset>.etn); a model that is there is only evaluated, and a training run that was interrupted
goes on. The test split is only reported: nothing is chosen by it. Costs are those of the test structures in one batch,
one thread, neighbour lists excluded.

Results go into perf/results/accuracy.json, beside those of other sets and presets that it holds. The table that is
printed, ready for the README, shows all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import common
from data_sets import DATA_SETS, DataSet
from markdown_table import bonds, number, table
from trained import MODELS, evaluation_cost, mean_errors, provenance, trained

from etn_gpu.cli.parsing import parse_time_limit
from etn_gpu.errors import EtnGpuError
from etn_gpu.potential import PRESETS, ETNPotential
from etn_gpu.structures import read_labelled
from etn_gpu.training import TrainingConfig

HEADERS = (
    "test structures", "potential", "ranks", "parameters", "training (min)", "µs/atom",
    "energy (meV/atom)", "forces (eV/Å)", "stress (GPa)",
)  # fmt: skip


def measure(model: ETNPotential, data: DataSet, repeats: int) -> dict[str, Any]:
    """Errors of a model on each part of the test split, its cost there, sizes and provenance."""
    files = {part.file: read_labelled(data.path(part.file)) for part in data.parts}
    structures = [atoms for labels in files.values() for atoms in labels.atoms]
    errors = {}
    for part in data.parts:
        labels = files[part.file]
        members = [i for i, config_type in enumerate(labels.config_type) if part.belongs(config_type or "")]
        errors[part.name] = mean_errors(model, labels, members)
    return {
        "errors": errors,
        "cost": evaluation_cost(model, structures, repeats),
        **provenance(model),
        "evaluated": common.machine(),
    }


def merge(name: str, preset: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The report with the entry of one set and preset in it, written; entries of others stay."""
    path = common.RESULTS / "accuracy.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    report["units"] = {"energy": "meV/atom", "forces": "eV/A", "stress": "GPa", "cost": "microseconds/atom"}
    report["figures of others"] = {
        data.name: {part.name: [asdict(figure) for figure in part.figures] for part in data.parts}
        for data in DATA_SETS.values()
    }
    report.setdefault("sets", {}).setdefault(name, {})[preset] = entry
    common.save("accuracy", report)
    return report


def rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Rows of the table: of each part of each set first the other potentials, then ours."""
    for data in DATA_SETS.values():
        entries = report["sets"].get(data.name, {})
        for part in data.parts if entries else ():
            counts = {entry["errors"][part.name]["structures"] for entry in entries.values()}
            place = f"{data.name}, {part.name} ({', '.join(map(str, sorted(counts)))})"
            for figure in part.figures:
                mark = "" if figure.origin == "published" else " *"
                size = "–" if figure.parameters is None else str(figure.parameters)
                errors = (number(figure.energy, 2), number(figure.forces, 3), number(figure.stress, 2))
                yield place, figure.potential + mark, "", size, "–", "–", *errors
            for preset, entry in entries.items():
                yield place, f"ETN {preset}", *_own(entry, part.name)


def _own(entry: dict[str, Any], part: str) -> Iterator[str]:
    """Ranks, parameters, minutes, microseconds per atom and errors of one of our models."""
    yield bonds(entry["architecture"]["bonds"])
    yield str(entry["parameters"])
    yield number(None if entry["seconds"] is None else entry["seconds"] / 60, 1)
    yield number(entry["cost"]["cpu"], 1)
    errors = entry["errors"][part]
    yield number(errors["energy_mae"], 2)
    yield number(errors["forces_mae"], 3)
    yield number(errors["stress_mae"], 2)


def main() -> int:
    """Train and evaluate; exit status 2 where the data are not there or a model cannot be trained or used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(DATA_SETS)}; default: all")
    parser.add_argument("--preset", nargs="+", choices=list(PRESETS), default=["standard"])
    parser.add_argument("--time-limit", help="of each training; default: 40m for zuo2020_*, 150m nbmotaw, 20m acac")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the models")
    parser.add_argument("--force", action="store_true", help="train although --models holds the model")
    parser.add_argument("--repeats", type=int, default=5, help="of the timing")
    options = parser.parse_args()
    if unknown := sorted(set(options.sets) - set(DATA_SETS)):
        parser.error(f"unknown sets {', '.join(unknown)}: choose from {', '.join(DATA_SETS)}")
    try:
        run(options)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """All sets and presets that were asked for; the report is written after each."""
    limit = None if options.time_limit is None else parse_time_limit(options.time_limit)
    report: dict[str, Any] = {}
    for data in [DATA_SETS[name] for name in options.sets or DATA_SETS]:
        for preset in options.preset:
            output = options.models.expanduser() / f"{data.name}-{preset}.etn"
            config = TrainingConfig(
                data.path(), output, preset=preset, time_limit=limit or data.time_limit, metadata=data.metadata
            )
            report = merge(data.name, preset, measure(trained(config, options.force), data, options.repeats))
    print("\nMean absolute errors on the published test splits\n")
    print(table(HEADERS, list(rows(report)), text_columns=3))
    print("\n\\* the potential that its authors published, its errors computed anew on the same structures")


if __name__ == "__main__":
    sys.exit(main())
