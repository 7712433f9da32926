"""What formation energies and the hull are relative to: phases of the model, of a file, or relaxed by the model.

The reference of an element is its phase with the lowest energy per atom. Those of a file go before those that the model
relaxes, and these before those that it was trained on, element by element.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from etn_gpu.checks import is_number
from etn_gpu.errors import DataError, ModelFileError
from etn_gpu.relaxation import relax
from etn_gpu.screening.batching import BatchLimits, Candidate
from etn_gpu.screening.composition import reduced_composition
from etn_gpu.screening.references import DETAILED, describe_references
from etn_gpu.screening.single_points import Settled
from etn_gpu.structures.units import GPA

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Potential
    from etn_gpu.screening.relaxing import Relaxer
    from etn_gpu.screening.single_points import SinglePoints
    from etn_gpu.screening.sources import FileSource

__all__ = ["References", "model_references"]

#: Crystals of elements that are tried, and how many atoms the cube of their lattice constant holds.
_CRYSTALS = {"bcc": 2, "fcc": 4, "hcp": 2, "diamond": 8}
#: Residual forces in eV/A of crystals that are relaxed for a reference.
_FMAX = 1e-3


@dataclass(frozen=True)
class References:
    """Energies of the elements in eV per atom, and further phases, their formulas in Hill order and energies in eV per
    atom; a line that says where the energies come from. With a ``pressure``, in GPa, they are enthalpies."""

    energies: dict[str, float]
    phases: tuple[tuple[str, float], ...] = ()
    description: str = ""
    #: For elements whose energy is not that of the model's metadata, what has it.
    origins: dict[str, str] = field(default_factory=dict)
    pressure: float = 0.0

    def with_phases(self, phases: Sequence[tuple[str, float, str]]) -> References:
        """These with phases that go before them: formulas, energies in eV per atom, and what they are."""
        energies, origins = dict(self.energies), dict(self.origins)
        lowest: dict[str, tuple[float, str]] = {}
        for formula, energy, what in phases:
            counts = reduced_composition(formula)
            if len(counts) == 1:
                symbol = counts[0][0]
                lowest[symbol] = min(lowest.get(symbol, (math.inf, "")), (energy, what))
        for symbol, (energy, what) in lowest.items():
            energies[symbol], origins[symbol] = energy, what
        known = (*self.phases, *((formula, energy) for formula, energy, _ in phases))
        described = _describe(energies, origins, self.pressure)
        return References(energies, known, described, origins, self.pressure)

    def lacking(self, species: Sequence[str]) -> References:
        """These, saying which of these elements have none under pressure; without pressure the line is all there is."""
        lacks = [symbol for symbol in species if symbol not in self.energies] if self.pressure else []
        if not lacks:
            return self
        note = f"no crystal relaxed at {self.pressure:g} GPa of {', '.join(lacks)}: give one by --references"
        return replace(self, description="; ".join(filter(None, (self.description, note))))


def model_references(model: Potential) -> References:
    """Those that the model's metadata hold; none where it has none.

    Raises:
        ModelFileError: they are no energies.
    """
    found = model.metadata.get("formation_references") or {}
    if not isinstance(found, Mapping) or not all(is_number(value) for value in found.values()):
        raise ModelFileError(
            f"formation_references in the metadata of the model are {found!r}; expected an energy in eV/atom for each "
            "element, like {'W': -12.9}"
        )
    return References(dict(found), (), describe_references(model.metadata))


def file_phases(source: FileSource, means: SinglePoints | Relaxer) -> list[tuple[str, float, str]]:
    """The phases of a file: formulas, energies in eV per atom by the model, relaxed if the run relaxes, and what they
    are. Under pressure, enthalpies.

    Raises:
        DataError: a structure that cannot be read, evaluated, or relaxed.
    """
    found = []
    for candidate, outcome, _ in _settled(source, means):
        place = f"{source.name}" if candidate.index is None else f"{source.name}, structure {candidate.index}"
        if outcome.failed or outcome.ended == "exploded" or candidate.atoms is None:
            raise DataError(f"a reference cannot be used: {outcome.message.rstrip('.')}.", place)
        if outcome.ended:
            raise DataError(f"a reference did not converge: {outcome.message}. Allow more steps.", place)
        formula = str(candidate.atoms.get_chemical_formula())
        energy = outcome.energy
        if means.stress:  # and then it is a crystal
            energy += means.stress * abs(float(candidate.atoms.cell.volume))
        found.append((formula, energy / len(candidate.atoms), f"{formula}, {place}"))
    return found


def _settled(source: FileSource, means: SinglePoints | Relaxer) -> Iterator[Settled]:
    candidates: Iterator[Candidate] = source.candidates()
    for batch in means.batches(candidates, BatchLimits()):
        yield from batch


def elements_of(phases: Sequence[tuple[str, float, str]]) -> set[str]:
    """The elements that are phases themselves."""
    compositions = [reduced_composition(formula) for formula, _, _ in phases]
    return {counts[0][0] for counts in compositions if len(counts) == 1}


def relaxed_elements(
    model: Potential, threshold: float, known: Collection[str] = (), *, pressure: float = 0.0, **options: Any
) -> list[tuple[str, float, str]]:
    """The best of some simple crystals of each element, relaxed with their cells: formula, energy in eV per atom, under
    pressure enthalpy, and what it is. None of an element whose crystals all extrapolate.

    Args:
        model: the potential.
        threshold: the extrapolation grade above which a crystal is none to rely on.
        known: elements that need no crystal.
        pressure: in GPa.
        options: `backend`, `dtype` and `threads` of the evaluation.
    """
    wanted = [symbol for symbol in model.species if symbol not in known]
    crystals = [(symbol, name, atoms) for symbol in wanted for name, atoms in _crystals(model, symbol)]
    found = []
    relaxed = relax(model, [atoms for _, _, atoms in crystals], fmax=_FMAX, cell="full", pressure=pressure, **options)
    for (symbol, name, _), end in zip(crystals, relaxed, strict=True):
        if end.status != "converged" or end.energy is None:
            continue
        if end.result is not None and end.result.get("extrapolation_grade", 0.0) > threshold:
            continue
        n_atoms = len(end.atoms)
        volume = abs(float(end.atoms.cell.volume)) / n_atoms
        enthalpy = end.energy / n_atoms + pressure * GPA * volume
        found.append((symbol, enthalpy, f"{name}, relaxed by the model, {volume:.1f} A^3/atom"))
    return found


def _crystals(model: Potential, symbol: str) -> Iterator[tuple[str, Atoms]]:
    """Crystals of an element with the volume of the one in the training data, or in ASE's tables."""
    from ase.build import bulk

    volume = _usual_volume(model, symbol)
    if volume is None:
        return
    for name, atoms_per_cube in _CRYSTALS.items():
        a = (atoms_per_cube * volume) ** (1 / 3)
        if name == "hcp":
            a = (volume * math.sqrt(2.0)) ** (1 / 3)  # with the ideal ratio c/a
            yield name, bulk(symbol, "hcp", a=a, c=a * math.sqrt(8.0 / 3.0))
        else:
            yield name, bulk(symbol, name, a=a)


def _usual_volume(model: Potential, symbol: str) -> float | None:
    from ase.build import bulk

    structures = model.metadata.get("formation_reference_structures")
    known = structures.get(symbol) if isinstance(structures, Mapping) else None
    volume = known.get("volume_per_atom") if isinstance(known, Mapping) else None
    if isinstance(volume, float | int) and 0.0 < volume < math.inf:
        return float(volume)
    try:
        usual = bulk(symbol)
    except (ValueError, RuntimeError, KeyError):
        return None  # ASE knows no simple crystal of it
    return abs(float(usual.cell.volume)) / len(usual)


def _describe(energies: Mapping[str, float], origins: Mapping[str, str], pressure: float) -> str:
    details = len(energies) <= DETAILED
    parts = [
        f"{symbol} {energy:.4f}" + (f" ({origins.get(symbol, 'training data')})" if details else "")
        for symbol, energy in energies.items()
    ]
    what = f"formation enthalpies at {pressure:g} GPa" if pressure else "formation energies"
    return f"{what} relative to, in eV/atom: {', '.join(parts)}"
