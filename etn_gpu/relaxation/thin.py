"""Crystals so thin that the potential knows nothing like them: where a relaxation from too large a cell may end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.backend.terms import LOWEST, densities
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Potential


def thin(model: Potential, structures: Sequence[Atoms]) -> list[str]:
    """Why relaxed crystals are none, '' where one is or the model has no terms that tell.

    One is none when the surroundings of every atom are thinner than any in the training data: the network has no part
    in its energy (:mod:`etn_gpu.backend.terms`). Surfaces, wires and clusters may be thin.
    """
    tables = model.term_tables
    messages = [""] * len(structures)
    crystals = [s for s, atoms in enumerate(structures) if atoms.pbc.all()]
    if tables is None or not crystals or not tables.species[:, LOWEST].all():
        return messages
    batch = StructureBatch.build([structures[s] for s in crystals], model.species, model.cutoff)
    shares = densities(batch.vectors, batch.edge_offsets, tables.cutoff) / tables.species[batch.species_index, LOWEST]
    densest = np.maximum.reduceat(shares, batch.atom_offsets[:-1])
    for place in np.flatnonzero(densest <= 1.0):
        volume = batch.volumes[place] / np.diff(batch.atom_offsets)[place]
        messages[crystals[place]] = (
            f"expanded: at {volume:.4g} A^3/atom all of its atoms have thinner surroundings than any of the training "
            f"data, the densest {densest[place]:.2g} of the least density there"
        )
    return messages
