"""Which structures may be searched for neighbours, and their arrays; the others with the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.structures.geometry import StructureArrays
from etn_gpu.structures.validate import all_but, geometry_failures, species_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms


@dataclass(frozen=True)
class Admitted:
    """The sound ones of some structures.

    species_index [N] int32: place of each atom's element among the species; kept [S]: indices into the input list;
    failures: why the others are not here, by their index in that list.
    """

    geometry: StructureArrays
    species_index: NDArray[np.int32]
    kept: NDArray[np.int64]
    failures: dict[int, StructureError] = field(default_factory=dict)

    def without(self, faults: dict[int, StructureError]) -> Admitted:
        """The same without structures whose fault was found later; ``faults`` by their place here."""
        if not faults:
            return self
        keep = all_but(faults, self.geometry.n_structures)
        failures = self.failures | {int(self.kept[s]): error for s, error in faults.items()}
        of_kept = np.repeat(keep, np.diff(self.geometry.atom_offsets))
        return Admitted(
            self.geometry.select(keep), self.species_index[of_kept], self.kept[keep], dict(sorted(failures.items()))
        )


def admit(structures: Sequence[Atoms], species: Sequence[str], cutoff: float) -> Admitted:
    """Check everything that can be checked before neighbours are known.

    Raises:
        StructureError: the species are not chemical symbols.
    """
    failures = _foreign_objects(structures)
    kept = np.array([s for s in range(len(structures)) if s not in failures], dtype=np.int64)
    geometry = StructureArrays.gather([structures[s] for s in kept])
    index = species_of(geometry.numbers, species)
    return Admitted(geometry, index, kept, failures).without(geometry_failures(geometry, index, species, cutoff))


def _foreign_objects(structures: Sequence[Atoms]) -> dict[int, StructureError]:
    from ase import Atoms

    return {
        s: StructureError(f"{type(item).__name__} is no structure: expected an ase.Atoms.")
        for s, item in enumerate(structures)
        if not isinstance(item, Atoms)
    }
