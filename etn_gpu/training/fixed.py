"""Parameters that stay as they are while all others are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.references import REFERENCES
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
#: Parameters with a column for each species, besides the reference energies.
EMBEDDINGS = ("U", "W", "A")


@dataclass(frozen=True)
class Fixed:
    """What is not trained.

    ``references`` [n_species]: reference energies in eV that are given, nan for those that are trained; ``embedded``
    [n_species]: whether the columns of a species in U, W and A stay.
    """

    references: Array
    embedded: NDArray[np.bool_]

    @staticmethod
    def nothing(n_species: int) -> Fixed:
        """All parameters are trained."""
        return Fixed(np.full(n_species, np.nan), np.zeros(n_species, bool))

    @staticmethod
    def of(
        species: Sequence[str], trained: Sequence[str], references: Mapping[str, float], given: Mapping[str, float]
    ) -> Fixed:
        """Reference energies in eV that are ``given``, and all that belongs to the ``species`` but those ``trained``.

        ``references`` are the energies of the latter.
        """
        embedded = [symbol not in trained for symbol in species]
        energies = [given.get(s, np.nan) if s in trained else references[s] for s in species]
        return Fixed(np.array(energies), np.array(embedded))

    def places(self, layout: ParameterVector) -> NDArray[np.bool_]:
        """Which parameters of a vector stay, [size]."""
        found = {name: np.zeros(shape, bool) for name, shape in layout.shapes.items()}
        for name in EMBEDDINGS:
            if name in found:
                found[name][:, self.embedded] = True
        if REFERENCES in found:
            found[REFERENCES][:] = np.isfinite(self.references)
        return np.concatenate([mask.ravel() for mask in found.values()])
