"""The lower convex hull of energies over compositions, and how far structures lie above it.

A mixture of known phases that has the composition c of a structure, with shares w >= 0, has the energy sum_p w_p e_p
per atom. The lowest is the hull,

    h(c) = min { w . e : sum_p w_p x_p = c, w >= 0 },

a linear program (Ong et al., Chem. Mater. 20, 1798 (2008)); what a structure has beyond that is what it could give off
by decomposing. The phases of one optimal mixture are the optimal ones for every composition between them, so that there
is one program for each facet that the structures lie over, not one for each structure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.mixtures import lowest_mixture

__all__ = ["EnergyHull", "on_or_above"]

Array = NDArray[np.float64]
#: Compositions that agree as well as that are equal.
_TOLERANCE = 1e-9


class EnergyHull:
    """The hull of some phases.

    Args:
        elements: chemical symbols; compositions are counts or shares of them, in that order.
        compositions: [M, k] of the phases.
        energies: [M] in eV per atom.

    >>> hull = EnergyHull(("Mo", "W"), [[1, 0], [0, 1], [1, 1]], [-10.9, -12.9, -12.0])
    >>> hull.above([[3, 1]], [-11.4])
    array([0.05])
    """

    def __init__(
        self,
        elements: Sequence[str],
        compositions: Sequence[Sequence[float]] | Array,
        energies: Sequence[float] | Array,
    ) -> None:
        self.elements = tuple(elements)
        shares = _shares(compositions, len(self.elements))
        values = np.asarray(energies, np.float64)
        shares, place = _distinct(shares)
        lowest = np.full(len(shares), np.inf)
        np.minimum.at(lowest, place, values)
        kept = self._worth_keeping(shares, lowest)
        self._shares, self._energies = shares[kept], lowest[kept]

    @staticmethod
    def of_formulas(phases: Iterable[tuple[Mapping[str, int], float]]) -> EnergyHull:
        """The hull of phases given by their counts of elements and their energies in eV per atom."""
        known = list(phases)
        elements = sorted({symbol for counts, _ in known for symbol in counts})
        compositions = [[counts.get(symbol, 0) for symbol in elements] for counts, _ in known]
        return EnergyHull(elements, np.reshape(compositions, (len(known), len(elements))), [e for _, e in known])

    def energies(self, compositions: Sequence[Sequence[float]] | Array) -> Array:
        """The hull [N] in eV per atom over compositions [N, k]; nan where no mixture of the phases has one."""
        shares, place = _distinct(_shares(compositions, len(self.elements)))
        found = np.full(len(shares), np.nan)
        left = np.arange(len(shares))
        while len(left):
            phases = lowest_mixture(self._shares, self._energies, shares[left[0]])
            if phases is None:
                left = left[1:]
                continue
            weights, *_ = np.linalg.lstsq(self._shares[phases].T, shares[left].T, rcond=None)
            misfit = np.abs(self._shares[phases].T @ weights - shares[left].T).max(axis=0)
            over = (misfit < _TOLERANCE) & (weights.min(axis=0) > -_TOLERANCE)
            over[0] = True
            found[left[over]] = self._energies[phases] @ weights[:, over]
            left = left[~over]
        return found[place]

    def above(self, compositions: Sequence[Sequence[float]] | Array, energies: Sequence[float] | Array) -> Array:
        """What structures have beyond the hull [N] in eV per atom, negative below it, and 0 for what is on it but for
        round-off; nan where there is no hull.

        Args:
            compositions: [N, k].
            energies: [N] in eV per atom.
        """
        return on_or_above(np.asarray(energies, np.float64) - self.energies(compositions))

    def stable(self) -> list[tuple[Array, float]]:
        """The phases on the hull: shares [k] and energies in eV per atom, in order of their shares."""
        on_it = self._energies - self.energies(self._shares) < _TOLERANCE
        return [(self._shares[p], float(self._energies[p])) for p in np.flatnonzero(on_it)]

    def _worth_keeping(self, shares: Array, energies: Array) -> NDArray[np.bool_]:
        """Phases above the mixture of the elements are on no hull."""
        pure = [np.flatnonzero(shares[:, z] > 1.0 - _TOLERANCE) for z in range(len(self.elements))]
        if not all(len(places) for places in pure):
            return np.ones(len(shares), dtype=bool)
        mixture = shares @ energies[[places[0] for places in pure]]
        kept: NDArray[np.bool_] = energies < mixture - _TOLERANCE
        kept[[places[0] for places in pure]] = True
        return kept


def on_or_above(above: Array | float) -> Array:
    """Differences from a hull in eV per atom, without round-off where they are none."""
    return np.where(np.abs(above) < _TOLERANCE, 0.0, above)


def _shares(compositions: Sequence[Sequence[float]] | Array, n_elements: int) -> Array:
    counts = np.asarray(compositions, np.float64).reshape(len(compositions), n_elements)
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.where(total > 0.0, total, 1.0)


def _distinct(shares: Array) -> tuple[Array, NDArray[np.intp]]:
    """Compositions that differ, and the place of each given one among them."""
    _, first, place = np.unique(np.round(shares, 9), axis=0, return_index=True, return_inverse=True)
    return shares[first], place.reshape(-1)
