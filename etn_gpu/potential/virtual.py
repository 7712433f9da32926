"""Structures that no data hold: crystals and training structures compressed and expanded, pairs pushed together.

What the terms beside a network make of them shows whether atoms are held apart. The network is evaluated once: its
outputs and the edges stay as they are whatever numbers the terms have, as long as these do not let it act further out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.terms import CompiledTerms
from etn_gpu.backend.geometry import Geometry
from etn_gpu.backend.terms import SiteTerms, TermTables
from etn_gpu.backend.terms import densities as site_densities
from etn_gpu.potential import assembly
from etn_gpu.potential.domain import Domain, network_energies
from etn_gpu.potential.kernel import Environments, Kernel
from etn_gpu.potential.settings import closest_approach
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential.model import ETNPotential

Array = NDArray[np.float64]

#: Lengths of the compressed and expanded structures over those of the pattern, from the largest to the smallest.
SCALES = np.round(np.arange(1.6, 0.5999, -0.01), 2)
#: Distances of pairs in A, from the largest to the smallest.
FARTHEST, NEAREST, STEP = 2.0, 0.5, 0.03
#: Crystals of pairs of elements and random alloys, at most so many.
PAIR_CRYSTALS, ALLOYS = 40, 4
#: Repulsion begins at the closest approach, and then takes a little to outdo what attracts atoms that are alone.
ALONE, ONSET = " alone", 0.95
#: Structures in a batch.
BATCH = 1000
#: A fall of the energy that counts as one, in eV per atom of a structure that is compressed.
TOLERANCE = 1e-4
#: Along neighbouring paths pairs would not be repelled quite alike: the least force in eV/A.
LEAST_FORCE = 0.5

_CUBIC = {
    "sc": ((0, 0, 0),),
    "bcc": ((0, 0, 0), (0.5, 0.5, 0.5)),
    "fcc": ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
}
_CUBIC["diamond"] = (*_CUBIC["fcc"], *[(x + 0.25, y + 0.25, z + 0.25) for x, y, z in _CUBIC["fcc"]])


@dataclass(frozen=True)
class Path:
    """Structures ``first`` to ``end`` of the batches, along which atoms come closer.

    ``kind`` is 'volume' or 'pair'; ``species`` are those whose numbers decide about it, of a pair the two of it;
    ``start`` is the place on a path of volumes, counted from ``first``, of the structure that it was made from.
    """

    kind: str
    name: str
    species: tuple[int, ...]
    first: int
    end: int
    start: int = 0


@dataclass(frozen=True)
class Fall:
    """Where the energy falls along a path, and by how much altogether, in eV (per atom on paths of volumes; of pairs,
    by how much it should rise more).

    ``kind`` is 'compression', 'expansion' or 'pair'.
    """

    path: Path
    kind: str
    energy: float


class _Known(SiteTerms):
    """Terms of atoms whose densities are known, so that only edges are left that matter one by one."""

    def __init__(self, tables: TermTables, geometry: Geometry, vectors: Array, densities: Array) -> None:
        self._known = densities
        super().__init__(tables, geometry, vectors)

    def _densities(self) -> Array:
        return self._known


@dataclass
class _Batch:
    """A batch of structures, its densities and the outputs of the network [N], and its edges up to ``reach`` A."""

    batch: StructureBatch
    geometry: Geometry
    vectors: Array
    densities: Array
    outputs: Array
    reach: float

    @classmethod
    def of(cls, batch: StructureBatch, environments: Environments, outputs: Array, cutoff: float) -> _Batch:
        densities = site_densities(environments.vectors, environments.geometry.edge_offsets, cutoff)
        return cls(batch, environments.geometry, environments.vectors, densities, outputs, np.inf)

    def within(self, reach: float) -> _Batch:
        """The same with the edges up to ``reach`` A only."""
        kept = np.einsum("ek,ek->e", self.vectors, self.vectors) <= reach * reach
        offsets = np.concatenate(([0], np.cumsum(kept)))[self.geometry.edge_offsets]
        geometry = Geometry(offsets, self.geometry.species, self.geometry.edge_species[kept])
        return _Batch(self.batch, geometry, self.vectors[kept], self.densities, self.outputs, reach)

    def energies(self, tables: TermTables) -> Array:
        """Energies beyond the references in eV, as long as pairs matter no further out than ``reach``."""
        terms = _Known(tables, self.geometry, self.vectors, self.densities)
        return assembly.segment_sum(terms.energies(self.outputs)[:, None], self.batch.atom_offsets)[:, 0]


class VirtualStructures:
    """Paths made of the patterns of a domain, with what the network gives there.

    Args:
        model: the network; terms that it has do not matter.
        domain: what it was trained on.
        loosest: terms that let the network act as far out as any that :meth:`falls` will be asked for.
        kernel: evaluates the network.
    """

    def __init__(self, model: ETNPotential, domain: Domain, loosest: TermTables, kernel: Kernel) -> None:
        self.paths: list[Path] = []
        self._batches: list[_Batch] = []
        self._near: list[_Batch] = []
        structures: list[Atoms] = []
        for kind, name, species, members, start in _all_paths(model, domain):
            first = len(structures)
            structures += members
            self.paths.append(Path(kind, name, species, first, len(structures), start))
        for first in range(0, len(structures), BATCH):
            batch = StructureBatch.build(structures[first : first + BATCH], model.species, model.cutoff)
            environments = Environments.of(batch)
            terms = CompiledTerms(loosest, environments.geometry, environments.vectors)
            known = np.flatnonzero(terms.weights > 0.0)
            outputs = np.zeros(batch.n_atoms)
            if known.size:
                outputs[known] = _network_energies(model, environments, known, kernel)
            self._batches.append(_Batch.of(batch, environments, outputs, model.cutoff))
        #: Atoms of each structure.
        self.sizes = np.concatenate([np.diff(b.batch.atom_offsets) for b in self._batches]).astype(np.float64)

    def energies(self, tables: TermTables) -> Array:
        """Energies beyond the references of all structures with these terms, in eV."""
        reach = float(tables.reach.max())
        if not self._near or reach > self._near[0].reach:
            self._near = [batch.within(1.1 * reach) for batch in self._batches]
        found = np.concatenate([batch.energies(tables) for batch in self._near])
        return np.nan_to_num(found, nan=-1e9, posinf=1e9, neginf=-1e9)

    def falls(self, tables: TermTables) -> list[Fall]:
        """Where energies fall though atoms come closer, or more slowly than they do on their way to being alone."""
        energies = self.energies(tables)
        per_atom = energies / self.sizes
        rises = np.diff(per_atom)
        too_little = {
            "pair": np.maximum(LEAST_FORCE * STEP - np.diff(energies), 0.0),
            "compression": np.maximum(-TOLERANCE - rises, 0.0),
            "expansion": np.maximum(-TOLERANCE + rises, 0.0),
        }
        found = []
        for path in self.paths:
            first, last = path.first, path.end - 1
            if path.kind == "pair":
                parts = {"pair": slice(first, last)}
            else:
                least = first + _valley(per_atom[first : path.end], path.start)
                parts = {"compression": slice(least, last), "expansion": slice(first, least)}
            for kind, part in parts.items():
                if (drop := float(too_little[kind][part].sum())) > 0.0:
                    found.append(Fall(path, kind, drop))
        return found


def _network_energies(
    model: ETNPotential, environments: Environments, atoms: NDArray[np.int64], kernel: Kernel
) -> Array:
    """Energies of some atoms in eV. Where these hear of their neighbours, all have to be evaluated."""
    if model.architecture.layers:
        return network_energies(model, environments, kernel)[atoms]
    part, _ = environments.gather(atoms)
    return network_energies(model, part, kernel)


def _valley(energies: Array, start: int) -> int:
    """The minimum that one comes to downhill from a place."""
    place = start
    while True:
        around = range(max(place - 1, 0), min(place + 2, len(energies)))
        lower = min(around, key=lambda k: float(energies[k]))
        if energies[lower] >= energies[place]:
            return place
        place = lower


def _all_paths(model: ETNPotential, domain: Domain) -> Iterator[tuple[str, str, tuple[int, ...], list[Atoms], int]]:
    """Kind, name, species, structures and start of each path."""
    crystals = list(_crystals(model, domain))
    patterns = [(f"{atoms.get_chemical_formula()} of the data", atoms) for atoms in domain.patterns]
    for name, atoms in [*crystals, *patterns]:
        present = tuple(sorted({model.species.index(symbol) for symbol in atoms.get_chemical_symbols()}))
        scaled = [_scaled(atoms, scale) for scale in SCALES]
        yield "volume", name, present, scaled, int(np.argmin(np.abs(SCALES - 1.0)))
    for name, atoms in [
        *_dimers(model, closest_approach(domain.species, domain.closest, domain.nearest)),
        *crystals,
        *patterns,
    ]:
        yield from _pairs(name, atoms, model)


def _crystals(model: ETNPotential, domain: Domain) -> Iterator[tuple[str, Atoms]]:
    """Crystals of each element, ordered ones of pairs and random alloys, as dense as the sites of the data."""
    from ase import Atoms

    known = [int(z) for z in np.flatnonzero(domain.sites)]
    rng = np.random.default_rng(0)
    members = [(lattice, (z,) * len(sites)) for z in known for lattice, sites in _CUBIC.items()]
    pairs = list(combinations(known, 2))
    every = max(len(pairs) / PAIR_CRYSTALS, 1.0)
    members += [("bcc", pairs[int(k * every)]) for k in range(min(len(pairs), PAIR_CRYSTALS))]
    if len(known) > 2:
        members += [("diamond", tuple(rng.choice(known, 8).tolist())) for _ in range(ALLOYS)]
    unscaled = [
        Atoms([model.species[z] for z in species], scaled_positions=_CUBIC[lattice], cell=np.eye(3), pbc=True)
        for lattice, species in members
    ]
    densities = np.array([domain.mean[list(species)].mean() for _, species in members])
    if not members:
        return
    lengths = _lengths(unscaled, densities, model)
    for (lattice, _), atoms, length in zip(members, unscaled, lengths, strict=True):
        yield f"{lattice} {atoms.get_chemical_formula()}", _scaled(atoms, length)


def _lengths(structures: Sequence[Atoms], wanted: Array, model: ETNPotential) -> Array:
    """Factors in A that give each structure, of a cell of length 1, this mean density."""
    count = np.array([len(atoms) for atoms in structures])
    low, high = np.full(len(count), 0.35 * model.cutoff) * count ** (1 / 3), np.full(len(count), 3.0 * model.cutoff)
    for _ in range(25):
        middle = 0.5 * (low + high)
        scaled = [_scaled(atoms, length) for atoms, length in zip(structures, middle, strict=True)]
        batch = StructureBatch.build(scaled, model.species, model.cutoff)
        density = site_densities(batch.vectors, batch.edge_offsets, model.cutoff)
        mean = assembly.segment_sum(density[:, None], batch.atom_offsets)[:, 0] / count
        low, high = np.where(mean > wanted, middle, low), np.where(mean > wanted, high, middle)
    return 0.5 * (low + high)


def _scaled(atoms: Atoms, factor: float) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * factor)
    scaled.positions = atoms.positions * factor
    return scaled


def _dimers(model: ETNPotential, closest: Array) -> Iterator[tuple[str, Atoms]]:
    """Pairs alone, first a little closer than any came: two atoms attract each other until they are a molecule."""
    from ase import Atoms

    for first, second in combinations_with_replacement(range(len(model.species)), 2):
        pair = [model.species[first], model.species[second]]
        length = min(ONSET * closest[first, second], FARTHEST, 0.9 * model.cutoff)
        yield f"{'-'.join(pair)}{ALONE}", Atoms(pair, [[0, 0, 0], [length, 0, 0]])


def _pairs(
    name: str, atoms: Atoms, model: ETNPotential
) -> Iterator[tuple[str, str, tuple[int, ...], list[Atoms], int]]:
    """Paths on which the closest pair of each two elements of a structure is pushed together."""
    if len(atoms) == 1:
        atoms = atoms.repeat((2, 2, 2))
    batch = StructureBatch.build([atoms], model.species, model.cutoff)
    length = np.sqrt((batch.vectors**2).sum(axis=1))
    centre, neighbour, species = batch.centre, batch.neighbour, batch.species_index
    for a, b in combinations_with_replacement(sorted(set(species.tolist())), 2):
        of_pair = np.flatnonzero((species[centre] == a) & (species[neighbour] == b) & (centre != neighbour))
        if not of_pair.size:
            continue
        edge = of_pair[np.argmin(length[of_pair])]
        i, j, vector, start = centre[edge], neighbour[edge], batch.vectors[edge], length[edge]
        first = min(start, FARTHEST)
        members = []
        for r in np.arange(first, NEAREST, -STEP):
            pushed = atoms.copy()
            shift = 0.5 * (1.0 - r / start) * vector
            pushed.positions[i] += shift
            pushed.positions[j] -= shift
            members.append(pushed)
        title = name if name.endswith(ALONE) else f"{model.species[a]}-{model.species[b]} in {name}"
        yield "pair", title, (int(a), int(b)), members, 0
