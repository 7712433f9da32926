"""Dipoles and quantities of atoms of many structures: what a network gives that has been trained on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.potential import assembly
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.potential.results import Result
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.bounded import bounded_batches
from etn_gpu.structures.targets import Quantity

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential.base import Potential

Array = NDArray[np.float64]


def quantity_results(
    model: Potential, quantity: Quantity, structures: Sequence[Atoms], execution: Execution, most_edges: int
) -> list[Result | StructureError]:
    """The quantity of each structure under its name, in Cartesian components, or the error in its place.

    It is [3] for a structure, [n] or [n, 3] for its atoms; batches have up to ``most_edges`` edges.
    """
    kernel = Kernel(model.form, execution)
    outcomes: list[Result | StructureError] = []
    for batch in bounded_batches(structures, model.species, model.cutoff, most_edges):
        components = kernel.energies(model.parameters, Environments.of(batch)).reshape(batch.n_atoms, -1)
        of_batch: dict[int, Result | StructureError] = dict(batch.failures)
        results = _of_batch(quantity, quantity.cartesian(components), batch, batch.closer_than(model.minimum_distances))
        of_batch |= zip(map(int, batch.kept), results, strict=True)
        outcomes += [of_batch[s] for s in range(len(of_batch))]
    return outcomes


def _of_batch(
    quantity: Quantity, values: Array, batch: StructureBatch, far: NDArray[np.bool_]
) -> list[Result | StructureError]:
    """One result a structure from the ``values`` of the atoms [N] or [N, 3]."""
    if quantity.per_atom:
        found = np.split(values, batch.atom_offsets[1:-1])
    else:
        found = list(assembly.segment_sum(values, batch.atom_offsets))
    outcomes: list[Result | StructureError] = []
    for s, value in enumerate(found):
        if not quantity.per_atom and batch.pbc[s].any():
            pbc = tuple(bool(p) for p in batch.pbc[s])
            outcomes.append(StructureError(f"a periodic structure has no {quantity.name}: expected no pbc, got {pbc}"))
        elif not np.isfinite(value).all():
            outcomes.append(StructureError(f"{quantity.name} came out as not a finite number"))
        else:
            closest = float(batch.shortest[s])
            outcomes.append(Result({quantity.name: value.copy()}, extrapolating=bool(far[s]), closest=closest))
    return outcomes
