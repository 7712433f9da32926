"""Molecular dynamics by the student, up to the first structure that its grade says it does not know.

There the student's forces lead nowhere that matters, and the structure itself is what it has to learn. The grade is
looked at every few steps; when it is too high, the steps since the last look are graded too, and the first of them that
is beyond ends the trajectory, as it does when an evaluation failed in the meantime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from numpy.typing import NDArray

from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import LearningError, StructureError
from etn_gpu.learning.bare import bare
from etn_gpu.learning.checks import check_number, check_positive, check_whole
from etn_gpu.potential import ETNPotential

__all__ = ["DynamicsSettings", "Trajectory", "run_dynamics", "time_step"]

#: Trajectories have temperatures from this share of the highest on.
COOLEST = 0.2
#: Friction in 1/fs: atoms forget their velocity within 50 fs, so a lattice at rest is as hot as it shall be soon.
FRICTION = 0.02
#: The longest time step in fs.
LONGEST_STEP = 4.0


@dataclass(frozen=True)
class DynamicsSettings:
    """How trajectories are made.

    Args:
        temperature: of the hottest trajectories, in K; that of each is drawn between 0.2 of it and all of it.
        steps: of a trajectory that nothing ends.
        timestep: in fs; None for one that suits the lightest atom, :func:`time_step`.
        every: steps from one grade, and one snapshot, to the next.
        stop_grade: the extrapolation grade above which a trajectory ends.

    Raises:
        LearningError: a value that makes no trajectory.
    """

    temperature: float = 1000.0
    steps: int = 500
    timestep: float | None = None
    every: int = 10
    stop_grade: float = 5.0

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        if self.timestep is not None:
            check_positive("timestep", self.timestep)
        for name in ("steps", "every"):
            check_whole(name, getattr(self, name), 1)
        if self.every > self.steps:
            raise LearningError(f"every = {self.every}: expected at most the {self.steps} steps of a trajectory")
        expected = "a grade of at least 1, that of training data being up to 1"
        check_number("stop_grade", self.stop_grade, expected, lambda grade: grade >= 1)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a trajectory came by.

    ``snapshots`` are bare structures (:mod:`etn_gpu.learning.bare`) with the extrapolation ``grades`` that the student
    gave them, in their order. The start is not among them, unless its own grade ended the trajectory, and a
    single atom gets no further. ``temperature`` is in
    K; ``steps_done`` leads to the last structure that counts.

    ``ended`` is 'end' after all steps; 'grade' when the grade of the last snapshot, and of no other, was above that of
    the settings; 'exploded' when a structure could not be evaluated, though no grade had been too high before.
    """

    snapshots: list[Atoms]
    grades: list[float]
    temperature: float
    steps_done: int
    ended: Literal["end", "grade", "exploded"]


def time_step(atoms: Atoms) -> float:
    """A time step in fs: 0.5 for hydrogen, growing with the square root of the lightest mass to at most 4."""
    return min(0.5 * float(np.sqrt(atoms.get_masses().min() / 1.008)), LONGEST_STEP)


def run_dynamics(
    model: ETNPotential,
    start: Atoms,
    settings: DynamicsSettings,
    seed: int | Sequence[int],
    *,
    backend: str | None = None,
    threads: int | None = None,
) -> Trajectory:
    """A trajectory from ``start`` at constant volume, by Langevin dynamics about its centre of mass.

    The same arguments give the same trajectory, bit for bit. Its constraints are taken away.

    Args:
        model: the student; it must give grades.
        start: any structure that it can evaluate.
        settings: temperature, steps, and when to stop.
        seed: of the temperature, the velocities and the noise.
        backend: as of :class:`~etn_gpu.calculator.ETNCalculator`.
        threads: those of the numba backend (default 1: structures of trajectories are small).

    Raises:
        NetworkError: the model gives no energies or no grades.
        BackendError: the backend cannot be used here.
        StructureError: the start cannot be evaluated.
    """
    rng = np.random.default_rng(seed)
    temperature = settings.temperature * rng.uniform(COOLEST, 1.0)
    atoms = bare(start)
    options: dict[str, Any] = {"backend": backend, "threads": 1 if threads is None else threads}
    calculator = atoms.calc = ETNCalculator(model, grade=settings.every, **options)
    timestep = (time_step(atoms) if settings.timestep is None else settings.timestep) * units.fs
    # Slabs and molecules in a box shall not drift out of it.
    atoms.set_constraint(FixCom())
    deviations = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(deviations[:, None] * rng.normal(size=(len(atoms), 3)))
    dynamics = Langevin(atoms, timestep, temperature_K=temperature, friction=FRICTION / units.fs, fixcm=False, rng=rng)
    snapshots: list[Atoms] = []
    grades: list[float] = []
    since: list[tuple[int, NDArray[np.float64]]] = []
    ended: Literal["end", "grade", "exploded"] = "end"
    atoms.get_forces()
    try:
        with np.errstate(all="ignore"):
            for _ in dynamics.irun(settings.steps if len(atoms) > 1 else 0):
                since.append((dynamics.nsteps, atoms.get_positions()))
                if (grade := calculator.results.get("extrapolation_grade")) is None:
                    continue
                if grade > settings.stop_grade:
                    ended = "grade"
                    break
                if dynamics.nsteps:
                    snapshots.append(bare(atoms))
                    grades.append(grade)
                since.clear()
    except StructureError:
        ended = "exploded"
    steps_done = dynamics.nsteps
    if ended != "end":
        passed = [_with_positions(atoms, positions) for _, positions in since]
        outcomes = model.evaluate_each(passed, forces=False, stress=False, grade=True, **options)
        for (step, _), structure, outcome in zip(since, passed, outcomes, strict=True):
            if not isinstance(outcome, StructureError) and outcome["extrapolation_grade"] > settings.stop_grade:
                snapshots.append(structure)
                grades.append(outcome["extrapolation_grade"])
                steps_done, ended = step, "grade"
                break
    return Trajectory(snapshots, grades, temperature, steps_done, ended)


def _with_positions(atoms: Atoms, positions: NDArray[np.float64]) -> Atoms:
    out = bare(atoms)
    out.positions = positions
    return out
