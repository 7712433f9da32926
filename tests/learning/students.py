"""Runs of learning that take a few seconds: copper and gold, a tiny student, ASE's EMT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from etn_gpu.learning import LearningConfig, Teacher
from etn_gpu.learning.config import Event
from etn_gpu.potential import Architecture, ETNPotential, Preset
from etn_gpu.potential.grade import graded
from etn_gpu.potential.presets import PRESETS
from etn_gpu.structures import StructureBatch

EMT = Teacher("ase.calculators.emt:EMT")
CUTOFF = 3.6


def tiny() -> Preset:
    """Sizes with which an iteration takes milliseconds."""
    from dataclasses import replace

    return replace(PRESETS["small"], n_radial=4, channels=(2, 2, 1), bonds=("2x0e+1x1o",) * 2)


def quicken_training(patch: pytest.MonkeyPatch) -> None:
    """Training begins at once from its first start, with iterations of a few steps, and draws nothing."""
    patch.setattr("etn_gpu.training.run.STARTS", 1)
    patch.setattr("etn_gpu.training.run.REFITS", 1)
    patch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 20)
    patch.setattr("etn_gpu.training.report._plot", lambda *arguments: None)


def alloys(count: int = 12) -> list[Atoms]:
    """Cubic cells of fcc alloys of copper and gold."""
    rng = np.random.default_rng(4)
    structures = []
    for _ in range(count):
        atoms = bulk("Cu", "fcc", a=rng.uniform(3.7, 4.0), cubic=True)
        atoms.symbols[:] = rng.choice(["Cu", "Au"], len(atoms))
        structures.append(atoms)
    return structures


def config(folder: Path, **changes: Any) -> LearningConfig:
    """Two rounds of ten labels, six for the comparison; the file of structures is made where it is missing."""
    start = folder / "start.extxyz"
    if not start.exists():
        write(start, alloys())
    options: dict[str, Any] = {
        "rounds": 2,
        "number": 10,
        "test_number": 6,
        "least_atoms": 8,
        "trajectories": 2,
        "steps": 20,
        "every": 5,
        "stop_grade": 1e3,
        "preset": tiny(),
        "cutoff": CUTOFF,
        "max_iterations": 2,
        "threads": 1,
    }
    options |= changes
    teacher = options.pop("teacher", EMT)
    return LearningConfig(teacher, (start,), folder / "student.etn", **options)


class Recorder:
    """Keeps events, and interrupts a run in the phase of this text after so many steps of it."""

    def __init__(self, phase: str = "", steps: int = 0) -> None:
        self.events: list[Event] = []
        self._phase, self._steps, self._now = phase, steps, ""

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "phase":
            self._now = event.text
        elif event.kind == "progress" and self._now == self._phase and event.done == self._steps:
            raise KeyboardInterrupt

    def texts(self, kind: str) -> list[str]:
        """Of all events of a kind."""
        return [event.text for event in self.events if event.kind == kind]


def untrained() -> ETNPotential:
    """A potential of copper and gold with random parameters, and what grades need."""
    species = ("Cu", "Au")
    architecture = Architecture(species, CUTOFF, 1.5, 4, (2, 2), 2, 1, ("2x0e+1x1o", "2x0e+1x1o"))
    rng = np.random.default_rng(1)
    parameters = {name: 0.1 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    model = ETNPotential(architecture, parameters)
    structures = alloys()
    for number, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=number)
    batch = StructureBatch.build(structures, species, CUTOFF)
    return model.with_grade(graded(model, [batch], backend="numpy"))
