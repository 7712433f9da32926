"""Alloys whose labels are those of the shipped model, so that whatever is read right has errors of zero."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

import etn_gpu

MODEL = "nbmotaw"


@dataclass(frozen=True)
class Labelled:
    """A structure with energy in eV, forces in eV/A and stress (Voigt) in eV/A^3."""

    atoms: Atoms
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]

    @property
    def virial(self) -> NDArray[np.float64]:
        """Minus stress times volume, a symmetric matrix in eV."""
        xx, yy, zz, yz, xz, xy = -self.stress * self.atoms.get_volume()
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


@dataclass(frozen=True)
class Evaluation:
    """What `etn-gpu evaluate` left behind: exit code, output, and the numbers of its JSON file."""

    code: int
    out: str
    err: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def error(self, name: str) -> float | None:
        """The largest kind of error, RMSE, of "energy" (eV/atom), "forces" (eV/A) or "stress" (eV/A^3)."""
        found = self.numbers[name]["rmse"]
        return None if found is None else float(found)


Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def alloys() -> list[Labelled]:
    """Three strained and rattled bcc alloys of 16 atoms with the shipped model's own labels."""
    rng = np.random.default_rng(3)
    structures = []
    for _ in range(3):
        atoms = bulk("W", "bcc", a=rng.uniform(3.1, 3.3), cubic=True) * (2, 2, 2)
        atoms.symbols[:] = rng.choice(["Nb", "Mo", "Ta", "W"], len(atoms))
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.1 * rng.normal(size=(len(atoms), 3))
        structures.append(atoms)
    results = etn_gpu.load(MODEL).evaluate(structures)
    return [
        Labelled(atoms, result["energy"], result["forces"], result["stress"])
        for atoms, result in zip(structures, results, strict=True)
    ]


@pytest.fixture
def evaluate(run: Callable[..., Any], tmp_path: Path) -> Evaluate:
    """`evaluate(file, *options)` runs the command with the shipped model that made the labels."""
    # Where the numbers go must not lie among the files of a test.
    folder = tmp_path.parent / f"{tmp_path.name}-numbers"
    folder.mkdir()

    def call(*arguments: object) -> Evaluation:
        report = folder / f"{len(list(folder.iterdir()))}.json"
        finished = run("evaluate", MODEL, *arguments, "--json", report)
        numbers = json.loads(report.read_text()) if report.exists() else {}
        return Evaluation(finished.code, finished.out, finished.err, numbers)

    return call
