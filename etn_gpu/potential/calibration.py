"""The numbers of the terms beside a network, from the structures that it was trained on.

On these the network has all of the weight and no pair is close enough to be repelled. What lies beyond is chosen, for
each element and pair of elements, from a few settings: where energies of virtual structures fall though atoms come
closer, another one is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.potential.cohesive import cohesive_energy
from etn_gpu.potential.domain import Domain, observed_domain
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.potential.settings import Settings
from etn_gpu.potential.terms import Terms
from etn_gpu.potential.virtual import Fall, VirtualStructures
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from etn_gpu.potential.model import ETNPotential

Array = NDArray[np.float64]

#: No limits.
UNLIMITED_DENSITY, UNLIMITED_ENERGY = (0.0, 0.0, 1e6, 2e6), (-2e6, -1e6, 1e6, 2e6)
#: The least cohesive energy in eV.
LEAST_COHESION = 1.0
#: What may be set otherwise where energies fall, the least intrusive first. The first that takes away ``ENOUGH`` of a
#: fall is taken, else the one that helps most, if it is ``WORTH`` it. No more than ``MOST`` eV of a fall count.
REMEDIES = {
    "compression": ("stiffness", "pairs", "upper", "bounds"),
    "expansion": ("lower",),
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
    repulsion: Array | None = None,
    before: ETNPotential | None = None,
    execution: Execution | None = None,
) -> Calibration:
    """Terms for a network that was trained on these structures.

    Args:
        model: the network; terms that it has already do not matter.
        batches: all structures that it was trained on, read once, one batch after the other.
        isolated: energies of isolated atoms in eV, where there are labels of them.
        references: the lowest energy of each pure element in eV per atom, where there are any.
        repulsion: radii [n, n, 2] in A of the repulsion that the network was trained beside, if it was.
        before: a potential whose network this one comes from: species that are not in the batches keep its terms.
        execution: where and how the network is evaluated.

    Raises:
        StructureError: batches of other species or a smaller cutoff; a species without an atom in them that ``before``
            does not know.
    """
    kernel = Kernel(model.architecture, execution)
    domain = observed_domain(model, batches, kernel)
    _check_species(domain, before)
    cohesion = _cohesion(model, domain, isolated or {}, references or {})
    settings = Settings.usual(len(domain.species))

    def terms_of(settings: Settings) -> Terms:
        terms = settings.terms(domain, cohesion, model.cutoff)
        if repulsion is not None:
            terms = replace(terms, repulsion=repulsion)
        return terms if before is None else _with_those_of(before, terms, domain)

    loosest = terms_of(Settings.loosest(len(domain.species))).tables(model.species, model.cutoff)
    virtual = VirtualStructures(model, domain, loosest, kernel)

    known: dict[tuple[bytes, ...], list[Fall]] = {}

    def falls_of(settings: Settings) -> list[Fall]:
        """Falls of one species after the other are tried to be mended in the same ways."""
        key = tuple(getattr(settings, field.name).tobytes() for field in fields(settings))
        if key not in known:
            known[key] = virtual.falls(terms_of(settings).tables(model.species, model.cutoff))
        return known[key]

    falls = falls_of(settings)
    hopeless: set[tuple[int, str]] = set()
    while open_ := [fall for fall in falls if (fall.path.first, fall.kind) not in hopeless]:
        worst = max(open_, key=lambda fall: fall.energy)
        total = _sum(falls)
        best, best_falls, gain = settings, falls, WORTH * min(worst.energy, MOST)
        for other in _others(settings, worst):
            found = falls_of(other)
            if total - _sum(found) > gain:
                best, best_falls, gain = other, found, total - _sum(found)
            if gain > ENOUGH * min(worst.energy, MOST):
                break
        if best is settings:
            hopeless.add((worst.path.first, worst.kind))
        settings, falls = best, best_falls
    return Calibration(terms_of(settings), domain, settings, tuple(falls), len(virtual.paths))


def _check_species(domain: Domain, before: ETNPotential | None) -> None:
    known = () if before is None else before.species
    absent = [symbol for symbol, n in zip(domain.species, domain.atoms, strict=True) if not n and symbol not in known]
    if absent:
        raise StructureError(
            f"the structures hold no {', '.join(absent)}: expected those that the potential of "
            f"{', '.join(domain.species)} was trained on"
        )


def _with_those_of(before: ETNPotential, terms: Terms, domain: Domain) -> Terms:
    """The terms with those of another potential for species without data; without limits where it has no terms."""
    absent = [z for z in np.flatnonzero(domain.atoms == 0) if domain.species[z] in before.species]
    arrays = {field.name: getattr(terms, field.name).copy() for field in fields(terms)}
    for z in absent:
        own = before.species.index(domain.species[z])
        if before.terms is None:
            arrays["density"][z], arrays["bounds"][z] = UNLIMITED_DENSITY, UNLIMITED_ENERGY
            continue
        for name in ("density", "embedding", "bounds"):
            arrays[name][z] = getattr(before.terms, name)[own]
        for w, symbol in enumerate(domain.species):
            if symbol in before.species:
                pair = own, before.species.index(symbol)
                for name in ("repulsion", "distances"):
                    arrays[name][z, w] = arrays[name][w, z] = getattr(before.terms, name)[pair]
    return Terms(**arrays)


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
