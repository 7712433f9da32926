"""Rank efficiency: held-out error against number of parameters, and number of parameters against number of species.

    ETN_GPU_DATA=/path/to/data python perf/rank_efficiency.py [--set zuo2020_Mo] [--preset standard] [--time-limit 4m]

(a) Models whose bonds have k = 1..6 copies of every irrep that the bonds of the preset have (of no use, and left out:
more copies on the first and the last bond than the site vector has). Everything else is as in the preset. All are
trained for the same time on the same part of the train split, with ranks that stay, and judged by the same other part;
the test split is not read.

(b) Parameters of our presets beside those of moment tensor potentials (MTP) of four levels. An MTP has, as counted in
the MLIP-2 package (I. S. Novikov, K. Gubaev, E. V. Podryabinkin, A. V. Shapeev, Mach. Learn.: Sci. Technol. 2, 025002
(2021), doi 10.1088/2632-2153/abc9fe), species^2 radial_funcs_count radial_basis_size radial coefficients, a shift for
each species, and a coefficient for each of the alpha_scalar_moments basis functions, whose number depends on the level
(A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016), doi 10.1137/15M1054183).

Figure and JSON go to perf/results/rank_efficiency.*. Models go to a folder in ``--models`` that is named after the
settings; what is there is not trained again, and a training run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import common
from common import machine, print_table, save
from data_sets import DATA_SETS
from held_out import split_file
from peers.environments import CACHE
from sizes import n_parameters, with_equal_ranks
from trained import mean_errors, provenance, trained

from etn_gpu.cli.parsing import parse_time_limit
from etn_gpu.errors import EtnGpuError
from etn_gpu.potential import PRESETS
from etn_gpu.structures import read_labelled
from etn_gpu.training import TrainingConfig

RANKS = (1, 2, 3, 4, 5, 6)
MOST_SPECIES = 16
#: Level of an MTP: radial_funcs_count and alpha_scalar_moments, as peers/mtp_levels.py cuts them out of level 20.
MTP_LEVELS = {8: (2, 9), 12: (3, 29), 16: (4, 92), 20: (5, 288)}
#: Of the published potentials of Mo (level 20) and of Nb-Mo-Ta-W (level 14) alike.
RADIAL_BASIS_SIZE = 8


def mtp_parameters(level: int, n_species: int) -> int:
    """Number of parameters of an MTP."""
    radial_functions, scalar_moments = MTP_LEVELS[level]
    return n_species**2 * radial_functions * RADIAL_BASIS_SIZE + n_species + scalar_moments


def against_species() -> dict[str, list[int]]:
    """Number of parameters for 1 to 16 species."""
    from ase.data import chemical_symbols

    counts = range(1, MOST_SPECIES + 1)
    own = {f"ETN {name}": [n_parameters(name, tuple(chemical_symbols[1 : n + 1])) for n in counts] for name in PRESETS}
    return own | {f"MTP level {level}": [mtp_parameters(level, n) for n in counts] for level in MTP_LEVELS}


def against_ranks(options: argparse.Namespace, limit: float) -> Iterator[dict[str, Any]]:
    """One result for each k."""
    folder = options.models.expanduser() / f"{options.set}-{options.preset}-{options.structures}-{limit:g}s"
    fit, held = split_file(DATA_SETS[options.set].path(), folder, options.structures)
    fitted, reported = read_labelled(fit), read_labelled(held)
    for k in options.ranks:
        preset = with_equal_ranks(PRESETS[options.preset], k)
        config = TrainingConfig(fit, folder / f"{k}.etn", preset=preset, method="gradient", time_limit=limit)
        model = trained(config)
        yield {
            "k": k,
            "errors": mean_errors(model, reported),
            "errors of training": mean_errors(model, fitted),
            **provenance(model),
        }


def plot(ranks: Sequence[dict[str, Any]], species: dict[str, list[int]], title: str, path: Path) -> None:
    """Energy and force error against parameters, and parameters against species."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    *errors, counts = figure.subplots(1, 3)
    labels = {"energy": "energy MAE (meV/atom)", "forces": "force MAE (eV/Å)"}
    for axes, (name, label) in zip(errors, labels.items(), strict=True):
        known = [run for run in ranks if run["errors"][f"{name}_mae"] is not None]
        for kind, style, legend in (("errors", "o-", "held out"), ("errors of training", ".:", "trained on")):
            points = [(run["parameters"], run[kind][f"{name}_mae"]) for run in known]
            axes.plot(*zip(*points, strict=True), style, color="tab:blue", label=legend)
        for run in known:
            place = run["parameters"], run["errors"][f"{name}_mae"]
            axes.annotate(f"k={run['k']}", place, xytext=(4, 5), textcoords="offset points", fontsize=9)
        axes.set(xlabel="parameters", ylabel=label, title=title)
        axes.legend()
    for name, values in species.items():
        counts.plot(range(1, len(values) + 1), values, "-" if name.startswith("ETN") else "--", label=name)
    counts.set(xlabel="species", ylabel="parameters", title="parameters against species")
    counts.legend(fontsize=8)
    for axes in (*errors, counts):
        axes.set(xscale="log", yscale="log")
        axes.margins(0.12)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(which="major", alpha=0.3)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Run both parts; exit status 2 where the data are not there or a model cannot be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=list(DATA_SETS), default="zuo2020_Mo")
    parser.add_argument("--preset", choices=list(PRESETS), default="standard")
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS, metavar="K")
    parser.add_argument("--structures", type=int, default=600, help="to train on at most")
    parser.add_argument("--time-limit", default="4m", help="of each training")
    parser.add_argument("--models", type=Path, default=CACHE.parent / "rank_efficiency", help="folder of the models")
    options = parser.parse_args()
    if min(options.ranks) < 1 or options.structures < 1:
        parser.error("--ranks and --structures must be at least 1")
    try:
        run(options)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """Train, count, and write table, JSON and PNG."""
    limit = parse_time_limit(options.time_limit)
    ranks, species = list(against_ranks(options, limit)), against_species()
    print(f"\n{options.set}, held-out part of the train split, mean absolute errors")
    headers = ("k", "parameters", "seconds", "iterations", "E meV/atom", "F eV/A", "S GPa")
    quantities = ("energy_mae", "forces_mae", "stress_mae")
    columns = ("k", "parameters", "seconds", "iterations")
    print_table(headers, [[run[c] for c in columns] + [run["errors"][q] for q in quantities] for run in ranks])
    print("Parameters against number of species")
    shown = (1, 2, 4, 8, 16)
    print_table(("species", *species), [(n, *(values[n - 1] for values in species.values())) for n in shown])
    picture = common.RESULTS / "rank_efficiency.png"
    plot(ranks, species, f"{options.set}, {limit / 60:.3g} min of training each", picture)
    report = {**machine(), "set": options.set, "preset": options.preset, "time_limit": limit}
    print(f"written to {save('rank_efficiency', {**report, 'ranks': ranks, 'species': species})} and {picture}")


if __name__ == "__main__":
    sys.exit(main())
