"""Learning curves of a linear potential: what is chosen for structures, for atoms, and at random.

    ETN_GPU_DATA=/path/to/data python perf/linear_selection.py --splits 4

A potential that is linear in the features of sites of which the extrapolation grade is made (those of a potential that
is given, the same for all arms) is fitted in a moment, so that many random splits can be compared, which training a
network does not allow (perf/selection.py). Energies of the train split of nbmotaw: 300 structures to begin with, 2000
to choose from, 500 to judge by, drawn anew for each split; the grade is that of the 300. Ridge regression, its strength
by leaving each structure out once. The test split is not read.

* ``per structure``: `etn-gpu select`;
* ``per structure, inside too``: the same without the threshold, so that structures with a grade below 1 may be chosen;
* ``per atom``: the structure of the largest gain for its number of atoms, which is cheaper to label;
* ``random``, and ``random, as many atoms`` as ``per structure`` has.

Results go into perf/results/linear_selection.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import common
import numpy as np
from data_sets import DATA_SETS
from markdown_table import table
from numpy.typing import NDArray

from etn_gpu.errors import EtnGpuError
from etn_gpu.potential import ETNPotential, load
from etn_gpu.potential.grade import graded
from etn_gpu.potential.kernel import Environments, Kernel
from etn_gpu.screening.batching import Candidate
from etn_gpu.selection.admission import Admission
from etn_gpu.selection.greedy import Member, choose
from etn_gpu.selection.information import Information, Surroundings
from etn_gpu.selection.runner import LARGEST_GRADE
from etn_gpu.structures import LabelledSet, StructureBatch, read_labelled

Array = NDArray[np.float64]
BASE, POOL, HELD = 300, 2000, 500
COUNTS = (100, 200)
RIDGES = tuple(10.0**k for k in range(-8, 0))
HEADERS = ("trained on", "structures", "atoms", "energy MAE (meV/atom)", "RMSE")
#: Structures whose features are computed at once.
CHUNK = 100


class PerAtom(Information):
    """Gains for each of some twenty atoms, which is what a structure has on average."""

    def gain(self, surroundings: Surroundings) -> float:
        """See above."""
        return 20.0 * super().gain(surroundings) / sum(map(len, surroundings.values()))


def site_sums(model: ETNPotential, labels: LabelledSet, structures: Sequence[int]) -> tuple[Array, Array]:
    """Features summed over the atoms of each species, [S, species * n], and numbers of these atoms [S, species]."""
    kernel, species = Kernel(model.architecture), len(model.species)
    sums, atoms = [], []
    for first in range(0, len(structures), CHUNK):
        part = [labels.atoms[i] for i in structures[first : first + CHUNK]]
        batch = StructureBatch.build(part, model.species, model.cutoff)
        features = kernel.features(model.parameters, Environments.of(batch))
        of_species = (batch.species_index[:, None] == np.arange(species)).astype(np.float64)
        for a, b in zip(batch.atom_offsets[:-1], batch.atom_offsets[1:], strict=True):
            sums.append((of_species[a:b].T @ features[a:b]).ravel())
            atoms.append(of_species[a:b].sum(axis=0))
    return np.array(sums), np.array(atoms)


def errors(
    rows: Array, atoms: Array, energies: Array, fitted: Sequence[int], held: Sequence[int]
) -> tuple[float, float]:
    """MAE and RMSE in meV/atom over ``held`` of the ridge regression to ``fitted``."""
    counts = atoms.sum(axis=1, keepdims=True)
    shares, y = atoms / counts, energies / counts[:, 0]
    y = y - shares @ np.linalg.lstsq(shares[fitted], y[fitted], rcond=None)[0]
    x = np.concatenate((rows / counts, shares), axis=1)
    x = x / np.maximum(np.sqrt(np.mean(x[fitted] ** 2, axis=0)), 1e-12)
    u, s, vt = np.linalg.svd(x[fitted], full_matrices=False)
    projected = u.T @ y[fitted]
    best: tuple[float, Array] = (np.inf, np.zeros(0))
    for ridge in RIDGES:
        shrunk = s**2 / (s**2 + ridge * s[0] ** 2)
        left_out = (y[fitted] - u @ (shrunk * projected)) / (1.0 - np.einsum("ij,j,ij->i", u, shrunk, u))
        found = float(np.mean(left_out**2))
        if found < best[0]:
            best = found, vt.T @ (shrunk * projected / s)
    wrong = 1e3 * (x[held] @ best[1] - y[held])
    return float(np.abs(wrong).mean()), float(np.sqrt(np.mean(wrong**2)))


def split_runs(model: ETNPotential, labels: LabelledSet, seed: int) -> Iterator[dict[str, Any]]:
    """Errors of each arm and count on one random split."""
    drawn = np.random.default_rng(seed).permutation(len(labels))[: BASE + POOL + HELD]
    used = [int(i) for i in drawn]
    base, pool, held = range(BASE), range(BASE, BASE + POOL), range(BASE + POOL, len(used))
    batches = [StructureBatch.build([labels.atoms[used[k]] for k in base], model.species, model.cutoff)]
    grade = graded(model, batches)
    sums, atoms = site_sums(model, labels, used)
    energies = labels.energy[used]
    sizes = atoms.sum(axis=1)

    def result(arm: str, added: Sequence[int], count: int | None = None) -> dict[str, Any]:
        mae, rmse = errors(sums, atoms, energies, [*base, *added], held)
        return {"arm": arm, "seed": seed, "added": len(added) if count is None else count,
                "structures": BASE + len(added), "atoms": int(sizes[[*base, *added]].sum()),
                "energy_mae": mae, "energy_rmse": rmse}  # fmt: skip

    yield result("start", [])
    admission = Admission(model, grade, 0.0, LARGEST_GRADE, {})
    candidates = [Candidate("pool", k, labels.atoms[used[k]]) for k in pool]
    members = [
        m for f in range(0, POOL, CHUNK) for m in admission(candidates[f : f + CHUNK], f) if isinstance(m, Member)
    ]
    chosen = {}
    for arm, information, threshold in (
        ("per structure", Information(grade), 1.0),
        ("per structure, inside too", Information(grade), 0.0),
        ("per atom", PerAtom(grade), 1.0),
    ):
        gained = [replace(m, gain=information.gain(m.surroundings)) for m in members if m.grade > threshold]
        chosen[arm] = [member.index for member, _ in choose(information, gained, max(COUNTS))[0]]
    for count in COUNTS:
        for arm, places in {**chosen, "random": list(pool)}.items():
            yield result(arm, places[:count])
        of_choice = sizes[chosen["per structure"][:count]].sum()
        yield result("random, as many atoms", pool[: np.searchsorted(np.cumsum(sizes[pool]), of_choice) + 1], count)


def rows(runs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Rows of the table: means over splits, and their range."""
    for arm, added in dict.fromkeys((run["arm"], run["added"]) for run in runs):
        same = [run for run in runs if (run["arm"], run["added"]) == (arm, added)]
        cells = [str(round(float(np.mean([run[name] for run in same])))) for name in ("structures", "atoms")]
        for name in ("energy_mae", "energy_rmse"):
            values = [run[name] for run in same]
            cells.append(f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        yield arm if not added else f"{added} {arm}", *cells


def main() -> int:
    """Run all splits; exit status 2 where the data or the model are not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nbmotaw", help="potential whose features are used")
    parser.add_argument("--splits", type=int, default=4)
    options = parser.parse_args()
    try:
        model, labels = load(options.model), read_labelled(DATA_SETS["nbmotaw"].path())
        runs: list[dict[str, Any]] = []
        for seed in range(options.splits):
            runs += split_runs(model, labels, seed)
            print(f"split {seed} done", flush=True)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    common.save("linear_selection", {**common.machine(), "model": options.model, "runs": runs})
    print(table(HEADERS, list(rows(runs))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
