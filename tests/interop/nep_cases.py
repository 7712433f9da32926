"""Small NEP potentials and structures, made from seeds: for the tests, and for the script that asks the native engine.

It needs NumPy and ASE only, because that script runs where etn_gpu is not installed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

SKEWED = np.array([[1.0, 0.0, 0.0], [0.9, 1.1, 0.0], [-0.8, 0.7, 1.2]])
#: Structures of each made potential and of each published one: 200 in all.
MADE, PUBLISHED = 16, 8


@dataclass(frozen=True)
class Case:
    """The head of a made potential: what its lines say."""

    kind: str
    species: tuple[str, ...]
    cutoff: tuple[float, ...]
    n_max: tuple[int, int] = (2, 1)
    basis: tuple[int, int] = (4, 3)
    l_max: tuple[int, ...] = (2, 0, 0)
    neurons: int = 4
    zbl: tuple[float, ...] = ()


CASES = {
    "one species": Case("nep3", ("C",), (4.2, 3.7), l_max=(4, 2, 1)),
    "shared network": Case("nep3_zbl", ("Si", "C"), (4.0, 3.5), zbl=(0.9, 1.9)),
    "radial only": Case("nep5", ("Cu",), (5.0, 4.0), l_max=(0, 2, 1), neurons=3),
    "all couplings": Case("nep4", ("O", "H"), (4.0, 3.2), l_max=(4, 2, 1, 1, 1, 1, 1)),
    "some couplings": Case("nep5", ("Ga", "As"), (4.5, 4.5), basis=(3, 5), l_max=(3, 0, 0, 1, 0, 1)),
    "cutoffs of species": Case("nep4", ("Pb", "Te", "Na"), (5.0, 4.0, 4.4, 3.9, 4.0, 3.2), l_max=(2, 2, 1)),
    "same cutoffs": Case("nep5_zbl", ("Mg", "O"), (4.2, 4.2, 3.8, 3.8), l_max=(2, 1, 0), zbl=(1.0, 2.1)),
    "flexible repulsion": Case("nep4_zbl", ("W", "Ti", "V"), (4.5, 3.5), zbl=(0.0, 0.0)),
    "covalent radii": Case("nep4_zbl", ("Al", "Ni"), (4.5, 4.0), zbl=(0.6, 2.4, 0.75)),
    "high degree": Case("nep4", ("Zr",), (4.6, 4.3), l_max=(8, 2, 0)),
}
UNEP = ("Ag", "Al", "Au", "Cr", "Cu", "Mg", "Mo", "Ni", "Pb", "Pd", "Pt", "Ta", "Ti", "V", "W", "Zr")
#: File names and species of published potentials.
FILES = {
    "C_2022_NEP3.txt": ("C",),
    "Si_2022_NEP4_3body.txt": ("Si",),
    "Si_2022_NEP4_5body.txt": ("Si",),
    "UNEP-v1_2024_16elements.txt": UNEP,
    "water_fixture.txt": ("O", "H"),
}


def potential_text(name: str) -> str:
    """The made potential ``name`` as a file."""
    case = CASES[name]
    rng = np.random.default_rng([len(name), *map(ord, name)])
    n, version = len(case.species), int(case.kind[3])
    lines = [f"{case.kind} {n} {' '.join(case.species)}"]
    if case.zbl:
        lines.append("zbl " + " ".join(f"{v:g}" for v in case.zbl))
    lines += [
        "cutoff " + " ".join(f"{v:g}" for v in (*case.cutoff, 90, 60)),
        f"n_max {case.n_max[0]} {case.n_max[1]}",
        f"basis_size {case.basis[0]} {case.basis[1]}",
        "l_max " + " ".join(map(str, case.l_max)),
        f"ANN {case.neurons} 0",
    ]
    angular = (case.n_max[1] + 1) * (case.l_max[0] + np.count_nonzero(case.l_max[1:]))
    size = case.n_max[0] + 1 + angular
    numbers: list[float] = []
    for _ in range(1 if version == 3 else n):
        numbers += [*rng.normal(0, 0.6, case.neurons * size), *rng.normal(0, 0.5, case.neurons)]
        numbers += [*rng.normal(0, 0.4, case.neurons), *([rng.normal()] if version == 5 else [])]
    numbers.append(rng.normal())
    for n_max, basis in zip(case.n_max, case.basis, strict=True):
        numbers += [*rng.normal(0, 1.0, (n_max + 1) * (basis + 1) * n * n)]
    numbers += [*rng.uniform(0.3, 1.0, size)]
    if case.zbl[:2] == (0.0, 0.0):
        for _ in range(n * (n + 1) // 2):
            numbers += [rng.uniform(0.3, 0.8), rng.uniform(1.8, 2.6)]
            numbers += [v for _ in range(4) for v in (rng.uniform(0.05, 0.4), rng.uniform(0.2, 3.0))]
    return "\n".join([*lines, *(f"{v:15.7e}" for v in numbers), ""])


def structures(species: tuple[str, ...], count: int, seed: int) -> list[Atoms]:
    """Crystals, alloys, slabs, clusters and tiny skewed cells of 2 to 12 atoms, strained and rattled."""
    rng = np.random.default_rng(seed)
    return [_structure(k, species, rng) for k in range(count)]


def _structure(kind: int, species: tuple[str, ...], rng: np.random.Generator) -> Atoms:
    makers = [
        lambda: bulk("Cu", "fcc", a=rng.uniform(3.6, 4.4), cubic=True),
        lambda: bulk("Si", "diamond", a=rng.uniform(4.4, 5.5), cubic=True),
        lambda: bulk("W", "bcc", a=rng.uniform(2.9, 3.4)).repeat((2, 2, 1)),
        lambda: fcc111("Cu", (1, 2, 3), a=rng.uniform(3.6, 4.2), vacuum=6.0),
        lambda: _in_box(molecule("C2H6"), rng.uniform(1.3, 1.6)),
        lambda: Atoms("Cu", cell=rng.uniform(2.1, 2.6) * SKEWED).repeat((2, 1, 1)),
        lambda: bulk("NaCl", "rocksalt", a=rng.uniform(4.6, 5.6)).repeat((1, 2, 2)),
        lambda: _close_pair(rng.uniform(0.7, 2.0)),
    ]  # fmt: skip
    atoms = makers[kind % len(makers)]()
    atoms.set_chemical_symbols([species[k] for k in rng.integers(len(species), size=len(atoms))])
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
    atoms.pbc = True
    return atoms


def _in_box(atoms: Atoms, stretch: float) -> Atoms:
    """A cluster with room around it; the native engine repeats every cell."""
    atoms.positions *= stretch
    atoms.center(vacuum=5.0)
    return atoms


def _close_pair(distance: float) -> Atoms:
    """A crystal with an interstitial so close to an atom that their cores repel each other."""
    atoms = bulk("Cu", "fcc", a=4.6, cubic=True)
    atoms += Atoms("Cu", positions=[[distance / 3**0.5] * 3])
    return atoms
