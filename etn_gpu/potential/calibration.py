"""The numbers of the terms beside a network, from the structures that it was trained on.

On these the network has all of the weight and no pair is close enough to be repelled. What lies beyond is chosen, for
each element and pair of elements, from a few settings: where energies of virtual structures fall though atoms come
closer, another one is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.cohesive import cohesive_energy
from etn_gpu.potential.domain import Domain, observed_domain
from etn_gpu.potential.settings import Settings
from etn_gpu.potential.terms import Terms
from etn_gpu.potential.virtual import Fall, VirtualStructures
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from etn_gpu.potential.model import ETNPotential

Array = NDArray[np.float64]

#: The least cohesive energy in eV.
LEAST_COHESION = 1.0
#: What may be set otherwise where energies fall, the least intrusive first. The first that takes away ``ENOUGH`` of a
#: fall is taken, else the one that helps most, if it is ``WORTH`` it. No more than ``MOST`` eV of a fall count.
REMEDIES = {
    "compression": ("stiffness", "pairs", "upper", "bounds"),
    "expansion": ("lower", "cohesion"),
    "pair": ("pairs", "bounds", "upper", "lower"),
}
ENOUGH, WORTH, MOST = 0.7, 0.05, 100.0


@dataclass(frozen=True)
class Calibration:
    """Terms, what they follow from, and where energies still fall; ``checked`` is the number of virtual paths."""

    terms: Terms
    domain: Domain
    settings: Settings
    falls: tuple[Fall, ...]
    checked: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; for ``falls`` the energies in eV by which they fall, per atom for whole structures."""
        return {
            "observed": self.domain.to_dict(),
            "settings": self.settings.to_dict(),
            "checks": self.checked,
            "falls": {f"{fall.kind}: {fall.path.name}": round(fall.energy, 4) for fall in self.falls},
        }


def calibrated_terms(
    model: ETNPotential,
    batches: Iterable[StructureBatch],
    *,
    isolated: Mapping[str, float] | None = None,
    references: Mapping[str, float] | None = None,
) -> Calibration:
    """Terms for a network that was trained on these structures.

    Args:
        model: the network; terms that it has already do not matter.
        batches: all structures that it was trained on, read once, one batch after the other.
        isolated: energies of isolated atoms in eV, where there are labels of them.
        references: the lowest energy of each pure element in eV per atom, where there are any.

    Raises:
        StructureError: batches of other species or a smaller cutoff; a species without an atom in them.
    """
    domain = observed_domain(model, batches)
    cohesion = _cohesion(model, domain, isolated or {}, references or {})
    settings = Settings.usual(len(domain.species))

    def terms_of(settings: Settings) -> Terms:
        return settings.terms(domain, cohesion, model.cutoff)

    loosest = terms_of(Settings.loosest(len(domain.species))).tables(model.species, model.cutoff)
    virtual = VirtualStructures(model, domain, loosest)

    def falls_of(settings: Settings) -> list[Fall]:
        return virtual.falls(terms_of(settings).tables(model.species, model.cutoff))

    falls = falls_of(settings)
    hopeless: set[tuple[int, str]] = set()
    while open_ := [fall for fall in falls if (fall.path.first, fall.kind) not in hopeless]:
        worst = max(open_, key=lambda fall: fall.energy)
        before = _sum(falls)
        best, best_falls, gain = settings, falls, WORTH * min(worst.energy, MOST)
        for other in _others(settings, worst):
            found = falls_of(other)
            if before - _sum(found) > gain:
                best, best_falls, gain = other, found, before - _sum(found)
            if gain > ENOUGH * min(worst.energy, MOST):
                break
        if best is settings:
            hopeless.add((worst.path.first, worst.kind))
        settings, falls = best, best_falls
    return Calibration(terms_of(settings), domain, settings, tuple(falls), len(virtual.paths))


def _others(settings: Settings, fall: Fall) -> Iterator[Settings]:
    for name in REMEDIES[fall.kind]:
        yield from settings.others(name, fall.path.species)


def _cohesion(
    model: ETNPotential, domain: Domain, isolated: Mapping[str, float], references: Mapping[str, float]
) -> Array:
    """What an isolated atom has above the mean energy of its element in the data, [n] in eV."""
    mean = np.array(list(model.reference_energies.values())) + domain.energy
    found = []
    for symbol, usual in zip(domain.species, mean, strict=True):
        crystal = references.get(symbol, float(usual))
        atom = isolated.get(symbol, crystal + cohesive_energy(symbol))
        found.append(max(atom - float(usual), LEAST_COHESION))
    return np.array(found)


def _sum(falls: Iterable[Fall]) -> float:
    return sum(min(fall.energy, MOST) for fall in falls)
