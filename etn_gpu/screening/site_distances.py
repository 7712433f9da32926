"""Average distances of atoms to their neighbours: numbers that copies of a structure share.

For each ordered pair of elements (a, b) and k = 1, 2, ..., they have the distance of an atom a to its k-th nearest atom
b, averaged over all atoms a, and over blocks of k: the average minimum distances of Widdowson et al. (MATCH Commun.
Math. Comput. Chem. 87, 529 (2022)) for each pair of elements. They do not change with rotations, reflections,
translations, permutations and supercells, and by 2 d at most when no atom moves by more than d. Different structures
can share them, orders of atoms on one lattice often do: :mod:`.isometry` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["REACH", "distances_of_sites", "site_distances"]

Array = NDArray[np.float64]

#: Distances count up to here, in A; what is further counts as that far, so that nothing jumps there.
REACH = 5.5
#: Ends of blocks of neighbours; with more elements there are fewer neighbours of each.
_BLOCKS = np.array([0, 1, 2, 4, 8, 16, 32, 64])


def site_distances(structures: Sequence[Atoms]) -> list[Array]:
    """Average distances [m, m B] in A of structures with m elements; those of one do not depend on the others."""
    if not structures:
        return []
    species = sorted({symbol for atoms in structures for symbol in atoms.symbols.species()})
    batch = StructureBatch.build(structures, species, REACH)
    found = []
    for number in range(batch.n_structures):
        kinds, table = distances_of_sites(batch, number)
        means = np.zeros((kinds.max() + 1, table.shape[1]))
        _average(table, kinds, np.bincount(kinds), means)
        found.append(means.ravel())
    return found


def distances_of_sites(batch: StructureBatch, number: int) -> tuple[NDArray[np.int64], Array]:
    """The same before the average, of one structure of a batch with neighbours within the reach: the places of the
    elements of its atoms among those that it has [n], and distances [n, m B] in A."""
    first, end = batch.atom_offsets[number : number + 2]
    offsets = batch.edge_offsets[first : end + 1]
    edges = slice(offsets[0], offsets[-1])
    there, kinds = np.unique(batch.species_index[first:end], return_inverse=True)
    blocks = _BLOCKS[: max(3, len(_BLOCKS) + 1 - len(there))]
    table = np.empty((len(kinds), len(there) * (len(blocks) - 1)))
    of_neighbours = np.searchsorted(there, batch.species_index[batch.neighbour[edges]])
    lengths = np.sqrt(np.square(batch.vectors[edges]).sum(axis=1))
    _fill(offsets - offsets[0], of_neighbours, lengths, len(there), blocks, REACH, table)
    return kinds, table


@compiled
def _fill(offsets: Any, of_neighbours: Any, lengths: Any, n_kinds: Any, blocks: Any, reach: Any, table: Any) -> None:
    most = 1
    for i in range(len(table)):
        most = max(most, offsets[i + 1] - offsets[i])
    near, n_blocks = np.empty(most), len(blocks) - 1
    for i in range(len(table)):
        for b in range(n_kinds):
            count = 0
            for e in range(offsets[i], offsets[i + 1]):
                if of_neighbours[e] == b:
                    near[count] = lengths[e]
                    count += 1
            near[:count].sort()
            for block in range(n_blocks):
                total = 0.0
                for k in range(blocks[block], blocks[block + 1]):
                    total += near[k] if k < count else reach
                table[i, b * n_blocks + block] = total / (blocks[block + 1] - blocks[block])


@compiled
def _average(table: Any, kinds: Any, counts: Any, means: Any) -> None:
    for i in range(len(table)):
        for c in range(table.shape[1]):
            means[kinds[i], c] += table[i, c] / counts[kinds[i]]
