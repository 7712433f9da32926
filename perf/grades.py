"""How well extrapolation grades tell what a model does not know: ours beside other ways, on the same structures.

    ETN_GPU_DATA=/path/to/data python perf/grades.py
    ETN_GPU_DATA=/path/to/data python perf/grades.py acac --model acac=acac.etn

Each way is built from the training structures alone. Then, on the test splits and on structures that nobody should
trust (isolated atoms, dimers, compressed and expanded crystals, other lattices), it is asked

    rho       rank correlation of the grade of an atom with its true force error
    auc       area under the curve for atoms whose force error is above five times the median
    95 %      the threshold that catches 95 % of the structures that nobody should trust
    false     share of test structures above that threshold
    default   shares of both above the threshold that ships

Ways: 'grade' is what ships; 'equal' its features with equal weights (a Gauss-Newton covariance); 'optimal' with
D-optimal weights; 'maxvol' the largest coefficient in an active set of theirs; 'core' maxvol in the gradient of the
site energy with respect to the second core, 754 numbers in ``standard``; 'heads' the spread of eight linear models of
the site energy fitted to bootstrap samples of the training energies. Test splits are reported only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from common import machine, print_table, save
from data_sets import DATA_SETS
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.stats import spearmanr

from etn_gpu import ETNPotential
from etn_gpu.potential import load
from etn_gpu.potential.grade import SMALLEST_VARIANCE, THRESHOLD, graded, inverse_root, structure_grades
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch, read_labelled
from etn_gpu.training.partial import PartialKernel

Array = NDArray[np.float64]
LATTICES = {
    "Mo": ("bcc", 3.165),
    "W": ("bcc", 3.172),
    "Nb": ("bcc", 3.31),
    "Ta": ("bcc", 3.32),
    "Si": ("diamond", 5.43),
}
ATOMS_OF_CELL = {"bcc": 2, "fcc": 4, "sc": 1, "diamond": 8}
MODELS = {"nbmotaw": "nbmotaw", "zuo2020_Mo": "mo", "zuo2020_Si": "si"}
TESTS = {"acac": ("test_300K.extxyz.gz", "test_600K.extxyz.gz")}
HEADS, RIDGE, PER_BATCH = 8, 1e-6, 100


@dataclass(frozen=True)
class Sites:
    """Features of the atoms of some structures."""

    species: NDArray[np.int32]
    offsets: NDArray[np.int64]
    features: Array
    core: Array


class Reader:
    """Features of structures for one model."""

    def __init__(self, model: ETNPotential) -> None:
        self.model = model
        execution = Execution("numba", "float64", 1)
        self.kernel = Kernel(model.architecture, execution)
        self.partial = PartialKernel(model.architecture, execution, ("G2",))

    def __call__(self, structures: Sequence[Atoms]) -> Sites:
        parts = []
        for first in range(0, len(structures), PER_BATCH):
            batch = StructureBatch.build(structures[first : first + PER_BATCH], self.model.species, self.model.cutoff)
            surroundings, n = Environments.of(batch), batch.n_atoms
            rows = self.partial.parameter_gradient(
                self.model.parameters, surroundings, np.ones(n), None, np.arange(n + 1)
            )
            b = self.kernel.features(self.model.parameters, surroundings)
            parts.append((batch.species_index, np.diff(batch.atom_offsets), b, rows["G2"].astype(np.float32)))
        species, sizes, features, core = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Sites(species, np.concatenate(([0], np.cumsum(sizes))), features, core)


Measure = Callable[[Sites], Array]


def by_species(
    train: Sites, rows: Callable[[Sites], Array], make: Callable[[Array], Callable[[Array], Array]]
) -> Measure:
    """A measure made for each species, scaled so that no training atom is above 1."""
    measures = {}
    for z in np.unique(train.species):
        mine = np.asarray(rows(train)[train.species == z], np.float64)
        measure = make(mine)
        measures[int(z)] = measure, float(measure(mine).max())

    def grades(sites: Sites) -> Array:
        out = np.empty(len(sites.species))
        for z, (measure, largest) in measures.items():
            chosen = sites.species == z
            if chosen.any():
                out[chosen] = measure(np.asarray(rows(sites)[chosen], np.float64)) / largest
        return out

    return grades


def norms(root: Array) -> Callable[[Array], Array]:
    return lambda rows: np.asarray(np.linalg.norm(rows @ root.T, axis=1))


def weighted(steps: int) -> Callable[[Array], Callable[[Array], Array]]:
    """Leverage with equal weights, or after ``steps`` of the multiplicative algorithm towards D-optimal ones."""

    def make(rows: Array) -> Callable[[Array], Array]:
        weights = np.full(len(rows), 1.0 / len(rows))
        for _ in range(steps):
            weights = weights * norms(inverse_root((weights[:, None] * rows).T @ rows))(rows) ** 2
            weights /= weights.sum()
        return norms(inverse_root((weights[:, None] * rows).T @ rows))

    return make


def maxvol(rows: Array) -> Callable[[Array], Array]:
    """The largest coefficient of an atom in terms of an active set (Goreinov et al. 2010)."""
    scale = np.sqrt((rows**2).mean(axis=0))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh((rows / scale).T @ (rows / scale) / len(rows))
    kept = values > SMALLEST_VARIANCE * values[-1]
    whitening = (vectors[:, kept] / np.sqrt(values[kept])) / scale[:, None]
    white = rows @ whitening
    n = white.shape[1]
    active = qr(white.T, mode="economic", pivoting=True)[2][:n]
    coefficients = np.linalg.solve(white[active].T, white.T).T
    for _ in range(20 * n):
        i, j = divmod(int(np.argmax(np.abs(coefficients))), n)
        if abs(coefficients[i, j]) < 1.02:
            break
        change = coefficients[i].copy()
        change[j] -= 1.0
        coefficients -= np.outer(coefficients[:, j] / coefficients[i, j], change)
        active[j] = i
    inverse = np.linalg.inv(white[active])
    return lambda other: np.asarray(np.abs(other @ whitening @ inverse).max(axis=1))


def heads(train: Sites, energies: Array, n_species: int) -> Measure:
    """Spread of linear models of the site energy in features of each species, fitted to bootstrap samples."""
    n = train.features.shape[1]
    scale = np.sqrt((train.features**2).mean(axis=0)) + 1e-300

    def rows_of(sites: Sites) -> Array:
        rows = np.zeros((len(sites.species), n_species * n), np.float64)
        for z in range(n_species):
            rows[sites.species == z, z * n : (z + 1) * n] = sites.features[sites.species == z] / scale
        return rows

    sums = np.add.reduceat(rows_of(train), train.offsets[:-1], axis=0) / np.diff(train.offsets)[:, None]
    random, solutions = np.random.default_rng(0), []
    for _ in range(HEADS):
        chosen = random.integers(len(sums), size=len(sums))
        matrix = sums[chosen].T @ sums[chosen]
        matrix[np.diag_indices_from(matrix)] += RIDGE * np.trace(matrix) / len(matrix)
        solutions.append(np.linalg.solve(matrix, sums[chosen].T @ energies[chosen]))

    def spread(sites: Sites) -> Array:
        return np.asarray(np.std(rows_of(sites) @ np.array(solutions).T, axis=1))

    largest = spread(train).max()
    return lambda sites: spread(sites) / largest


def untrusted(species: Sequence[str]) -> dict[str, list[Atoms]]:
    """Structures that no training set here has."""
    found: dict[str, list[Atoms]] = {
        "isolated": [Atoms(symbol) for symbol in species],
        "dimers": [
            Atoms([a, b], [[0.0] * 3, [0.0, 0.0, d]])
            for a in species
            for b in species
            for d in (1.8, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0, 4.5)
        ],
    }
    if any(symbol not in LATTICES for symbol in species):
        return found
    cells: dict[str, list[Atoms]] = {"compressed": [], "expanded": [], "lattices": []}
    for symbol in species:
        lattice, a = LATTICES[symbol]
        for kind, factors in (("compressed", np.arange(0.70, 0.87, 0.02)), ("expanded", (1.2, 1.3, 1.4, 1.5))):
            cells[kind] += [bulk(symbol, lattice, a=a * factor, cubic=True) for factor in factors]
        volume = a**3 / ATOMS_OF_CELL[lattice]
        for other in set(ATOMS_OF_CELL) - {lattice}:
            for factor in (0.95, 1.0, 1.1, 1.3):
                cells["lattices"].append(
                    bulk(symbol, other, a=(volume * factor * ATOMS_OF_CELL[other]) ** (1 / 3), cubic=True)
                )
    return found | cells


def area(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Area under the curve: the chance that a positive has a larger score than a negative."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    yes, no = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * no)) if yes and no else float("nan")


def compare(name: str, model: ETNPotential) -> list[dict[str, Any]]:
    """All ways on one data set."""
    data = DATA_SETS[name]
    labels = read_labelled(data.path())
    reader = Reader(model)
    batches = [
        StructureBatch.build(labels.atoms[k : k + PER_BATCH], model.species, model.cutoff)
        for k in range(0, len(labels), PER_BATCH)
    ]
    ours = (model.grade or graded(model, batches, threads=1)).factors
    step = max(1, sum(len(atoms) for atoms in labels.atoms) // 20_000)
    train = reader(labels.atoms[::step])
    predicted = np.array([result["energy"] for result in model.evaluate(labels.atoms[::step], grade=False)])
    residual = (np.asarray(labels.energy[::step]) - predicted) / np.diff(train.offsets)
    ways: dict[str, Measure] = {
        "grade": lambda s: np.linalg.norm(np.einsum("nij,nj->ni", ours[s.species], s.features), axis=1),
        "equal": by_species(train, lambda s: s.features, weighted(0)),
        "optimal": by_species(train, lambda s: s.features, weighted(10)),
        "maxvol": by_species(train, lambda s: s.features, maxvol),
        "core": by_species(train, lambda s: s.core, maxvol),
        "heads": heads(train, residual, len(model.species)),
    }
    strange = {kind: reader(structures) for kind, structures in untrusted(model.species).items()}
    rows = []
    for file in TESTS.get(name, ("test.extxyz.gz",)):
        test = read_labelled(data.path(file))
        sites, errors = reader(test.atoms), []
        for result, forces in zip(model.evaluate(test.atoms, grade=False), test.forces, strict=True):
            assert forces is not None
            errors.append(np.linalg.norm(result["forces"] - forces, axis=1))
        error = np.concatenate(errors)
        for way, measure in ways.items():
            of_atoms = measure(sites)
            of_structures = structure_grades(of_atoms, sites.offsets)
            bad = {kind: structure_grades(measure(s), s.offsets) for kind, s in strange.items()}
            limit = float(np.quantile(np.concatenate(list(bad.values())), 0.05))
            rows.append(
                {
                    "set": name, "test": file.split(".")[0], "way": way,
                    "rho": float(spearmanr(of_atoms, error)[0]),
                    "auc": area(of_atoms, error > 5.0 * np.median(error)),
                    "95 %": limit, "false": float(np.mean(of_structures > limit)),
                    "test above default": float(np.mean(of_structures > THRESHOLD)),
                    "untrusted above default": float(np.mean(np.concatenate(list(bad.values())) > THRESHOLD)),
                    "least": {kind: float(values.min()) for kind, values in bad.items()},
                }
            )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(MODELS))
    parser.add_argument("--model", action="append", default=[], metavar="SET=FILE")
    arguments = parser.parse_args()
    models = MODELS | dict(given.split("=", 1) for given in arguments.model)
    rows = [row for name in arguments.sets for row in compare(name, load(models[name]))]
    shown = ("set", "test", "way", "rho", "auc", "95 %", "false", "test above default", "untrusted above default")
    print_table(shown, [[row[c] if isinstance(row[c], str) else f"{row[c]:.3f}" for c in shown] for row in rows])
    save("grades", {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
