"""Reference energies of the elements: the part of an atomic energy that no Program computes.

    E_i = E0[z_i] + e_i

with e_i the output of the Programs, some eV. In all-electron codes E0 is 1e5 eV and more, of which float32 keeps the
second decimal at best: it is added in float64, whatever the dtype of the Programs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
REFERENCES = "E0"


def atomic_energies(
    outputs: NDArray[np.floating], parameters: Mapping[str, NDArray[np.float64]], species: NDArray[np.int32]
) -> Array:
    """Energies [N] of atoms of ``species`` [N] in eV, from the ``outputs`` [N] of the Programs."""
    return parameters[REFERENCES][species] + outputs


def references_gradient(
    energy_bar: Array, species: NDArray[np.int32], n_species: int, samples: NDArray[np.int64] | None
) -> Array:
    """Gradient of sum_i energy_bar_i E_i with respect to the references: [n_species], or one row for each sample.

    energy_bar and species [N]; samples [n+1] as in :func:`etn_gpu.backend.run`.
    """
    cuts = np.array([0, len(species)]) if samples is None else samples
    rows = len(cuts) - 1
    places = np.repeat(np.arange(rows), np.diff(cuts)) * n_species + species
    sums = np.asarray(np.bincount(places, energy_bar, rows * n_species), np.float64).reshape(rows, n_species)
    return sums[0] if samples is None else sums
