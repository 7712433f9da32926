"""Units and Voigt order.

Everything inside etn_gpu is in ASE's units: eV, Angstrom, eV/A and, for stress, eV/A^3 with tension positive. The
six Voigt components are in ASE's order xx, yy, zz, yz, xz, xy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: One GPa in eV/A^3, from the elementary charge of CODATA 2014 (1.6021766208e-19 C) that ASE's units use.
GPA = 1.0 / 160.21766208
#: One kbar in eV/A^3.
KBAR = 0.1 * GPA

#: Row and column of the six Voigt components.
VOIGT_ROWS = (0, 1, 2, 1, 0, 0)
VOIGT_COLUMNS = (0, 1, 2, 2, 2, 1)
_MATRIX_FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def voigt_from_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """The six Voigt components of symmetric matrices, shape (..., 3, 3) -> (..., 6).

    Off-diagonal components are the mean of the two entries, so that round-off in either does not matter.
    """
    tensor = np.asarray(matrix, dtype=np.float64)
    symmetric = 0.5 * (tensor + np.swapaxes(tensor, -1, -2))
    return symmetric[..., VOIGT_ROWS, VOIGT_COLUMNS]


def matrix_from_voigt(voigt: ArrayLike) -> NDArray[np.float64]:
    """The symmetric matrices of Voigt components, shape (..., 6) -> (..., 3, 3)."""
    return np.asarray(voigt, dtype=np.float64)[..., _MATRIX_FROM_VOIGT]


def pressure(voigt: ArrayLike) -> NDArray[np.float64]:
    """The pressure, minus the mean of the normal stresses, shape (..., 6) -> (...), in the units of the stress."""
    return -np.asarray(voigt, dtype=np.float64)[..., :3].mean(axis=-1)
