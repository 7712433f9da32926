"""Ways to train side by side, on structures that none of them saw: every structure of a train split is left out once.

    ETN_GPU_DATA=/path/to/data python perf/cross_validate.py zuo2020_Mo cutoff=5.0 cutoff=5.6
    ETN_GPU_DATA=/path/to/data python perf/cross_validate.py zuo2020_Si preset=small preset=small,cutoff=5.6 --folds 2

A way is a list of options of training, NAME=VALUE with commas between them, of those below; ``default`` has none. Each
is trained once for every fold, without it and for the same time, and judged by it. So a difference between two ways is
a mean over all structures of the split, and its scatter from structure to structure says how much it means: held-out
parts of some twenty structures are too few to choose by. The test split is not read.

Models go to a folder in ``--models`` that is named after the settings; what is there is not trained again, and a
training run that was interrupted goes on. Results go into perf/results/cross_validation.json beside those of other
sets; errors are in meV/atom and eV/A, differences those from the first way, each with its standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np
from data_sets import DATA_SETS
from held_out import fold_files
from markdown_table import table
from numpy.typing import NDArray
from peers.environments import CACHE
from trained import provenance, trained

from etn_gpu import ETNPotential
from etn_gpu.cli.parsing import parse_time_limit
from etn_gpu.errors import EtnGpuError
from etn_gpu.structures import LabelledSet, read_labelled
from etn_gpu.training import TrainingConfig

#: Options of training that a way may set, and what makes one from text.
OPTIONS: dict[str, Any] = {"preset": str, "method": str, "cutoff": float, "seed": int, "valid_fraction": float}
HEADERS = ("way", "energy (meV/atom)", "difference", "forces (eV/Å)", "difference")
DIGITS = {"energy": 2, "forces": 4}


@dataclass(frozen=True)
class Errors:
    """Absolute errors of structures: energy [S] in meV/atom; forces [S], the mean over the components of each, in eV/A;
    nan where there is no label. ``components`` [S] is how many force components each has."""

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    components: NDArray[np.int64]

    @staticmethod
    def of(model: ETNPotential, labels: LabelledSet) -> Errors:
        """Those of a model."""
        results = model.evaluate(labels.atoms, backend="numba", dtype="float64")
        energy, forces = np.full((2, len(labels)), np.nan)
        sizes = np.array([len(atoms) for atoms in labels.atoms])
        for s, result in enumerate(results):
            energy[s] = 1e3 * abs(result["energy"] - labels.energy[s]) / sizes[s]
            if (known := labels.forces[s]) is not None:
                forces[s] = np.abs(result["forces"] - known).mean()
        return Errors(energy, forces, 3 * sizes)

    @staticmethod
    def joined(parts: list[Errors]) -> Errors:
        """All folds together."""
        return Errors(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("energy", "forces", "components")))

    def weights(self, name: str) -> NDArray[np.float64]:
        """What each structure counts in a mean: energies alike, forces by their components."""
        return np.ones(len(self.energy)) if name == "energy" else self.components.astype(np.float64)


def mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """The weighted mean of what is known and its standard error, from the scatter between structures."""
    known = np.isfinite(values)
    w, v = weights[known], values[known]
    if len(v) == 0:
        return np.nan, np.nan
    centre = float(w @ v / w.sum())
    if len(v) == 1:
        return centre, np.nan
    scatter = float(np.sum((w * (v - centre)) ** 2) * len(v) / (len(v) - 1))
    return centre, scatter**0.5 / float(w.sum())


def measured(errors: Errors, first: Errors) -> dict[str, Any]:
    """Means and differences from ``first`` with their standard errors, for a report; None where nothing is known."""
    found: dict[str, Any] = {"errors": {}, "differences": {}}
    for name in DIGITS:
        own, weights = getattr(errors, name), errors.weights(name)
        for kind, values in (("errors", own), ("differences", own - getattr(first, name))):
            found[kind][name] = [None if np.isnan(x) else x for x in mean(values, weights)]
    return found


def rows(ways: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each way of what was :func:`measured`; the first one has no differences."""
    first = next(iter(ways))
    return [
        (
            way,
            *(
                text
                for name, digits in DIGITS.items()
                for text in (
                    _text(found["errors"][name], digits, ""),
                    "–" if way == first else _text(found["differences"][name], digits, "+"),
                )
            ),
        )
        for way, found in ways.items()
    ]


def _text(measured: Sequence[float | None], digits: int, sign: str) -> str:
    centre, error = measured
    if centre is None:
        return "–"
    return f"{centre:{sign}.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def parse(way: str) -> dict[str, Any]:
    """Options of training from their text.

    Raises:
        ValueError: an option that is not known, or a value that cannot be one of it.
    """
    chosen = {}
    for option in way.split(",") if way != "default" else []:
        name, equals, value = option.partition("=")
        if not equals or name not in OPTIONS:
            raise ValueError(f"{option!r} was given, expected NAME=VALUE with one of the names {', '.join(OPTIONS)}")
        try:
            chosen[name] = OPTIONS[name](value)
        except ValueError:
            raise ValueError(f"{option!r} was given, expected a number") from None
    return chosen


def main() -> int:
    """Run the comparison; exit status 2 where the data are not there or a model cannot be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(DATA_SETS))
    parser.add_argument("ways", nargs="*", default=["default"], metavar="WAY", help=f"options: {', '.join(OPTIONS)}")
    parser.add_argument("--folds", type=int, default=4, help="parts that are left out one after the other (default 4)")
    parser.add_argument("--structures", type=int, help="how many to take in all (default: the whole train split)")
    parser.add_argument("--time-limit", default="4m", help="of each training (default 4m)")
    parser.add_argument("--models", type=Path, default=CACHE.parent / "cross-validation", help="folder of the models")
    options = parser.parse_args()
    if options.folds < 2:
        parser.error("--folds must be at least 2")
    try:
        ways = {way: parse(way) for way in options.ways}
    except ValueError as error:
        parser.error(str(error))
    try:
        run(options, ways)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace, ways: dict[str, dict[str, Any]]) -> None:
    """All ways on all folds."""
    limit = parse_time_limit(options.time_limit)
    amount = options.structures or "all"
    folder = options.models.expanduser() / f"{options.set}-{amount}-{options.folds}-{limit:g}s"
    pairs = fold_files(DATA_SETS[options.set].path(), folder, options.folds, options.structures)
    folds = [read_labelled(fold) for _, fold in pairs]
    first: Errors | None = None
    entries: dict[str, Any] = {}
    for way, chosen in ways.items():
        models = [
            trained(TrainingConfig(fit, folder / f"{way.replace('=', '-')}-{k}.etn", time_limit=limit, **chosen))
            for k, (fit, _) in enumerate(pairs)
        ]
        errors = Errors.joined([Errors.of(model, labels) for model, labels in zip(models, folds, strict=True)])
        first = first or errors
        entries[way] = {**measured(errors, first), "models": [provenance(model) for model in models]}
    sizes = [len(labels) for labels in folds]
    entry = {**common.machine(), "time_limit": limit, "folds": sizes, "ways": entries}
    common.merge("cross_validation", options.set, entry)
    print(f"\n{options.set}: MAE on {sum(sizes)} structures of the train split, each left out once\n")
    print(table(HEADERS, rows(entries), text_columns=1), flush=True)


if __name__ == "__main__":
    sys.exit(main())
