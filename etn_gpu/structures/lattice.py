"""Coordinates in the bases of cells, for all structures in one pass."""

from __future__ import annotations

import math
from typing import Any

from etn_gpu.backend.cpu.loops import compiled


@compiled
def inverses(bases: Any, to_basis: Any, heights: Any) -> None:
    """The inverses of ``bases`` [S, 3, 3], whose rows are vectors, into ``to_basis``, and one over the lengths of their
    columns, which are distances of planes, into ``heights`` [S, 3]."""
    for s in range(len(bases)):
        basis, inverse = bases[s], to_basis[s]
        for k in range(3):
            a, b = basis[0 if k == 2 else k + 1], basis[2 if k == 0 else k - 1]
            inverse[0, k] = a[1] * b[2] - a[2] * b[1]
            inverse[1, k] = a[2] * b[0] - a[0] * b[2]
            inverse[2, k] = a[0] * b[1] - a[1] * b[0]
        volume = basis[0, 0] * inverse[0, 0] + basis[0, 1] * inverse[1, 0] + basis[0, 2] * inverse[2, 0]
        for k in range(3):
            square = 0.0
            for m in range(3):
                inverse[m, k] /= volume
                square += inverse[m, k] * inverse[m, k]
            heights[s, k] = 1.0 / math.sqrt(square)


@compiled
def coordinates(positions: Any, atom_offsets: Any, to_basis: Any, found: Any) -> None:
    """positions [N, 3] times the matrix ``to_basis`` [S, 3, 3] of their structure, into ``found`` [N, 3]."""
    for s in range(len(to_basis)):
        for i in range(atom_offsets[s], atom_offsets[s + 1]):
            for k in range(3):
                found[i, k] = (
                    positions[i, 0] * to_basis[s, 0, k]
                    + positions[i, 1] * to_basis[s, 1, k]
                    + positions[i, 2] * to_basis[s, 2, k]
                )


@compiled
def volumes(cells: Any, pbc: Any, found: Any) -> None:
    """What the vectors of cells [S, 3, 3] span, nan where not all of them are periodic, pbc [S, 3]."""
    for s in range(len(cells)):
        a, b, c = cells[s, 0], cells[s, 1], cells[s, 2]
        volume = (
            a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        found[s] = abs(volume) if pbc[s, 0] and pbc[s, 1] and pbc[s, 2] else math.nan
