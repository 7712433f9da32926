"""Batches of any structures, none with more edges than there is memory for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.batch import StructureBatch
from etn_gpu.structures.crowded import CrowdedError

if TYPE_CHECKING:
    from ase import Atoms


def bounded_batches(
    structures: Sequence[Atoms], species: Sequence[str], cutoff: float, most_edges: int
) -> Iterator[StructureBatch]:
    """Consecutive structures as batches of at most ``most_edges`` edges, or of one structure that has more.

    Structures that cannot be evaluated are in the ``failures`` of their batch. It is one batch unless the search for
    neighbours, which counts before it stores, finds too many; nothing is estimated.
    """
    try:
        yield StructureBatch.build(structures, species, cutoff, on_error="collect", most_edges=most_edges)
    except CrowdedError as error:
        parts = cut(error.edges, most_edges)
    else:
        return
    for first, end in parts:
        yield StructureBatch.build(structures[first:end], species, cutoff, on_error="collect")


def cut(edges: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """First and end of parts with at most ``most`` of ``edges`` [S] in each, or of one structure."""
    ends = np.cumsum(edges)
    parts, first = [], 0
    while first < len(edges):
        before = ends[first] - edges[first]
        end = max(int(np.searchsorted(ends, before + most, side="right")), first + 1)
        parts.append((first, end))
        first = end
    return parts
