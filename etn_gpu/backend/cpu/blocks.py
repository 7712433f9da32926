"""Atoms in blocks: which ones the lanes of a register take together, and which blocks are a chunk of work."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled

Integers = NDArray[np.integer]
#: Most chunks of blocks that are added to sums over atoms of their own (their order is fixed), and in other runs.
SUMS, CHUNKS = 64, 1024
#: Least blocks of a chunk: setting up a chunk takes as long as some atoms do.
LEAST_BLOCKS = 4


class Blocks(NamedTuple):
    """Atoms [N] in the order of blocks, by species; offsets of blocks in it, and of chunks in the blocks; edges of the
    block that has most; one more than the largest species of atoms and neighbours."""

    order: NDArray[np.int64]
    offsets: NDArray[np.int64]
    chunks: NDArray[np.int64]
    most_edges: int
    n_species: int


def blocks(
    species: Integers,
    edge_species: Integers,
    edge_offsets: Integers,
    samples: NDArray[np.int64] | None,
    width: int,
    summed: bool,
) -> Blocks:
    """Blocks of at most ``width`` atoms; a chunk for each of the ``samples``, if there are any.

    The arrays are those of :class:`~etn_gpu.backend.geometry.Geometry`; ``summed``: whether there are sums over atoms.
    """
    whole = samples is None
    cuts = np.array([0, len(species)]) if samples is None else np.asarray(samples, np.int64)
    most_chunks = SUMS if summed else CHUNKS
    return Blocks(*_arrange(species, edge_species, edge_offsets, cuts, whole, width, LEAST_BLOCKS, most_chunks))


@compiled
def _arrange(
    species: Any, edge_species: Any, edge_offsets: Any, samples: Any, whole: bool, width: int, least_blocks: int,
    most_chunks: int,
) -> Any:  # fmt: skip
    """The atoms of each sample by species, in their order where that is the same; see :class:`Blocks`.

    ``whole``: the one sample is not to be one chunk, but at most ``most_chunks`` of at least so many blocks.
    """
    n_species = 0
    for i in range(len(species)):
        n_species = max(n_species, species[i])
    for e in range(len(edge_species)):
        n_species = max(n_species, edge_species[e])
    n_species += 1
    of_samples = np.zeros(len(samples), np.int64)
    for s in range(len(samples) - 1):
        of_samples[s + 1] = of_samples[s] + (samples[s + 1] - samples[s] + width - 1) // width
    order, offsets = np.empty(len(species), np.int64), np.empty(of_samples[-1] + 1, np.int64)
    starts = np.empty(n_species + 1, np.int64)
    most = 0
    for s in range(len(samples) - 1):
        first, end = samples[s], samples[s + 1]
        starts[:] = 0
        for i in range(first, end):
            starts[species[i] + 1] += 1
        for z in range(n_species):
            starts[z + 1] += starts[z]
        for i in range(first, end):
            order[first + starts[species[i]]] = i
            starts[species[i]] += 1
        for b in range(of_samples[s], of_samples[s + 1]):
            begin = first + (b - of_samples[s]) * width
            offsets[b] = begin
            edges = 0
            for k in range(begin, min(begin + width, end)):
                edges += edge_offsets[order[k] + 1] - edge_offsets[order[k]]
            most = max(most, edges)
    offsets[-1] = len(species)
    if not whole:
        return order, offsets, of_samples, most, n_species
    n_blocks = of_samples[-1]
    n_chunks = min((n_blocks + least_blocks - 1) // least_blocks, most_chunks)
    chunks = np.zeros(n_chunks + 1, np.int64)
    for c in range(n_chunks + 1):
        chunks[c] = c * n_blocks // max(n_chunks, 1)
    return order, offsets, chunks, most, n_species
