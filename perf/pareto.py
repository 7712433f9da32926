"""Accuracy against cost: test force MAE on zuo2020_Mo against microseconds per atom, our presets and published peers.

    ETN_GPU_DATA=/path/to/data python perf/accuracy.py zuo2020_Mo --preset small standard large
    ETN_GPU_DATA=... ETN_GPU_POTENTIALS=/path/to/potentials python perf/pareto.py

The presets are those that ``accuracy.py`` trained, or the model files of ``--models``. Errors on the test split are
computed in this run for every potential, also for the peers: the MTP of Zuo et al. by motep, their SNAP and qSNAP by
LAMMPS (``peers/published.py`` says which files). The published figure stands beside.

Costs are those of energy, forces and stress of the crystal of ``compare_peers.py``, bcc Mo with 2000 atoms, one thread,
neighbour lists excluded, each potential at its own cutoff. Table, JSON and PNG go to perf/results/pareto.*.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import RESULTS, bcc_crystal, machine, print_table, save
from peers.environments import CACHE, Environments, PeerError
from peers.published import MO, PUBLISHED, Published
from peers.rows import Bench, Row
from trained import MODELS

from etn_gpu import ETNPotential
from etn_gpu.errors import DataError, EtnGpuError
from etn_gpu.potential import load
from etn_gpu.potential.metrics import Metrics
from etn_gpu.potential.presets import PRESETS
from etn_gpu.structures import LabelledSet, read_labelled
from etn_gpu.structures.units import GPA

DATA_SET = "zuo2020_Mo"
#: Mean absolute errors on this test split that were published: energy in eV/atom, forces in eV/A. Zuo et al. 2020, as
#: tabulated in the benchmarks of ACEpotentials.jl (examples/zuobench); those of SNAP and qSNAP are not among them.
PUBLISHED_ERRORS = {"MTP level 20, Zuo 2020": (2.83e-3, 0.09)}
HEADERS = (
    "potential", "precision", "parameters", "cutoff A", "neighbours", "us/atom", "E meV/atom", "F eV/A", "S GPa",
    "E published", "F published", "front", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """Cost of a potential and its mean absolute errors on the test split in eV/atom, eV/A and eV/A^3."""

    cost: Row
    parameters: int | None = None
    energy_mae: float | None = None
    force_mae: float | None = None
    stress_mae: float | None = None

    @property
    def place(self) -> tuple[float, float] | None:
        """(microseconds per atom, force MAE), None where one is not known."""
        return None if self.cost.cpu is None or self.force_mae is None else (self.cost.cpu, self.force_mae)


def models(paths: Sequence[Path] | None) -> Iterator[tuple[str, ETNPotential]]:
    """Name and potential of each file; without any, the presets that accuracy.py has trained."""
    if paths:
        yield from ((path.stem, load(path)) for path in paths)
        return
    trained = {preset: MODELS / f"{DATA_SET}-{preset}.etn" for preset in PRESETS}
    if not any(path.exists() for path in trained.values()):
        raise DataError(f"{MODELS} holds no model of {DATA_SET}: run accuracy.py {DATA_SET} first, or give --models")
    yield from ((preset, load(path)) for preset, path in trained.items() if path.exists())


def own_points(name: str, model: ETNPotential, bench: Bench, test: LabelledSet) -> Iterator[Point]:
    """Our potential in both precisions."""
    for dtype in ("float64", "float32"):
        errors = mean_absolute_errors(model.evaluate(test.atoms, backend="numba", dtype=dtype), test)
        yield Point(bench.own(f"ETN {name}", model, dtype), model.n_parameters, *errors)


def peer_point(published: Published, bench: Bench, test: LabelledSet, test_file: Path) -> Point:
    """A peer's published potential; without numbers, but with the reason, where it does not run."""
    cost = bench.peer(published.label, published.peer, published.potential)
    if cost.reason is not None:
        return Point(cost)
    predictions = bench.path.with_name("predictions.npz")
    job = {
        "task": "predict",
        "potential": published.potential(),
        "structures": str(test_file),
        "predictions": str(predictions),
    }
    try:
        bench.environments.ask(published.peer, job)
    except PeerError as error:
        return Point(Row(published.label, reason=str(error)))
    with np.load(predictions) as found:
        ends = np.cumsum([len(atoms) for atoms in test.atoms])[:-1]
        columns = {"energy": found["energy"], "forces": np.split(found["forces"], ends), "stress": found["stress"]}
    results = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Point(cost, None, *mean_absolute_errors(results, test))


def mean_absolute_errors(
    results: Sequence[Mapping[str, Any]], test: LabelledSet
) -> tuple[float | None, float | None, float | None]:
    """Of energy per atom, force components and stress components, as ``etn-gpu evaluate`` defines them."""
    metrics = Metrics()
    for s, result in enumerate(results):
        metrics.add(result, **test.of(s))
    return metrics.energy.mae, metrics.forces.mae, metrics.stress.mae


