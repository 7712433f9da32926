"""What a network was trained on, in numbers: densities of sites, distances of pairs, energies that it gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.terms import densities, squares
from etn_gpu.potential.kernel import Environments, Kernel
from etn_gpu.potential.references import REFERENCES
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential.model import ETNPotential

Array = NDArray[np.float64]
_NUMBERS = ("lowest", "mean", "highest", "energy", "least", "most")
#: Structures that are kept as patterns of virtual ones: at most so many atoms in one, so many in all.
PATTERN_ATOMS, PATTERNS = 24, 24


@dataclass(frozen=True)
class Domain:
    """What sites of n species were like; those of isolated atoms, which have no neighbours, are not among them.

    ``atoms`` [n] how many there were, isolated ones included, and ``sites`` [n] without these; where there are none,
    ``mean`` and ``energy`` are 0 and extremes infinite; ``lowest``, ``mean`` and ``highest`` densities [n] as
    :mod:`etn_gpu.backend.terms` has them; ``energy`` [n] mean energy in eV that the network gives, without the
    reference, ``least`` and ``most`` [n] those of single sites; ``closest`` [n, n] distance of each pair of species in
    A, and ``nearest`` the mean over sites of the first from the closest of the second, inf where never within the
    cutoff. ``patterns`` are small ones of the structures, spread over compositions, those with the lowest energy of
    their composition.
    """

    species: tuple[str, ...]
    atoms: NDArray[np.int64]
    sites: NDArray[np.int64]
    lowest: Array
    mean: Array
    highest: Array
    energy: Array
    least: Array
    most: Array
    closest: Array
    nearest: Array
    patterns: tuple[Atoms, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, without the patterns; None for what never occurred."""
        numbers = {name: _rounded(getattr(self, name)) for name in (*_NUMBERS, "closest", "nearest")}
        return {"species": list(self.species), "sites": self.sites.tolist(), **numbers}


def _rounded(array: Array) -> Any:
    if array.ndim > 1:
        return [_rounded(row) for row in array]
    return [round(float(value), 4) if np.isfinite(value) else None for value in array]


def observed_domain(model: ETNPotential, batches: Iterable[StructureBatch], kernel: Kernel) -> Domain:
    """What the sites of these batches are like, which are read one after the other; ``kernel`` evaluates the network.

    Raises:
        StructureError: a batch of other species or with a smaller cutoff.
    """
    n = len(model.species)
    sites, atoms = np.zeros(n, np.int64), np.zeros(n, np.int64)
    lowest, highest = np.full(n, np.inf), np.zeros(n)
    density_sum, energy_sum = np.zeros(n), np.zeros(n)
    least, most = np.full(n, np.inf), np.full(n, -np.inf)
    closest, nearest_sum, pairs = np.full((n, n), np.inf), np.zeros((n, n)), np.zeros((n, n), np.int64)
    patterns: dict[tuple[int, ...], tuple[float, Atoms]] = {}
    for whole in batches:
        model.check_batch(whole)
        batch = whole if whole.cutoff == model.cutoff else whole.within(model.cutoff)
        species = batch.species_index
        density = densities(batch.vectors, batch.edge_offsets, model.cutoff)
        energy = network_energies(model, Environments.of(batch), kernel)
        near = density > 0.0
        atoms += np.bincount(species, minlength=n)
        sites += np.bincount(species[near], minlength=n)
        density_sum += np.bincount(species, density, n)
        energy_sum += np.bincount(species[near], energy[near], n)
        np.minimum.at(lowest, species[near], density[near])
        np.maximum.at(highest, species[near], density[near])
        np.minimum.at(least, species[near], energy[near])
        np.maximum.at(most, species[near], energy[near])
        of_atoms = nearest_neighbours(batch)
        for z in range(n):
            nearest = of_atoms[species == z]
            there = np.isfinite(nearest)
            closest[z] = np.minimum(closest[z], nearest.min(axis=0, initial=np.inf))
            nearest_sum[z] += np.where(there, nearest, 0.0).sum(axis=0)
            pairs[z] += there.sum(axis=0)
        _keep_patterns(patterns, batch, energy, n)
    several = np.maximum(sites, 1)
    chosen = [patterns[key] for key in sorted(patterns)]
    every = max(len(chosen) / PATTERNS, 1.0)
    kept = tuple(chosen[int(k * every)][1] for k in range(min(len(chosen), PATTERNS)))
    return Domain(
        model.species, atoms, sites, lowest, density_sum / several, highest, energy_sum / several, least, most,
        closest, np.where(pairs > 0, nearest_sum / np.maximum(pairs, 1), np.inf), kept,
    )  # fmt: skip


def nearest_neighbours(batch: StructureBatch) -> Array:
    """The distance of each atom from its nearest neighbour of each species, [N, n_species] in A, inf without one."""
    n = len(batch.species)
    nearest = np.full(batch.n_atoms * n, np.inf)
    place = batch.centre * n + batch.species_index[batch.neighbour]
    np.minimum.at(nearest, place, np.sqrt(squares(batch.vectors)))
    return nearest.reshape(-1, n)


def network_energies(model: ETNPotential, environments: Environments, kernel: Kernel) -> Array:
    """What the network gives each site in eV, without the reference.

    By the Program that is compiled wherever a model was trained, and soon where it is used.
    """
    energies, _ = kernel.energies_and_gradients(model.parameters, environments)
    return energies - model.parameters[REFERENCES][environments.geometry.species]


def _keep_patterns(
    patterns: dict[tuple[int, ...], tuple[float, Atoms]], batch: StructureBatch, energy: Array, n: int
) -> None:
    """Keep the structure with the lowest energy of each size and composition, in quarters."""
    for s, (first, end) in enumerate(zip(batch.atom_offsets[:-1], batch.atom_offsets[1:], strict=True)):
        size = int(end - first)
        if size > PATTERN_ATOMS or (size == 1 and not batch.pbc[s].any()):
            continue
        shares = np.ceil(4 * np.bincount(batch.species_index[first:end], minlength=n) / size)
        key = (size, *shares.astype(int).tolist())
        value = float(energy[first:end].mean())
        if key not in patterns or value < patterns[key][0]:
            patterns[key] = value, _atoms(batch, s)


def _atoms(batch: StructureBatch, s: int) -> Atoms:
    from ase import Atoms

    part = slice(batch.atom_offsets[s], batch.atom_offsets[s + 1])
    symbols = [batch.species[z] for z in batch.species_index[part]]
    return Atoms(symbols, batch.positions[part], cell=batch.cells[s], pbc=batch.pbc[s])
