"""Small cells through ASE, the same for every calculator: calls, dynamics, relaxations with the cell, an elastic band.

Nothing but NumPy and ASE is imported here: peers run it in environments of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from common import bcc_crystal, timed

#: Cubic bcc cells along each direction, by the number of atoms.
CELLS = {2: (1, 1, 1), 16: (2, 2, 2), 54: (3, 3, 3), 64: (2, 4, 4), 128: (4, 4, 4)}
#: Calls of which the quickest counts, for each repeat; steps of dynamics (2 fs, 300 K), of a relaxation, and of a band
#: of so many images.
CALLS, MD_STEPS, RELAX_STEPS, BAND_STEPS, IMAGES = 50, 1000, 20, 10, 5
MD_ATOMS, RELAXED_ATOMS = 54, 16
#: Parts of the dynamics, of which the quickest counts.
STRETCHES = 10
STRAIN, RATTLE = 0.03, 0.1
NewCalculator = Callable[[], Calculator]


def measure(calculator: NewCalculator, species: Sequence[str], a: float, repeats: int) -> dict[str, Any]:
    """Microseconds of processor time: of a call by the number of atoms, of a step of dynamics, of a step of a
    relaxation, and of an image in a step of a band. ``a``: the lattice constant in A.
    """
    calls = {str(n): call(calculator, bcc_crystal(species, cells, a=a), repeats) for n, cells in CELLS.items()}
    return {
        "calls": calls,
        "md": dynamics(calculator, bcc_crystal(species, CELLS[MD_ATOMS], a=a, displacement=0.0)),
        "relax": relaxation(calculator, bcc_crystal(species, CELLS[RELAXED_ATOMS], a=a, displacement=RATTLE), repeats),
        "neb": band(calculator, bcc_crystal(species, CELLS[MD_ATOMS], a=a, displacement=0.0), repeats),
    }


def call(calculator: NewCalculator, atoms: Atoms, repeats: int) -> float:
    """Atoms move by a little, and forces and energy are asked for."""
    atoms.calc = calculator()
    move = 1e-3 * np.random.default_rng(1).normal(size=atoms.positions.shape)

    def one() -> None:
        atoms.positions += move
        atoms.get_forces()
        atoms.get_potential_energy()
        np.negative(move, out=move)

    return least(one, CALLS * repeats)


def dynamics(calculator: NewCalculator, atoms: Atoms) -> float:
    """A step of velocity Verlet."""
    rng = np.random.default_rng(2)
    atoms.calc = calculator()
    speeds = np.sqrt(units.kB * 300 / atoms.get_masses())[:, None] * rng.normal(size=atoms.positions.shape)
    atoms.set_velocities(speeds - speeds.mean(axis=0))
    verlet = VelocityVerlet(atoms, timestep=2 * units.fs)
    return least(lambda: verlet.run(MD_STEPS // STRETCHES), STRETCHES) / (MD_STEPS // STRETCHES)


def least(function: Callable[[], object], repeats: int) -> float:
    """Microseconds of processor time of the quickest call after a first one."""
    return timed(function, repeats).per(1).cpu


def relaxation(calculator: NewCalculator, atoms: Atoms, repeats: int) -> float:
    """A step of BFGS in the coordinates of FrechetCellFilter; all calculators do the same number of them."""
    strain = np.eye(3) + STRAIN * np.random.default_rng(3).normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    kept = calculator()

    def run() -> None:
        moving = atoms.copy()
        moving.calc = kept
        target: Any = FrechetCellFilter(moving)
        BFGS(target, logfile=None).run(fmax=1e-9, steps=RELAX_STEPS)

    return timed(run, max(1, repeats // 3)).per(RELAX_STEPS).cpu


def band(calculator: NewCalculator, atoms: Atoms, repeats: int) -> float:
    """An image in a step of FIRE: a neighbour moves into a vacancy, each image with a calculator of its own."""
    first = atoms[1:]
    last = first.copy()
    last.positions[0] = atoms.positions[0]
    calculators = [calculator() for _ in range(IMAGES + 2)]

    def run() -> None:
        images = [*(first.copy() for _ in range(IMAGES + 1)), last.copy()]
        for image, own in zip(images, calculators, strict=True):
            image.calc = own
        path: Any = NEB(images, method="improvedtangent")
        path.interpolate()
        FIRE(path, logfile=None).run(fmax=1e-9, steps=BAND_STEPS)

    return timed(run, max(1, repeats // 3)).per(IMAGES * BAND_STEPS).cpu


class Nothing(Calculator):
    """A calculator that computes nothing: what ASE itself costs."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's own interface

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Small constant forces."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        forces = np.full((len(self.atoms), 3), 1e-3)
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": forces, "stress": np.full(6, 1e-4)}
