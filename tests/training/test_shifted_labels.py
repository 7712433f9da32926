"""Labels of all-electron codes, -1e5 eV per atom and more: references take them up, and errors are as without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from numpy.typing import NDArray

from etn_gpu import load
from etn_gpu.training import TrainingConfig, train
from etn_gpu.training.data import Piece
from etn_gpu.training.initial import reference_energies
from etn_gpu.training.objective import Objective

Array = NDArray[np.float64]
#: eV per atom of Cu and Au, all-electron.
SHIFTS = {"Cu": -4.5e4, "Au": -5.2e5}


def shift_of(atoms: Atoms) -> float:
    return sum(SHIFTS[symbol] for symbol in atoms.symbols)


@pytest.fixture
def shifted(pieces: list[Piece]) -> list[Piece]:
    """The pieces with the shifts in their energies."""
    found = []
    for piece in pieces:
        per_atom = np.array(list(SHIFTS.values()))[piece.batch.species_index]
        by = np.add.reduceat(per_atom, piece.batch.atom_offsets[:-1])
        found.append(replace(piece, energy=piece.energy + by))
    return found


def test_references_take_the_shift_and_nothing_else_sees_it(
    objective: Objective, pieces: list[Piece], shifted: list[Piece], theta: Array
) -> None:
    by = np.array(list(SHIFTS.values()))
    found, before = reference_energies(shifted, 2), reference_energies(pieces, 2)
    np.testing.assert_allclose(found - before, by, rtol=0, atol=1e-8)
    moved = theta.copy()
    moved[objective.layout.slices["E0"]] += by
    loss, gradient = objective.loss_and_gradient(theta, pieces)
    shifted_loss, shifted_gradient = objective.loss_and_gradient(moved, shifted)
    assert shifted_loss == pytest.approx(loss, rel=1e-9)
    np.testing.assert_allclose(shifted_gradient, gradient, rtol=0, atol=1e-8 * np.abs(gradient).max())


def test_a_run_and_the_errors_of_its_model(
    configure: Callable[..., TrainingConfig], alloys: tuple[Path, Path], tmp_path: Path
) -> None:
    errors: dict[tuple[bool, str], list[float]] = {}
    for large in (False, True):
        files = []
        for path in alloys:
            frames = read(path, ":")
            for atoms in frames:
                atoms.info["REF_energy"] += shift_of(atoms) if large else 0.0
            files.append(tmp_path / f"{large}{path.name}")
            write(files[-1], frames)
        train(configure(train_file=files[0], valid_file=files[1], output=tmp_path / f"{large}.etn"))
        model = load(tmp_path / f"{large}.etn")
        for dtype in ("float64", "float32"):
            results = model.evaluate(frames, dtype=dtype)
            difference = [r["energy"] - a.info["REF_energy"] for r, a in zip(results, frames, strict=True)]
            errors[large, dtype] = [d / len(a) for d, a in zip(difference, frames, strict=True)]
    for large in (False, True):
        np.testing.assert_allclose(errors[large, "float32"], errors[large, "float64"], rtol=0, atol=2e-6)
    # Labels of 4e6 eV end at 5e-10 eV, and a run of few iterations makes much of the last digits.
    before, after = (np.sqrt(np.mean(np.square(errors[large, "float64"]))) for large in (False, True))
    assert after == pytest.approx(before, rel=0.05)
