"""How close atoms may come to each other in what is made of a structure."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from etn_gpu.structures import StructureBatch

__all__ = ["CLOSER", "DRAWS", "OF_CLOSEST", "OF_RADII", "Pairs", "Spacing"]

#: Atoms stay farther apart than this share of the sum of their covalent radii, and of the closest pair of the input.
#: Neighbours in metals have 0.85 of the sum, in molecules 1.
OF_RADII, OF_CLOSEST = 0.65, 0.75
#: An input that is closer than that already may come closer still by this factor.
CLOSER = 0.9
#: Neighbours are searched within this distance in A; further away, displacements are as large as at it.
REACH = 6.0
#: After so many draws that bring atoms too close there is none.
DRAWS = 30


class Pairs:
    """Edges up to REACH of a structure; StructureError for one that cannot be evaluated."""

    def __init__(self, atoms: Atoms) -> None:
        species = [chemical_symbols[z] for z in np.unique(atoms.numbers) if 0 < z < len(chemical_symbols)]
        batch = StructureBatch.build([atoms], species or ["H"], REACH)
        self.centre, self.neighbour = batch.centre, batch.neighbour
        self.lengths: NDArray[np.float64] = np.linalg.norm(batch.vectors, axis=1)
        self.numbers: NDArray[np.int64] = atoms.numbers

    def nearest(self) -> NDArray[np.float64]:
        """The distance [N] of each atom to its nearest neighbour, at most REACH."""
        nearest = np.full(len(self.numbers), REACH)
        np.minimum.at(nearest, self.centre, self.lengths)
        return nearest

    def spacing(self, closest: float) -> float:
        """The least distance over what it should be: a share of covalent radii, and no less than ``closest``."""
        radii = covalent_radii[self.numbers]
        limits = np.maximum(OF_RADII * (radii[self.centre] + radii[self.neighbour]), closest)
        return float((self.lengths / limits).min(initial=np.inf))


class Spacing:
    """How close atoms may come to each other in what is made of a structure with these pairs."""

    def __init__(self, pairs: Pairs) -> None:
        self.closest = OF_CLOSEST * float(pairs.lengths.min(initial=REACH))
        self.least = min(1.0, CLOSER * pairs.spacing(self.closest))

    def kept_by(self, pairs: Pairs) -> bool:
        """Whether no two atoms are too close."""
        return pairs.spacing(self.closest) >= self.least
