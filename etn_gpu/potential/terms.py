"""The terms of a potential beside its network: what holds atoms apart, and what a site is worth that no data describe.

On the data that a network was trained on its weight is 1 and the pairs are out of reach of their repulsion, so that its
own accuracy is untouched; formulas in :mod:`etn_gpu.backend.terms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.terms import TermTables, screening
from etn_gpu.errors import NetworkError
from etn_gpu.structures.elements import SYMBOLS

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Terms:
    """Numbers of the terms of a potential for n species, copied and read-only.

    Args:
        repulsion: [n, n, 2] the repulsion of a pair of elements is whole up to the first of these distances in A and
            gone from the second one on; both 0: none.
        density: [n, 4] densities a <= b < c < d of a site: below a and above d the network has no weight, between b and
            c all of it. Without a lower limit where b = 0; otherwise a < b.
        distances: [n, n, 2] (off, on) in A: a pair closer than the second begins to take weight from the network, one
            at the first takes all of it; both 0: none.
        embedding: [n, 4] (e, c, n0, k): mean energy that the network gives a site in eV, cohesive energy in eV and mean
            density, both positive, and in eV how much stiffer sites are at higher densities, from 0 on.
        bounds: [n, 4] energies floor < low < high < ceiling in eV: what the network gives a site is taken as it is from
            low to high, and stays between floor and ceiling.

    Raises:
        NetworkError: shapes, values that are not finite, orders that are not as above, pairs that are not symmetric.
    """

    repulsion: Array
    density: Array
    distances: Array
    embedding: Array
    bounds: Array

    def __post_init__(self) -> None:
        for field in fields(self):
            array = np.array(getattr(self, field.name), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, field.name, array)
        n = max(len(np.atleast_1d(self.density)), 1)
        self._check_shapes(n)
        for name in ("repulsion", "distances"):
            self._check_pairs(name)
        self._check_density()
        self._check_embedding()
        self._check_bounds()

    @property
    def n_species(self) -> int:
        """How many species the terms are for."""
        return len(self.density)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Terms):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def tables(self, species: Sequence[str], cutoff: float) -> TermTables:
        """The terms as backends compute them, for these chemical symbols and a cutoff of the potential in A.

        Raises:
            NetworkError: another number of species, or radii beyond the cutoff.
        """
        if len(species) != self.n_species:
            raise NetworkError(f"the terms are for {self.n_species} species, the potential is for {tuple(species)}")
        for name in ("repulsion", "distances"):
            if (longest := getattr(self, name).max()) > cutoff:
                raise NetworkError(
                    f"the terms' {name} reach to {longest:g} A, expected at most the cutoff of the potential, "
                    f"{cutoff:g} A"
                )
        numbers = np.array([SYMBOLS.index(symbol) + 1 for symbol in species])
        pairs = np.concatenate([self.repulsion, self.distances, screening(numbers)], axis=-1)
        return TermTables(pairs, np.concatenate([self.density, self.embedding, self.bounds], axis=-1), float(cutoff))

    def _check_shapes(self, n: int) -> None:
        shapes = {
            "density": (n, 4), "repulsion": (n, n, 2), "distances": (n, n, 2), "embedding": (n, 4), "bounds": (n, 4),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise NetworkError(f"the terms' {name} has shape {array.shape}, expected {shape} for {n} species")
            if not np.isfinite(array).all():
                raise NetworkError(f"the terms' {name} holds NaN or infinite values: {array.tolist()}")

    def _check_pairs(self, name: str) -> None:
        array = getattr(self, name)
        first, second = array[..., 0], array[..., 1]
        self._require(
            (first >= 0.0) & ((first < second) | ((first == 0.0) & (second == 0.0))),
            f"two distances 0 <= inner < outer in A for each pair of species in the terms' {name}, or twice 0 for none",
            array,
        )
        self._require(array == array.swapaxes(0, 1), f"the terms' {name} to be symmetric in the species", array)

    def _check_density(self) -> None:
        a, b, c, d = self.density.T
        self._require(
            (a >= 0.0) & ((a < b) | (b == 0.0)) & (a <= b) & (b < c) & (c < d),
            "densities 0 <= a < b < c < d for each species in the terms' density, or a = b = 0 for no lower limit",
            self.density,
        )

    def _check_embedding(self) -> None:
        self._require(
            (self.embedding[:, 1:3] > 0.0).all(axis=1) & (self.embedding[:, 3] >= 0.0),
            "a mean energy, a cohesive energy above 0, a density above 0 and a stiffness from 0 on for each species in "
            "the terms' embedding",
            self.embedding,
        )

    def _check_bounds(self) -> None:
        self._require(
            (np.diff(self.bounds, axis=1) > 0.0).all(axis=1),
            "four energies floor < low < high < ceiling in eV for each species in the terms' bounds",
            self.bounds,
        )

    @staticmethod
    def _require(good: Any, expected: str, array: Array) -> None:
        if not np.all(good):
            place = tuple(int(k) for k in np.argwhere(~np.asarray(good))[0][: array.ndim - 1])
            raise NetworkError(f"expected {expected}; got {array[place].tolist()} for species {list(place)}")
