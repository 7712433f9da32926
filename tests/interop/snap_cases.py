"""The potentials and structures of the comparison with LAMMPS, made from seeds by script and tests alike."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.interop.snap_bispectrum import components
from etn_gpu.interop.snap_file import SnapElement, SnapFile, SnapSettings

Array = NDArray[np.float64]
RADII = {"Ta": 0.5, "Mo": 0.48, "Nb": 0.52, "W": 0.5, "In": 0.46, "P": 0.41, "Si": 0.5}
WEIGHTS = {"Ta": 0.8, "Mo": 1.0, "Nb": 0.65, "W": -0.3, "In": 1.0, "P": 0.93, "Si": 1.0}


@dataclass(frozen=True)
class Case:
    """A potential with the order of its species on the line pair_coeff, and structures to evaluate it on."""

    settings: SnapSettings
    species: tuple[str, ...]
    zbl: tuple[float, float] | None = None
    count: int = 15
    #: Order of the elements in the file.
    listed: tuple[str, ...] = ()

    def file(self, seed: int) -> SnapFile:
        """Coefficients that give some eV and smooth energies: components grow with j, so they fall with j."""
        rng = np.random.default_rng(seed)
        triples = components(self.settings.twojmax)
        blocks = len(self.species) ** 3 if self.settings.chemflag else 1
        sizes = np.tile([1.0 if self.settings.bnormflag else 1.0 / (q + 1) for _, _, q in triples], blocks)
        sizes *= 0.2 / len(sizes)
        average = exchanges(self.settings.twojmax, len(self.species) if self.settings.chemflag else 1)
        elements = []
        for name in self.listed or self.species:
            values = [rng.normal(-3.0), *(average @ (rng.normal(size=len(sizes)) * sizes))]
            if self.settings.quadraticflag:
                square = rng.normal(size=(len(sizes), len(sizes))) * sizes[:, None] * sizes
                square = average @ (square + square.T) @ average
                values += list(square[np.triu_indices(len(sizes))])
            coefficients = tuple(float(v) for v in values)
            elements.append(SnapElement(name, RADII[name], WEIGHTS[name], coefficients))
        return SnapFile(tuple(elements), self.settings)

    def structures(self, seed: int) -> list[Atoms]:
        """Bulk, slabs, clusters, tiny skewed cells."""
        rng = np.random.default_rng(seed + 1000)
        kinds = (crystal, slab, cluster, skewed)
        return [kinds[k % len(kinds)](rng, self.species) for k in range(self.count)]


def exchanges(twojmax: int, channels: int) -> Array:
    """The matrix that takes the mean over components with the same pairs (j, element): they are equal.

    LAMMPS computes energies with the coefficient of each of them but forces with that of one: where the coefficients
    differ, which no fit to its components asks for, its forces are not the derivatives of its energies.
    """
    keys = [
        sorted(zip(qs, es, strict=True))
        for es in product(range(channels), repeat=3)
        for qs in components(twojmax)
    ]  # fmt: skip
    same = np.array([[float(a == b) for b in keys] for a in keys])
    return same / same.sum(axis=1)


def crystal(rng: np.random.Generator, species: tuple[str, ...]) -> Atoms:
    """A strained, rattled crystal of 2 to 8 atoms with random species."""
    lattice, a = [("bcc", 3.2), ("fcc", 4.1), ("diamond", 5.5)][rng.integers(3)]
    atoms = bulk("W", lattice, a=a, cubic=bool(rng.integers(2)))
    if len(atoms) == 1:
        atoms = atoms.repeat((2, 1, 1))
    strain = np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3))
    atoms.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
    return _random(atoms, rng, species)


def slab(rng: np.random.Generator, species: tuple[str, ...]) -> Atoms:
    """Four or six layers, periodic in two directions."""
    atoms = bulk("W", "bcc", a=3.2, cubic=True).repeat((1, 1, int(rng.integers(2, 4))))
    atoms.center(vacuum=4.0, axis=2)
    atoms.pbc = (True, True, False)
    return _random(atoms, rng, species)


def cluster(rng: np.random.Generator, species: tuple[str, ...]) -> Atoms:
    """Two to twelve atoms in empty space."""
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), axis=-1).reshape(-1, 3) * 2.4
    chosen = grid[rng.choice(len(grid), size=rng.integers(2, 13), replace=False)]
    atoms = Atoms(f"W{len(chosen)}", positions=chosen)
    atoms.center(vacuum=4.0)
    atoms.pbc = False
    return _random(atoms, rng, species)


def skewed(rng: np.random.Generator, species: tuple[str, ...]) -> Atoms:
    """One to three atoms in a cell with angles far from 90 degrees, smaller than the cutoff."""
    angles = rng.uniform(50, 75, 3)
    n = int(rng.integers(1, 4))
    atoms = Atoms(f"W{n}", cell=[3.0, 3.1 * n, 3.3, *angles], pbc=True)
    atoms.set_scaled_positions(np.stack([0.1 + 0 * np.arange(n), np.arange(n) / n, 0.2 + 0 * np.arange(n)], axis=1))
    return _random(atoms, rng, species)


def _random(atoms: Atoms, rng: np.random.Generator, species: tuple[str, ...]) -> Atoms:
    atoms.positions += rng.uniform(-0.2, 0.2, atoms.positions.shape)
    atoms.symbols[:] = [species[k] for k in rng.integers(len(species), size=len(atoms))]
    return atoms


def _settings(twojmax: int, **others: float | tuple[float, ...]) -> SnapSettings:
    return SnapSettings(4.7, twojmax, **others)  # type: ignore[arg-type]


CASES: dict[str, Case] = {
    "linear": Case(_settings(4), ("W",), zbl=(2.0, 3.4)),
    "alloy": Case(_settings(2, bzeroflag=0), ("Mo", "Nb", "Ta"), listed=("Ta", "W", "Nb", "Mo"), zbl=(3.0, 4.9)),
    "quadratic": Case(_settings(3, quadraticflag=1), ("Ta", "W")),
    "quadratic bzero": Case(_settings(2, quadraticflag=1, bzeroflag=0, bnormflag=1), ("Mo", "Nb"), zbl=(2.2, 3.0)),
    "chem": Case(_settings(2, chemflag=1, bnormflag=1, wselfallflag=1), ("P", "In"), listed=("In", "P")),
    "chem own": Case(_settings(2, chemflag=1, bzeroflag=0), ("Mo", "Ta", "Nb"), zbl=(2.2, 3.0)),
    "chem quadratic": Case(_settings(1, chemflag=1, quadraticflag=1), ("In", "P")),
    "chem all quadratic": Case(
        _settings(2, chemflag=1, quadraticflag=1, wselfallflag=1, bzeroflag=0), ("In", "P"), count=5
    ),
    "inner": Case(
        _settings(2, switchinnerflag=1, sinner=(2.6, 2.9), dinner=(0.4, 0.7)), ("Ta", "Mo"), listed=("Mo", "Ta")
    ),
    "no switch": Case(_settings(2, switchflag=0, rfac0=0.9, rmin0=0.5), ("W", "Nb")),
    "core": Case(_settings(5, rmin0=2.6, rfac0=1.15), ("Nb", "Mo")),
    "chem inner": Case(
        _settings(1, chemflag=1, switchinnerflag=1, sinner=(2.2, 2.5), dinner=(0.3, 0.5)), ("P", "In"),
        listed=("In", "P"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A published potential, in a folder of its own, and structures of its species."""

    coefficients: str
    #: Settings that LAMMPS reads: without diagonalstyle.
    settings: str
    species: tuple[str, ...]
    zbl: tuple[float, float] | None = None


PUBLISHED: dict[str, Published] = {
    "Mo": Published("mlearn2020/Mo/snap/SNAPotential.snapcoeff", "lammps2025.snapparam", ("Mo",)),
    "Mo quadratic": Published("mlearn2020/Mo/qsnap/SNAPotential.snapcoeff", "lammps2025.snapparam", ("Mo",)),
    "Si": Published("mlearn2020/Si/snap/SNAPotential.snapcoeff", "lammps2025.snapparam", ("Si",)),
    "Si quadratic": Published("mlearn2020/Si/qsnap/SNAPotential.snapcoeff", "lammps2025.snapparam", ("Si",)),
    "NbMoTaW": Published(
        "NbMoTaW/snap.2020.06/Ta-W-Nb-Mo.snapcoeff", "lammps2025.snapparam", ("Nb", "Mo", "Ta", "W"), (4.0, 4.8)
    ),
}  # fmt: skip


def published_structures(name: str) -> list[Atoms]:
    """Structures for a published potential."""
    case = Case(SnapSettings(4.7, 2), PUBLISHED[name].species, count=6)
    return case.structures(sorted(PUBLISHED).index(name) + 100)


def seed(name: str) -> int:
    """The seed of a case."""
    return sorted(CASES).index(name)
