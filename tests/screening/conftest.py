"""A Lennard-Jones stand-in for a model: physics that is known, and no training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.potential import BatchResult, Result, assembly
from etn_gpu.potential.grade import structure_grades
from etn_gpu.structures import StructureBatch

EPSILON, SIGMA, CLOSEST = 0.4, 2.4, 2.0
#: Where the stand-in gives grades, that of an atom is this over the distance of its nearest neighbour in A, squared.
USUAL = 2.6


class LennardJones:
    """Pair energies 4 eps ((s/r)^12 - (s/r)^6) behind the part of ETNPotential that screening uses.

    With anything but None as ``grade`` it gives extrapolation grades.
    """

    species = ("Mo", "Nb", "Ta", "W")
    cutoff = 5.0
    terms = None
    grade: Any = None
    quantity = None
    is_energy = True
    reference_energies = dict.fromkeys(species, 0.0)

    def __init__(self, failing: Callable[[StructureBatch], Exception | None] = lambda batch: None) -> None:
        self.metadata: dict[str, Any] = {"formation_references": {"Mo": -1.0, "Nb": -2.0, "W": -4.0}}
        self.minimum_distances: NDArray[np.float64] = np.full((4, 4), CLOSEST)
        self.batch_sizes: list[int] = []
        self.options: list[dict[str, Any]] = []
        self._failing = failing

    def checksum(self) -> str:
        return str(self.metadata)

    def precision(self, backend: str, dtype: str | None = None) -> str:
        return dtype or "float64"

    def evaluate_batch(
        self, batch: StructureBatch, *, forces: bool = True, stress: bool = True, **options: Any
    ) -> BatchResult:
        self.batch_sizes.append(batch.n_structures)
        self.options.append(options)
        if error := self._failing(batch):
            raise error
        squared = np.square(batch.vectors).sum(axis=1)
        sixth = (SIGMA**2 / squared) ** 3
        pair_energies = 2.0 * EPSILON * (sixth**2 - sixth)
        energies = assembly.segment_sum(pair_energies[:, None], batch.edge_offsets)[:, 0]
        # Half of the pair's energy belongs to each of its two edges, and so does half of its derivative.
        gradient = (12.0 * EPSILON * (sixth - 2.0 * sixth**2) / squared)[:, None] * batch.vectors
        far, grades = batch.closer_than(self.minimum_distances), None
        if self.grade is not None:
            grades = np.zeros(batch.n_atoms)
            np.maximum.at(grades, batch.centre, USUAL**2 / squared)
            far = structure_grades(grades, batch.atom_offsets) > options["threshold"] if "threshold" in options else far
        return BatchResult.assemble(
            batch,
            energies,
            *assembly.forces_and_virials(batch, gradient),
            grades,
            far,
            "numpy",
            "float64",
        )

    def evaluate_each(self, structures: list[Atoms], **options: Any) -> list[Result | StructureError]:
        batch = StructureBatch.build(structures, self.species, self.cutoff, on_error="collect")
        found: dict[int, Result | StructureError] = dict(batch.failures)
        if batch.n_structures:
            found |= zip(map(int, batch.kept), self.evaluate_batch(batch, **options).outcomes(), strict=True)
        return [found[place] for place in range(len(structures))]

    def evaluate(self, structures: list[Atoms], **options: Any) -> list[Result]:
        return list(self.evaluate_batch(StructureBatch.build(structures, self.species, self.cutoff), **options))


@pytest.fixture
def model() -> LennardJones:
    """A model of Mo, Nb, Ta and W without a formation reference for Ta; pairs closer than 2 A are extrapolating."""
    return LennardJones()


@pytest.fixture
def graded_model() -> LennardJones:
    """The same, with extrapolation grades above 1.5 where atoms are closer than 2.12 A."""
    model = LennardJones()
    model.grade = "given"
    return model


@pytest.fixture
def failing_model() -> type[LennardJones]:
    """Makes models whose evaluation fails when the function given to them returns an exception for a batch."""
    return LennardJones


@pytest.fixture
def crystal() -> Callable[..., Atoms]:
    """bcc cells: `crystal("W", 3.2)` has two atoms."""

    def build(symbols: str = "W", a: float = 3.2, **more: Any) -> Atoms:
        first, *rest = [symbol for symbol in Atoms(symbols).get_chemical_symbols()]
        kinds = [first, rest[0] if rest else first]
        return Atoms(kinds, positions=[[0.0] * 3, [0.5 * a] * 3], cell=[a] * 3, pbc=True, **more)

    return build
