"""A random potential with the grade of some rattled crystals, and a pool of others."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.grade import graded
from etn_gpu.structures import StructureBatch


class Case(NamedTuple):
    """What to choose with and from."""

    model: ETNPotential
    training: list[Atoms]
    pool: list[Atoms]


def alloy(seed: int, rattle: float = 0.1, scale: float = 1.0) -> Atoms:
    """A rattled crystal of four atoms of Al and Cu."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Al", cubic=True, a=4.0 * scale)
    atoms.numbers[:] = rng.choice([13, 29], len(atoms))
    atoms.positions += rattle * rng.normal(size=(len(atoms), 3))
    return atoms


@lru_cache
def make_case() -> Case:
    """Training on rattled crystals; a pool of such, and of some that are strained or rattled more."""
    architecture = Architecture(("Al", "Cu"), 4.2, 1.5, 4, (2, 1), 2, 2, ("2x0e+1x1o", "2x0e+1x1o"))
    rng = np.random.default_rng(0)
    parameters = {name: 0.5 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    training = [alloy(seed) for seed in range(20)]
    batch = StructureBatch.build(training, architecture.species, architecture.cutoff)
    model = ETNPotential(architecture, parameters, minimum_distances=batch.minimum_distances())
    model = model.with_grade(graded(model, [batch], backend="numpy"))
    pool = [alloy(100 + seed) for seed in range(15)]
    pool += [alloy(200 + seed, 0.3) for seed in range(10)] + [alloy(300 + seed, 0.1, 1.1) for seed in range(5)]
    return Case(model, training, pool)


@pytest.fixture
def case() -> Case:
    """A potential with a grade, its training structures and a pool."""
    return make_case()
