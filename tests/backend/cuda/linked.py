"""Batches in which every edge has an edge back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend import Geometry


def linked(sizes: Sequence[int], n_pairs: int, n_species: int, seed: int = 0) -> tuple[Geometry, NDArray[np.int64]]:
    """Samples of so many atoms with random pairs of neighbours, in each as many: the geometry and the samples.

    Some pairs are there twice, some are of an atom with itself, and some atoms have none.
    """
    rng = np.random.default_rng(seed)
    samples = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    species = rng.integers(0, n_species, samples[-1]).astype(np.int32)
    drawn = [rng.integers(first, end, (n_pairs, 2)) for first, end in pairwise(samples) if end > first]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *drawn])
    centre, neighbour = np.concatenate((pairs, pairs[:, ::-1])).T
    order = np.lexsort((species[neighbour], centre))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    reverse = np.roll(place, -len(pairs))[order]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(centre, minlength=samples[-1])))).astype(np.int64)
    return Geometry(offsets, species, species[neighbour[order]], neighbour[order], reverse), samples
