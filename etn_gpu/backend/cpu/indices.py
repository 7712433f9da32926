"""Whether the indices of :class:`etn_gpu.backend.geometry.Geometry` are what they should be, in one pass."""

from __future__ import annotations

from typing import Any

from etn_gpu.backend.cpu.loops import compiled


@compiled
def survey(edge_offsets: Any, species: Any, edge_species: Any, neighbour: Any, reverse: Any) -> Any:
    """Whether the offsets decrease, the least and the largest species, whether ``neighbour`` and ``reverse`` are
    indices of atoms and of edges, one for each edge; they may be None."""
    decreasing = False
    for i in range(len(edge_offsets) - 1):
        decreasing |= edge_offsets[i + 1] < edge_offsets[i]
    least, last = 0, 0
    for i in range(len(species)):
        least, last = min(least, species[i]), max(last, species[i])
    for e in range(len(edge_species)):
        least, last = min(least, edge_species[e]), max(last, edge_species[e])
    neighbours_fit = neighbour is None or _indices(neighbour, len(edge_species), len(species))
    reverse_fits = reverse is None or _indices(reverse, len(edge_species), len(edge_species))
    return decreasing, least, last, neighbours_fit, reverse_fits


@compiled
def _indices(values: Any, count: int, end: int) -> bool:
    """Whether there are ``count`` values, all from 0 to ``end`` - 1."""
    fit = len(values) == count
    for k in range(len(values)):
        fit &= 0 <= values[k] < end
    return fit
