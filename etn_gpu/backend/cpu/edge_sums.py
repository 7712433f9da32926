"""One pass over the edges of each atom: forces and virials, and the adjoint of them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_parallel: Any = numba.njit(cache=True, parallel=True, nogil=True, error_model="numpy")
#: Atoms that one thread takes at a time.
CHUNK = 256


@_parallel
def sum_edges(gradient: Any, vectors: Any, reverse: Any, edge_offsets: Any, forces: Any, virials: Any) -> None:
    """Per atom i: sum_e (g_e - g_reverse(e)) into ``forces``, sum_e x_e g_e (Voigt, symmetrised) into ``virials``.

    Sums run in float64 and in the order of the edges: they do not depend on the threads.
    """
    n = len(edge_offsets) - 1
    for chunk in numba.prange((n + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
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


@_parallel
def spread_to_edges(
    force_bar: Any, strains: Any, structure_of_atom: Any, vectors: Any, neighbour: Any, edge_offsets: Any, dx: Any
) -> None:
    """Per edge e from atom i to j: ``force_bar`` of i less that of j, plus the strain of their structure times x_e.

    ``strains`` [S, 3, 3]; the results go into ``dx`` [E, 3].
    """
    n = len(edge_offsets) - 1
    for chunk in numba.prange((n + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
            strain = strains[structure_of_atom[i]]
            for e in range(edge_offsets[i], edge_offsets[i + 1]):
                j = neighbour[e]
                x, y, z = vectors[e, 0], vectors[e, 1], vectors[e, 2]
                for k in range(3):
                    strained = strain[k, 0] * x + strain[k, 1] * y + strain[k, 2] * z
                    dx[e, k] = force_bar[i, k] - force_bar[j, k] + strained
