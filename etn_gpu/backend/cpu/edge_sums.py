"""One pass over the edges of each atom: forces and virials, and the adjoint of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.loops import compiled, take
from etn_gpu.backend.cpu.threads import share, workers

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
#: Atoms that one thread takes at a time.
CHUNK = 256


def sum_edges(
    gradient: Floats, vectors: Floats, reverse: Integers, edge_offsets: Integers, forces: Floats, virials: Floats,
    threads: int | None = None,
) -> None:  # fmt: skip
    """Per atom i: sum_e (g_e - g_reverse(e)) into ``forces``, sum_e x_e g_e (Voigt, symmetrised) into ``virials``.

    gradient and vectors [E, 3], reverse [E], edge_offsets [N+1], forces [N, 3], virials [N, 6]. Sums run in float64 and
    in the order of the edges: they do not depend on the threads.
    """
    number = _workers(threads, edge_offsets)
    share(_sum_edges, number, CHUNK, gradient, vectors, reverse, edge_offsets, forces, virials)


def spread_to_edges(
    force_bar: Floats, strains: Floats, structure_of_atom: Integers, vectors: Floats, neighbour: Integers,
    edge_offsets: Integers, dx: Floats, threads: int | None = None,
) -> None:  # fmt: skip
    """Per edge e from atom i to j: ``force_bar`` of i less that of j, plus the strain of their structure times x_e.

    force_bar [N, 3], strains [S, 3, 3], structure_of_atom [N], vectors [E, 3], neighbour [E], edge_offsets [N+1]; the
    results go into ``dx`` [E, 3].
    """
    number = _workers(threads, edge_offsets)
    share(_spread_to_edges, number, CHUNK, force_bar, strains, structure_of_atom, vectors, neighbour, edge_offsets, dx)


def _workers(threads: int | None, edge_offsets: Integers) -> int:
    return workers(threads, (len(edge_offsets) - 1 + CHUNK - 1) // CHUNK)


@compiled
def _sum_edges(
    counter: Any, worker: int, size: int, gradient: Any, vectors: Any, reverse: Any, edge_offsets: Any, forces: Any,
    virials: Any,
) -> None:  # fmt: skip
    n = len(edge_offsets) - 1
    first = take(counter) * size
    while first < n:
        for i in range(first, min(n, first + size)):
            f0 = f1 = f2 = 0.0
            xx = yy = zz = yz = xz = xy = 0.0
            for e in range(edge_offsets[i], edge_offsets[i + 1]):
                x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
                a, b, c = np.float64(gradient[e, 0]), np.float64(gradient[e, 1]), np.float64(gradient[e, 2])
                r = reverse[e]
                f0 += a - np.float64(gradient[r, 0])
                f1 += b - np.float64(gradient[r, 1])
                f2 += c - np.float64(gradient[r, 2])
                xx += x * a
                yy += y * b
                zz += z * c
                yz += y * c + z * b
                xz += x * c + z * a
                xy += x * b + y * a
            forces[i, 0], forces[i, 1], forces[i, 2] = f0, f1, f2
            virials[i, 0], virials[i, 1], virials[i, 2] = xx, yy, zz
            virials[i, 3], virials[i, 4], virials[i, 5] = 0.5 * yz, 0.5 * xz, 0.5 * xy
        first = take(counter) * size


@compiled
def _spread_to_edges(
    counter: Any, worker: int, size: int, force_bar: Any, strains: Any, structure_of_atom: Any, vectors: Any,
    neighbour: Any, edge_offsets: Any, dx: Any,
) -> None:  # fmt: skip
    n = len(edge_offsets) - 1
    first = take(counter) * size
    while first < n:
        for i in range(first, min(n, first + size)):
            strain = strains[structure_of_atom[i]]
            for e in range(edge_offsets[i], edge_offsets[i + 1]):
                j = neighbour[e]
                x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
                for k in range(3):
                    strained = strain[k, 0] * x + strain[k, 1] * y + strain[k, 2] * z
                    dx[e, k] = force_bar[i, k] - force_bar[j, k] + strained
        first = take(counter) * size
