"""Structures for tests of extrapolation grades, and grades of models in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.potential import ETNPotential
from etn_gpu.potential.grade import graded
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]


def crystals(count: int, seed: int = 0, rattle: float = 0.3) -> list[Atoms]:
    """Strained and rattled fcc cells of Al and Ni."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        atoms = bulk("Al", cubic=True, a=rng.uniform(3.7, 4.3))
        atoms.numbers[rng.random(4) < 0.5] = 28
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += rattle * rng.normal(size=(4, 3))
        out.append(atoms)
    return out


#: Enough for every direction to be sampled, so that nothing has to be regularised.
TRAINING = crystals(200)
#: Inside, at the border and far outside.
OTHERS = [
    *crystals(4, seed=1),
    *crystals(2, seed=2, rattle=0.6),
    bulk("Ni", cubic=True, a=2.6),
    bulk("Al", "sc", a=2.0),
    Atoms("Al"),
    Atoms("AlNi", positions=[[0.0] * 3, [0.0, 1.3, 1.5]]),
]


def batch_of(potential: ETNPotential, structures: list[Atoms]) -> StructureBatch:
    return StructureBatch.build(structures, potential.species, potential.cutoff)


def with_grade(potential: ETNPotential, structures: list[Atoms], **options: Any) -> ETNPotential:
    return potential.with_grade(graded(potential, [batch_of(potential, structures)], **{"backend": "numpy", **options}))


def grades_of(model: ETNPotential, structures: list[Atoms], **options: Any) -> Array:
    """Grades of all atoms."""
    results = model.evaluate(structures, **{"backend": "numpy", **options})
    return np.concatenate([result["extrapolation_grades"] for result in results])
