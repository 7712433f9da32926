"""Alloys to relax, ASE's own relaxation of them, and the distance between two ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from etn_gpu.calculator import ETNCalculator
from etn_gpu.potential import ETNPotential, load

SIZES = ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 2))


@pytest.fixture(scope="session")
def model() -> ETNPotential:
    """The shipped potential of four elements."""
    return load("nbmotaw")


def alloy(rng: np.random.Generator, size: tuple[int, int, int], strain: float = 0.03, rattle: float = 0.08) -> Atoms:
    """A strained and rattled bcc alloy of random elements."""
    atoms = bulk("Mo", "bcc", a=3.22, cubic=True) * size
    atoms.symbols[:] = rng.choice(["Nb", "Mo", "Ta", "W"], len(atoms))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += rattle * rng.normal(size=(len(atoms), 3))
    return atoms


@pytest.fixture(scope="session")
def alloys() -> Callable[..., list[Atoms]]:
    """``alloys(n)``: n alloys of 2 to 24 atoms, ``alloys(n, sizes)`` of these sizes in turn."""

    def make(n: int, sizes: tuple[tuple[int, int, int], ...] = SIZES, seed: int = 0, **options: float) -> list[Atoms]:
        rng = np.random.default_rng(seed)
        return [alloy(rng, sizes[k % len(sizes)], **options) for k in range(n)]

    return make


@pytest.fixture(scope="session")
def by_ase(model: ETNPotential) -> Callable[..., tuple[Atoms, int]]:
    """``by_ase(atoms, fmax, cell=True)``: the end of ASE's relaxation of a copy, and its steps."""

    def relax(
        atoms: Atoms, fmax: float, cell: bool = True, optimizer: Any = BFGS, steps: int = 1000, **options: Any
    ) -> tuple[Atoms, int]:
        moving = atoms.copy()
        moving.calc = ETNCalculator(model, threads=1, grade=0)
        target: Any = FrechetCellFilter(moving, **options) if cell else moving
        run = optimizer(target, logfile=None)
        run.run(fmax=fmax, steps=steps)
        return moving, run.nsteps

    return relax


@pytest.fixture(scope="session")
def apart() -> Callable[[Atoms, Atoms], float]:
    """The largest difference of positions and cell vectors in A, but for a rotation and a translation."""

    def measure(first: Atoms, second: Atoms) -> float:
        left, _, right = np.linalg.svd(np.linalg.solve(first.cell.array, second.cell.array))
        rotation = left @ right
        moved = first.positions @ rotation - second.positions
        cell = first.cell.array @ rotation - second.cell.array
        return float(max(np.abs(moved - moved.mean(axis=0)).max(), np.abs(cell).max()))

    return measure