def front(places: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which places no other one beats: no other is as good in both coordinates and better in one."""

    def beaten(place: tuple[float, float]) -> bool:
        return any(q is not None and q != place and q[0] <= place[0] and q[1] <= place[1] for q in places)

    return [place is not None and not beaten(place) for place in places]


def show(points: Sequence[Point]) -> None:
    """Print the table."""
    on_front = front([point.place for point in points])
    rows = []
    for point, best in zip(points, on_front, strict=True):
        cost, known = point.cost, PUBLISHED_ERRORS.get(point.cost.label)
        size = (cost.label, cost.precision, point.parameters, cost.cutoff, cost.neighbours, cost.cpu)
        energy, stress = point.energy_mae, point.stress_mae
        errors = (energy and 1e3 * energy, point.force_mae, stress and stress / GPA)
        published = (known and 1e3 * known[0], known and known[1])
        rows.append((*size, *errors, *published, "yes" if best else "", cost.reason or cost.version or ""))
    print_table(HEADERS, rows)


def plot(points: Sequence[Point], title: str, path: Path) -> None:
    """Force MAE against microseconds per atom, both logarithmic; lower left is better."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    groups = {
        "etn_gpu, float64": ("o-", "tab:blue", lambda row: row.label.startswith("ETN") and row.precision == "float64"),
        "etn_gpu, float32": ("o--", "tab:cyan", lambda row: row.precision == "float32"),
        "published potentials, float64": ("s", "tab:red", lambda row: not row.label.startswith("ETN")),
    }
    for name, (style, colour, belongs) in groups.items():
        drawn = [(point.place, point.cost) for point in points if point.place is not None and belongs(point.cost)]
        if not drawn:
            continue
        axes.plot(*zip(*sorted(place for place, _ in drawn), strict=True), style, color=colour, label=name)
        for number, (place, cost) in enumerate(sorted(drawn) if "float32" not in name else ()):
            # Errors fall along a curve: names above pass over the points that follow, and the last goes below.
            text, shift = cost.label.partition(",")[0], (6, -12 if number == len(drawn) - 1 else 5)
            axes.annotate(text, place, xytext=shift, textcoords="offset points", fontsize=9, color=colour)
    axes.set(xscale="log", yscale="log", title=title)
    axes.set_xlabel("processor time for energy, forces and stress (µs per atom, one thread)")
    axes.set_ylabel("force MAE on the test split (eV/Å)")
    axes.margins(x=0.2, y=0.15)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", alpha=0.3)
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Run the comparison; exit status 2 where the data are not there or a model cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", help="model files instead of the presets of accuracy.py")
    parser.add_argument("--cells", type=int, default=10, help="the crystal has 2 cells^3 atoms")
    parser.add_argument("--lattice-constant", type=float, default=2.95, help="of the crystal, in A")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=CACHE, help="folder of the peers' virtual environments")
    options = parser.parse_args()
    if not os.environ.get("ETN_GPU_DATA"):
        print(f"set ETN_GPU_DATA to the folder that holds {DATA_SET}/test.extxyz.gz", file=sys.stderr)
        return 2
    data = Path(os.environ["ETN_GPU_DATA"]).resolve() / DATA_SET
    try:
        run(options, data)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace, data: Path) -> None:
    """Measure, and write table, JSON and PNG."""
    test_file = data / "test.extxyz.gz"
    test = read_labelled(test_file)
    atoms = bcc_crystal(MO, options.cells, a=options.lattice_constant)
    points: list[Point] = []
    with TemporaryDirectory(prefix="etn_gpu_pareto_") as folder:
        bench = Bench.of(atoms, Path(folder), options.repeats, Environments(options.environments))
        for name, model in models(options.models):
            points.extend(own_points(name, model, bench, test))
        for published in PUBLISHED:
            if published.species == MO:
                points.append(peer_point(published, bench, test, test_file))
    report = machine()
    print(f"\n{len(test)} test structures of zuo2020_Mo; costs on {len(atoms)} atoms of bcc Mo, "
          f"a = {options.lattice_constant} A, one thread of {report['processor']}; mean absolute errors")  # fmt: skip
    show(points)
    picture = RESULTS / "pareto.png"
    plot(points, f"zuo2020_Mo, one thread of {report['processor']}", picture)
    report |= {
        "lattice_constant": options.lattice_constant,
        "published": PUBLISHED_ERRORS,
        "points": [asdict(point) for point in points],
    }
    print(f"written to {save('pareto', report)} and {picture}")


if __name__ == "__main__":
    sys.exit(main())
