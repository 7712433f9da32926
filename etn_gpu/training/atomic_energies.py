"""Reference energies E0 of the elements: given, those of isolated atoms, or fitted.

Given ones are no parameters: they stay bit for bit. What an element is not given is fitted, and trained like everything
else. With energies of isolated atoms the network has the whole cohesive energy to describe; without, what is left over
a least-squares fit to the compositions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.potential.described import shortened
from etn_gpu.structures import LabelledSet, StructureBatch
from etn_gpu.training.config import ISOLATED, Event, OnEvent, TrainingConfig
from etn_gpu.training.data import Piece, species_of

Array = NDArray[np.float64]
#: eV/atom: no mean cohesive energy is larger.
LARGEST_COHESION = 20.0


def given_references(
    config: TrainingConfig, labels: LabelledSet, species: Sequence[str], cutoff: float, on_event: OnEvent
) -> dict[str, float]:
    """Reference energies in eV of the elements of the data, ``species``, that are not to be fitted.

    Raises:
        TrainingError: they shall be those of isolated atoms, and some are missing.
    """
    chosen = config.reference_energies
    if chosen == ISOLATED:
        found = isolated_energies(labels, cutoff)
        if missing := [symbol for symbol in species if symbol not in found]:
            raise TrainingError(
                f"the reference energies shall be those of isolated atoms, and {labels.source} has none of "
                f"{', '.join(missing)}: expected structures of a single atom with an energy and without a neighbour "
                f"within {cutoff:g} A. Add them, give the energies (Mo=-4.6,W=-4.5), or let them be fitted."
            )
    elif isinstance(chosen, str):
        return {}
    else:
        found = chosen
        if unused := [symbol for symbol in found if symbol not in species]:
            text = f"reference energies of {len(unused)} elements that the data lack are not used: {shortened(unused)}"
            on_event(Event("message", text=text))
    used = {symbol: float(found[symbol]) for symbol in species if symbol in found}
    told = ", ".join(f"{symbol} {energy:.6g}" for symbol, energy in used.items()) or "none"
    on_event(Event("message", text=f"reference energies that are not trained, in eV: {told}"))
    return used


def isolated_energies(labels: LabelledSet, cutoff: float) -> dict[str, float]:
    """The labelled energy in eV of an isolated atom of each element that has one, the lowest where there are several.

    An atom is isolated when it is all of its structure and has no neighbour, no image of its own either, within
    ``cutoff`` A.
    """
    alone = [i for i, atoms in enumerate(labels.atoms) if len(atoms) == 1 and np.isfinite(labels.energy[i])]
    if not alone:
        return {}
    batch = StructureBatch.build(
        [labels.atoms[i] for i in alone], species_of(labels, alone), cutoff, on_error="collect"
    )
    whole = [i for place, i in enumerate(alone) if place not in batch.failures]
    lowest: dict[str, float] = {}
    for i, neighbours in zip(whole, np.diff(batch.edge_offsets), strict=True):
        if not neighbours:
            (symbol,), energy = labels.atoms[i].get_chemical_symbols(), float(labels.energy[i])
            lowest[symbol] = min(lowest.get(symbol, energy), energy)
    return lowest


def cohesion_warnings(pieces: Sequence[Piece], references: Array) -> tuple[str, ...]:
    """That energies are too far from the ``references`` [n_species] in eV to belong to the same calculations."""
    excess = np.concatenate([piece.excess_energies(references) for piece in pieces])
    excess = excess[np.isfinite(excess)]
    if not excess.size or abs(mean := float(np.median(excess))) <= LARGEST_COHESION:
        return ()
    return (
        f"energies are {mean:.4g} eV/atom from the reference energies given, expected a cohesive energy, at most "
        f"{LARGEST_COHESION:g}: are they of the same calculations? The network has to make up for the difference.",
    )
