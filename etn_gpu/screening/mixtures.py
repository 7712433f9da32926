"""The mixture of phases that has a composition and the lowest energy: the linear program of :mod:`.hull`.

From a mixture of the pure elements it takes a simplex of a few rows some ten steps to get there, which is much less
work than calling a solver. In doubt - where no such mixture is known, where it comes to no end, where another mixture
is as good - HiGHS decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lowest_mixture"]

Array = NDArray[np.float64]
#: Shares below are none.
_NO_SHARE = 1e-9
#: Energies in eV per atom by which a phase must lie above a mixture that it is not part of, beyond doubt.
_CLEAR = 1e-6
_MOST_STEPS = 200


def lowest_mixture(shares: Array, energies: Array, composition: Array) -> NDArray[np.int64] | None:
    """The phases of a mixture of the lowest energy, in order; None where no mixture has the composition.

    Args:
        shares: [M, k] of the elements in the phases.
        energies: [M] in eV per atom.
        composition: [k] shares of the elements.
    """
    if not len(shares):
        return None
    found = _by_exchange(shares, energies, composition)
    return _by_highs(shares, energies, composition) if found is None else found


def _by_exchange(shares: Array, energies: Array, composition: Array) -> NDArray[np.int64] | None:
    """Beginning with the elements, the phase furthest below the plane of the mixture takes the place of the one that
    is used up first; None in doubt."""
    basis = shares.argmax(axis=0)
    if not np.array_equal(shares[basis], np.eye(shares.shape[1])):
        return None
    for _ in range(_MOST_STEPS):
        inverse = np.linalg.inv(shares[basis])
        above = energies - shares @ (inverse @ energies[basis])
        amounts = composition @ inverse
        above[basis] = np.inf
        enters = int(above.argmin())
        if above[enters] > _CLEAR:
            return np.sort(basis[amounts > _NO_SHARE])
        if above[enters] > -_CLEAR:
            return None
        uses = shares[enters] @ inverse
        lasts = np.full(len(basis), np.inf)
        np.divide(np.maximum(amounts, 0.0), uses, out=lasts, where=uses > _NO_SHARE)
        basis[lasts.argmin()] = enters
    return None


def _by_highs(shares: Array, energies: Array, composition: Array) -> NDArray[np.int64] | None:
    from scipy.optimize import linprog

    # From the mean energy, so that tolerances are those of differences.
    found = linprog(energies - energies.mean(), A_eq=shares.T, b_eq=composition, method="highs")
    return None if found.x is None else np.flatnonzero(found.x > _NO_SHARE)
