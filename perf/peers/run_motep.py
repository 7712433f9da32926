"""Moment tensor potentials in motep's compiled engine (MIT licence).

``potential``: ``file`` (MLIP format) and ``species`` in its order; with ``level`` and ``cutoff`` instead an untrained
potential of that level for any number of species, its tables cut out of ``file``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import PrimitiveNeighborList
from motep.calculator import MTP
from motep.io.mlip.mtp import read_mtp
from motep.potentials.mtp.cext.engine import CExtMTPEngine
from motep.potentials.mtp.data import MTPData
from peers.mtp_levels import MomentTables
from peers.protocol import Engine, serve


class Motep(Engine):
    """An MTP."""

    distribution = "motep"

    def __init__(self, potential: dict[str, Any], folder: Path) -> None:
        self.data = read_mtp(potential["file"])
        if "level" in potential:
            _cut(self.data, potential["level"], len(potential["species"]))
            self.data.radial_basis.max = potential["cutoff"]
        self.data.species = [atomic_numbers[symbol] for symbol in potential["species"]]
        self.cutoff = self.data.radial_basis.max

    def evaluation(self, atoms: Atoms) -> Callable[[], float]:
        """The list is kept while no atom moves, and built without motep's skin, which would slow the engine by 10 %."""
        engine = CExtMTPEngine(self.data)
        radii = [0.5 * self.cutoff] * len(atoms)
        engine.neighbor_list = PrimitiveNeighborList(radii, skin=0.0, self_interaction=False, bothways=True)
        return lambda: float(engine.calculate(atoms)["energy"])

    def calculator(self) -> MTP:
        """motep's own."""
        return MTP(self.data)


def _cut(data: MTPData, level: int, n_species: int) -> None:
    """Turn ``data`` into an untrained potential of a level."""
    tables = MomentTables(data.alpha_index_basic, data.alpha_index_times, data.alpha_moment_mapping).up_to(level)
    data.alpha_index_basic, data.alpha_index_times, data.alpha_moment_mapping = tables
    data.alpha_index_basic_count, data.alpha_index_times_count, data.alpha_scalar_moments = map(len, tables)
    data.alpha_moments_count = tables.n_moments
    data.radial_funcs_count = tables.n_radial
    data.species_count = n_species
    data.species_coeffs = data.moment_coeffs = data.radial_coeffs = None
    data.initialize(np.random.default_rng(0))


if __name__ == "__main__":
    serve(Motep)
