"""From edge gradients to forces and stresses, and back: linear maps that know positions and cells but no model.

With the edge vector x_e = r_j + shift - r_i and g_e = dE/dx_e the force on atom i is
``sum_{e of i} (g_e - g_{reverse(e)})`` and the derivative with respect to strain is ``sum_e x_e (x) g_e``. No scatter
and no atomics: every sum runs over consecutive edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures import StructureBatch, matrix_from_voigt

Array = NDArray[np.float64]
#: Share of a Voigt component that each of its entries in the symmetric matrix gets: off the diagonal there are two.
_SHARES = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])


def segment_sum(values: NDArray[np.floating], offsets: NDArray[np.int64]) -> Array:
    """Sums of consecutive rows: values [n, k], offsets [m+1] -> [m, k] in float64; empty segments give zero."""
    starts = offsets[:-1]
    filled = starts < offsets[1:]
    if filled.all():
        return np.asarray(np.add.reduceat(values, starts, axis=0, dtype=np.float64))
    out = np.zeros((len(starts), values.shape[1]))
    if filled.any():
        out[filled] = np.add.reduceat(values, starts[filled], axis=0, dtype=np.float64)
    return out


def forces_and_virials(
    batch: StructureBatch, gradient: NDArray[np.floating], threads: int | None = None
) -> tuple[Array, Array]:
    """Forces [N, 3] in eV/A and each atom's share in dE/d(strain), [N, 6] Voigt in eV, from edge gradients [E, 3]."""
    from etn_gpu.backend.cpu.edge_sums import sum_edges

    force, virial = np.empty((batch.n_atoms, 3)), np.empty((batch.n_atoms, 6))
    sum_edges(gradient, batch.vectors, batch.reverse, batch.edge_offsets, force, virial, threads)
    return force, virial


def stresses(batch: StructureBatch, virials: Array) -> Array:
    """Stress [S, 6] in eV/A^3 from the virials of the atoms [N, 6]; nan unless periodic in all three directions."""
    return segment_sum(virials, batch.atom_offsets) / batch.volumes[:, None]


def conjugate_strains(voigt: Array) -> Array:
    """Symmetric matrices [n, 3, 3] whose inner product with a tensor of Voigt components t is ``sum voigt . t``."""
    return matrix_from_voigt(_SHARES * voigt)


def edge_displacements(batch: StructureBatch, force_bar: Array, stress_bar: Array, threads: int | None = None) -> Array:
    """Adjoint of :func:`forces_and_virials` and :func:`stresses`.

    Cotangents [N, 3] and [S, 6] -> the edge tangent dx [E, 3] with
    sum_e dx_e . g_e = sum force_bar . forces + sum stress_bar . stresses. Rows of ``stress_bar`` without a stress must
    be zero.
    """
    from etn_gpu.backend.cpu.edge_sums import spread_to_edges

    # Where there is no stress the volume is not finite, and zero over anything shall be zero.
    volumes = np.where(np.isfinite(batch.volumes), batch.volumes, 1.0)
    strains = conjugate_strains(stress_bar / volumes[:, None])
    dx = np.empty((batch.n_edges, 3))
    spread_to_edges(
        force_bar, strains, batch.structure_of_atom, batch.vectors, batch.neighbour, batch.edge_offsets, dx, threads
    )
    return dx
