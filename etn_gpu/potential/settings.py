"""Where the weight of a network ends beyond its training data: settings, and the terms that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.domain import Domain
from etn_gpu.potential.terms import Terms

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Choices, the usual one first.
#:
#: upper and lower: densities where the weight of the network begins to end and where it has ended, over the highest and
#: the lowest that occurred. pairs: distance at which a close pair has taken all weight, and within which repulsion is
#: whole, over that of the closest approach, at which both begin. bounds: up to where the network is believed, and how
#: far it comes at all, beyond the energies that it gives sites of the data, over the distance of these from their mean.
#: stiffness: of sites denser than usual, over the cohesive energy.
CHOICES: dict[str, tuple[Any, ...]] = {
    "upper": ((1.2, 1.5), (1.1, 1.5), (1.0, 1.5), (1.2, 1.6), (1.1, 1.6), (1.0, 1.25)),
    "lower": ((0.9, 0.4), (0.95, 0.5), (1.0, 0.6), (1.0, 0.8), (0.9, 0.2), (0.7, 0.2)),
    "pairs": ((0.75, 0.75), (0.75, 0.85), (0.85, 0.8), (0.8, 0.8), (0.65, 0.85), (0.9, 0.85)),
    "bounds": ((0.25, 0.75), (0.15, 0.45), (0.05, 0.25)),
    "stiffness": ((0.0,), (0.5,), (1.0,), (2.0,), (5.0,), (20.0,)),
}
#: Limits are that much beside what occurred: round-off decides about no site of the training data.
MARGIN = 1e-6
#: Distances are that of the closest approach: in more data there would be closer pairs.
MORE_DATA = 0.97
#: Below, the network is believed and comes that far beyond the energies that it gives, in the same measure; distances
#: in eV and A that are not too small.
BELOW, SPREAD = (0.25, 0.5), 0.1
#: How close atoms come in motion, over the distance of neighbours; how close unknown ones come, over their bond.
ROOM, UNSEEN = 0.85, 0.6
#: Densities that no site has: for species of which no data tell anything but the energy of their atom.
NOWHERE = (1e6, 2e6, 3e6, 4e6)


@dataclass(frozen=True)
class Settings:
    """Which of ``CHOICES`` each species [n], or pair of species [n, n], has."""

    upper: Integers
    lower: Integers
    pairs: Integers
    bounds: Integers
    stiffness: Integers

    @staticmethod
    def usual(n: int) -> Settings:
        """The first choices, for n species."""
        each = np.zeros(n, np.int64)
        return Settings(each, each, np.zeros((n, n), np.int64), each, each)

    @staticmethod
    def loosest(n: int) -> Settings:
        """Those that let the network act as far out as any."""
        usual = Settings.usual(n)
        widest = {
            "lower": int(np.argmin([a for _, a in CHOICES["lower"]])),
            "upper": int(np.argmax([d for _, d in CHOICES["upper"]])),
            "pairs": int(np.argmin([off for off, _ in CHOICES["pairs"]])),
        }
        return replace(usual, **{name: np.full_like(getattr(usual, name), choice) for name, choice in widest.items()})

    def others(self, name: str, species: tuple[int, ...]) -> Iterator[Settings]:
        """The same with another choice for some species, or for the pairs of them."""
        chosen = getattr(self, name)
        place = list(species) if chosen.ndim == 1 else np.ix_(species, species)
        for choice in range(len(CHOICES[name])):
            other = chosen.copy()
            other[place] = choice
            if not np.array_equal(other, chosen):
                yield replace(self, **{name: other})

    def factors(self, name: str) -> Array:
        """The numbers of a choice, along the last axis."""
        return np.asarray(CHOICES[name], np.float64)[getattr(self, name)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {name: self.factors(name).tolist() for name in CHOICES}

    def terms(self, domain: Domain, cohesion: Array, cutoff: float) -> Terms:
        """The terms that follow from a domain and cohesive energies [n] in eV; nothing reaches beyond the cutoff."""
        lower, upper, pairs = self.factors("lower"), self.factors("upper"), self.factors("pairs")
        stiffness = cohesion * self.factors("stiffness")[:, 0]
        seen = domain.sites > 0
        lowest, highest = np.where(seen, domain.lowest, 1.0), np.where(seen, domain.highest, 1.0)
        # Sites may all be alike.
        b, c = lowest * np.minimum(lower[:, 0], 1.0 - MARGIN), highest * np.maximum(upper[:, 0], 1.0 + MARGIN)
        density = np.stack([lowest * lower[:, 1], b, c, highest * upper[:, 1]], axis=1)
        closest = np.minimum(closest_approach(domain.species, domain.closest, domain.nearest), cutoff) * MORE_DATA
        usual = np.where(seen, domain.mean, np.mean(domain.mean[seen]) if seen.any() else 1.0)
        return Terms(
            repulsion=np.stack([pairs[..., 1] * closest, closest], axis=-1),
            density=np.where(seen[:, None], density, NOWHERE),
            distances=np.stack([pairs[..., 0] * closest, closest], axis=-1),
            embedding=np.stack([domain.energy, cohesion, usual, stiffness], axis=1),
            bounds=self._bounds(domain),
        )

    def _bounds(self, domain: Domain) -> Array:
        """Energies in eV between which the network is believed, and between which it stays, [n, 4]."""
        seen, above = domain.sites > 0, self.factors("bounds")
        least, most = np.where(seen, domain.least, domain.energy), np.where(seen, domain.most, domain.energy)
        down, up = np.maximum(domain.energy - least, SPREAD), np.maximum(most - domain.energy, SPREAD)
        return np.stack(
            [least - BELOW[1] * down, least - BELOW[0] * down, most + above[:, 0] * up, most + above[:, 1] * up], axis=1
        )


def closest_approach(species: Sequence[str], observed: Array, nearest: Array) -> Array:
    """How close atoms of each two species come before they are repelled, [n, n] in A.

    That is how close they came in the data, ``observed`` [n, n], inf where they never did; but where these know little
    more than the distances of a lattice, there is more room: some part of the distance of neighbours in the mean,
    ``nearest`` [n, n], and for unlike elements the mean of what like ones have.
    """
    from ase.data import atomic_numbers, covalent_radii

    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in species])
    closest = np.minimum(observed, ROOM * np.minimum(nearest, nearest.T))
    own = np.where(np.isfinite(np.diag(closest)), np.diag(closest), 2.0 * UNSEEN * radii)
    closest = np.minimum(closest, 0.5 * (own[:, None] + own))
    np.fill_diagonal(closest, own)
    return closest
