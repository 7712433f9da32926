"""Crystals so thin that the potential knows nothing like them: where a relaxation from too large a cell may end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etn_gpu.backend.terms import LOWEST, densities
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential


def thin(model: ETNPotential, atoms: Atoms) -> str:
    """Why a relaxed crystal is none, '' if it is one or the model has no terms that tell.

    It is none when the surroundings of every atom are thinner than any in the training data: the network has no part
    in its energy (:mod:`etn_gpu.backend.terms`). Surfaces, wires and clusters may be thin.
    """
    tables = model.term_tables
    if tables is None or not atoms.pbc.all():
        return ""
    batch = StructureBatch.build([atoms], model.species, model.cutoff)
    shares = densities(batch.vectors, batch.edge_offsets, tables.cutoff)
    lowest = tables.species[batch.species_index, LOWEST]
    if not (shares <= lowest).all() or not lowest.all():
        return ""
    place = int((shares / lowest).argmax())
    volume = batch.volumes[0] / batch.n_atoms
    return (
        f"expanded: all of its atoms have thinner surroundings than any of the training data, at {volume:.4g} A^3/atom; "
        f"the densest, atom {place}, has {shares[place] / lowest[place]:.2g} of the least density"
    )
