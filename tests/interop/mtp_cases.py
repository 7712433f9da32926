"""Moment tensor potentials and structures for comparisons with motep, made from seeds: nothing is stored twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import factorial

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from etn_gpu.interop.mtp_file import MtpFile

Monomial = tuple[int, int, int]


def monomials(degree: int) -> list[Monomial]:
    """Exponents (a, b, c) with this sum."""
    return [(a, b, degree - a - b) for a in range(degree, -1, -1) for b in range(degree - a, -1, -1)]


@dataclass
class Tables:
    """Grows the tables of an MTP by whole symmetric tensors, each one a number of a moment for each monomial."""

    basic: list[tuple[int, int, int, int]] = field(default_factory=list)
    times: list[tuple[int, int, int, int]] = field(default_factory=list)
    scalars: list[int] = field(default_factory=list)
    count: int = 0

    def tensor(self, mu: int, degree: int) -> dict[Monomial, int]:
        """The basic moments of a degree."""
        self.basic += [(mu, *m) for m in monomials(degree)]
        return self._new(degree)

    def contraction(self, a: dict[Monomial, int], b: dict[Monomial, int]) -> dict[Monomial, int]:
        """Of ``a`` with all indices of ``b``, which has as many at most."""
        rank = sum(next(iter(b)))
        result = self._new(sum(next(iter(a))) - rank)
        for free, target in result.items():
            for m in monomials(rank):
                multiplicity = factorial(rank) // (factorial(m[0]) * factorial(m[1]) * factorial(m[2]))
                whole = (m[0] + free[0], m[1] + free[1], m[2] + free[2])
                self.times.append((a[whole], b[m], multiplicity, target))
        return result

    def scalar(self, a: dict[Monomial, int]) -> None:
        """Puts a tensor of rank 0 into the energy."""
        self.scalars.append(a[0, 0, 0])

    def _new(self, degree: int) -> dict[Monomial, int]:
        tensor = {m: self.count + k for k, m in enumerate(monomials(degree))}
        self.count += len(tensor)
        return tensor


def level_2() -> Tables:
    """A pair potential."""
    tables = Tables()
    tables.scalar(tables.tensor(0, 0))
    return tables


def level_8() -> Tables:
    """The moments of level 8, level = 2 + 4 mu + degree for each factor."""
    tables = Tables()
    t0, t1, t2, u0 = tables.tensor(0, 0), tables.tensor(0, 1), tables.tensor(0, 2), tables.tensor(1, 0)
    for tensor in (t0, u0):
        tables.scalar(tensor)
    squares = [tables.contraction(t, t) for t in (t0, t1, t2)]
    for square in (*squares, tables.contraction(t0, u0), *(tables.contraction(t0, s) for s in squares[:2])):
        tables.scalar(square)
    cube = tables.contraction(t0, squares[0])
    tables.scalar(tables.contraction(t0, cube))
    return tables


def rich() -> Tables:
    """Degrees up to 5, three radial functions, chains of three products, a moment that nothing needs."""
    tables = Tables()
    basic = {(mu, n): tables.tensor(mu, n) for mu, n in product(range(3), range(6)) if 2 * mu + n <= 5}
    for mu in range(3):
        tables.scalar(basic[mu, 0])
    for (mu, n), (nu, m) in product(basic, basic):
        if n == m and (mu, n) <= (nu, m):
            tables.scalar(tables.contraction(basic[mu, n], basic[nu, m]))
    middle = [
        tables.contraction(basic[0, p], basic[mu, q]) for mu, p, q in [(0, 3, 1), (0, 4, 2), (1, 3, 2), (0, 5, 3)]
    ]
    for tensor in middle:
        rank = sum(next(iter(tensor)))
        tables.scalar(tables.contraction(tensor, basic[0, rank]))
        tables.scalar(tables.contraction(tensor, tensor))
    vector = tables.contraction(middle[0], basic[1, 1])
    tables.scalar(tables.contraction(basic[0, 1], vector))
    tables.contraction(vector, vector)
    return tables


@dataclass(frozen=True)
class Case:
    """A potential that the script makes, and its elements."""

    name: str
    species: tuple[str, ...]
    tables: Tables
    min_dist: float
    max_dist: float
    basis: int
    types: tuple[int, ...]
    seed: int

    def file(self) -> MtpFile:
        """Random coefficients; the energies of atoms are some eV, the forces some eV/A."""
        random = np.random.RandomState(self.seed)
        n, tables = len(self.species), self.tables
        functions = 1 + max(row[0] for row in tables.basic)
        decay = 0.6 ** np.arange(self.basis)
        radial = 0.3 * random.uniform(-1.0, 1.0, (n, n, functions, self.basis)) * decay
        scaling = float(np.round(0.5 / (self.max_dist - self.min_dist) ** 2, 4))
        return MtpFile(
            potential_name=self.name,
            potential_tag="",
            scaling=scaling,
            types=self.types,
            min_dist=self.min_dist,
            max_dist=self.max_dist,
            radial_coeffs=radial,
            alpha_moments_count=tables.count,
            alpha_index_basic=np.array(tables.basic),
            alpha_index_times=np.array(tables.times, np.int64).reshape(-1, 4),
            alpha_moment_mapping=np.array(tables.scalars),
            species_coeffs=random.uniform(-5.0, 0.0, n),
            moment_coeffs=random.uniform(-1.0, 1.0, len(tables.scalars)),
        )


#: The potentials that are made, and how many structures there are of each.
CASES = {
    case.name: case
    for case in (
        Case("pair", ("Ar",), level_2(), 2.0, 6.0, 5, (0,), 1),
        Case("level8", ("Cu",), level_8(), 2.0, 5.0, 8, (0,), 2),
        Case("oxide", ("Mg", "O"), rich(), 1.6, 4.6, 6, (1, 4), 3),
        Case("alloy", ("Al", "Ti", "V", "Nb"), level_8(), 2.1, 5.2, 7, (0, 1, 2, 3), 4),
    )
}
#: Files below the folder of published potentials, and their elements.
REAL = {
    "NbMoTaW/mtp.2021.08/quaternary.mtp": ("Nb", "Mo", "Ta", "W"),
    "mlearn2020/Mo/mtp/fitted.mtp": ("Mo",),
    "mlearn2020/Si/mtp/fitted.mtp": ("Si",),
}
COUNT = {"pair": 20, "level8": 40, "oxide": 50, "alloy": 40} | dict.fromkeys(REAL, 0)
COUNT |= {
    "NbMoTaW/mtp.2021.08/quaternary.mtp": 24,
    "mlearn2020/Mo/mtp/fitted.mtp": 13,
    "mlearn2020/Si/mtp/fitted.mtp": 13,
}


def structures(species: Sequence[str], count: int, seed: int) -> list[Atoms]:
    """Crystals, alloys, slabs, clusters and tiny skewed cells of these elements, strained and rattled."""
    random = np.random.RandomState(seed)
    kinds = _kinds(species, random)
    return [next(kinds) for _ in range(count)]


def _kinds(species: Sequence[str], random: np.random.RandomState) -> Iterator[Atoms]:
    from ase.data import atomic_numbers

    near = 2.0 * float(np.mean([covalent_radii[atomic_numbers[s]] for s in species]))
    while True:
        for crystal, factor in (("fcc", 2**0.5), ("bcc", 2 / 3**0.5), ("diamond", 4 / 3**0.5), ("sc", 1.0)):
            atoms = bulk(species[0], crystal, a=factor * near, cubic=crystal != "diamond")
            yield _disordered(atoms, species, random)
        yield _slab(species, near, random)
        yield _cluster(species, near, random)
        yield _skewed(species, near, random)


def _disordered(atoms: Atoms, species: Sequence[str], random: np.random.RandomState, size: float = 0.06) -> Atoms:
    """With other elements, strained by some percent and rattled."""
    if len(atoms) < 3:
        atoms = atoms * (2, 1, 2)
    atoms.symbols = [species[k] for k in random.randint(len(species), size=len(atoms))]
    strain = np.eye(3) + size * random.uniform(-1.0, 1.0, (3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.positions += size * random.standard_normal((len(atoms), 3))
    return atoms


def _slab(species: Sequence[str], near: float, random: np.random.RandomState) -> Atoms:
    atoms = _disordered(bulk(species[0], "fcc", a=2**0.5 * near, cubic=True) * (1, 1, 2), species, random)
    cell = atoms.cell.array.copy()
    cell[2] *= 2.0
    atoms.set_cell(cell)
    atoms.pbc = (True, True, False)
    return atoms


def _cluster(species: Sequence[str], near: float, random: np.random.RandomState) -> Atoms:
    """Neighbours down to 0.6 of their usual distance, below ``min_dist``."""
    atoms = bulk(species[0], "sc", a=near, cubic=True) * (2, 2, 2)
    chosen = _disordered(atoms, species, random, 0.12)[: 2 + random.randint(6)]
    cluster = Atoms(chosen.symbols, chosen.positions)
    cluster.positions[1] = cluster.positions[0] + 0.6 * near * np.array([0.48, -0.6, 0.64])
    return cluster


def _skewed(species: Sequence[str], near: float, random: np.random.RandomState) -> Atoms:
    """One or two atoms in a cell much lower than the cutoff."""
    cell = near * np.array([[1.1, 0.0, 0.0], [0.9, 1.0, 0.1], [-1.4, 0.8, 1.0]])
    cell += 0.05 * random.standard_normal((3, 3))
    count = 1 + random.randint(2)
    symbols = [species[k] for k in random.randint(len(species), size=count)]
    scaled = np.array([[0.0, 0.0, 0.0], [0.45, 0.5, 0.55]])[:count]
    return Atoms(symbols, scaled_positions=scaled, cell=cell, pbc=True)
