"""ETNPotential: a network's architecture with its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import StructureError
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.base import Potential
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.potential.programs import programs
from etn_gpu.potential.report import PlanReport
from etn_gpu.potential.structure_lists import as_list
from etn_gpu.structures import StructureBatch

if TYPE_CHECKING:
    from ase import Atoms


class ETNPotential(Potential):
    """An equivariant tensor network potential; arguments and errors as of :class:`~etn_gpu.potential.base.Potential`.

    Args:
        architecture: sizes, ranks, species, cutoff.
    """

    form: Architecture

    def __init__(self, architecture: Architecture, parameters: Mapping[str, ArrayLike], **parts: Any) -> None:
        super().__init__(architecture, parameters, **parts)

    @property
    def architecture(self) -> Architecture:
        """Sizes, ranks, species, cutoff."""
        return self.form

    def plan_report(self) -> PlanReport:
        """The planned contraction: path, flops and bytes per atom, largest intermediate; ``print`` it."""
        return PlanReport.of(programs(self.form))

    def covariants(
        self, structures: Atoms | Sequence[Atoms], *, backend: str | None = None
    ) -> list[NDArray[np.float64]]:
        """The output of a potential with any target irrep, [n, 2l+1] per structure; for l = 1 in the order y, z, x.

        Raises:
            StructureError: a structure that cannot be evaluated, or whose output is not finite.
        """
        batch = StructureBatch.build(as_list(structures), self.species, self.cutoff)
        name = backends.resolve(backend)
        kernel = Kernel(self.architecture, Execution(name, self.precision(name)))
        values = kernel.energies(self.parameters, Environments.of(batch)).reshape(batch.n_atoms, -1)
        if (wild := np.flatnonzero(~np.isfinite(values).all(axis=1))).size:
            s = batch.structure_of_atom[wild[0]]
            raise StructureError(
                f"structure {s} (of {batch.n_structures}, counted from 0): the output for its atom "
                f"{wild[0] - batch.atom_offsets[s]} came out as not a finite number"
            )
        return np.split(values, batch.atom_offsets[1:-1])
