"""The cutoff that fits the density of the data, and that training uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

import etn_gpu
from etn_gpu.structures import LabelledSet
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training import TrainingConfig, train
from etn_gpu.training.neighbourhood import LONGEST, SHORTEST, usual_cutoff

from .conftest import alloy, with_labels


def labelled(frames: Sequence[Atoms]) -> LabelledSet:
    for atoms in frames:
        atoms.info["REF_energy"] = 0.0
    return collect_labels(frames, "test")


def cutoff(frames: Sequence[Atoms]) -> float:
    return usual_cutoff(labelled(frames), range(len(frames)))


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (bulk("Mo", "bcc", a=3.15), 5.0),
        (bulk("Si", "diamond", a=5.43), 5.45),
        (bulk("W", "bcc", a=3.25), 5.15),
        (bulk("Cu", "fcc", a=3.61), SHORTEST),
        (bulk("K", "bcc", a=5.3), LONGEST),
        (molecule("CH3CH2OH"), LONGEST),
        (molecule("CH3CH2OH", cell=[15, 15, 15], pbc=True), LONGEST),
        (fcc111("Cu", (1, 1, 3), vacuum=8.0), LONGEST),
    ],
    ids=["Mo", "Si", "W", "Cu", "K", "molecule", "in a box", "slab"],
)
def test_by_density(atoms: Atoms, expected: float) -> None:
    assert cutoff([atoms]) == expected


def test_some_slabs_and_molecules_do_not_matter() -> None:
    box = molecule("H2O", cell=[15, 15, 15], pbc=True)
    assert cutoff([bulk("Mo", "bcc", a=3.15)] * 3 + [box, molecule("H2O"), fcc111("Cu", (1, 1, 3), vacuum=8.0)]) == 5.0


def test_only_the_structures_asked_for() -> None:
    frames = labelled([bulk("Mo", "bcc", a=3.15), bulk("Si", "diamond", a=5.43)])
    assert [usual_cutoff(frames, [i]) for i in range(2)] == [5.0, 5.45]
    assert usual_cutoff(frames, []) == LONGEST


def test_left_handed_and_flat_cells() -> None:
    mirrored = bulk("Si", "diamond", a=5.43)
    mirrored.set_cell(mirrored.cell.array[[1, 0, 2]])
    flat = Atoms("Si", cell=[[1, 0, 0], [0, 1, 0], [1, 1, 0]], pbc=True)
    assert cutoff([mirrored]) == 5.45
    assert cutoff([flat]) == LONGEST


@given(st.floats(0.5, 100.0))
def test_within_limits_in_steps(volume: float) -> None:
    found = cutoff([Atoms("Mo", cell=np.cbrt(volume) * np.eye(3), pbc=True)])
    assert SHORTEST <= found <= LONGEST
    assert found == pytest.approx(round(found, 2), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("given_cutoff", "expected"), [(None, 5.3), (4.0, 4.0)])
def test_training_uses_it_unless_told(tmp_path: Path, given_cutoff: float | None, expected: float) -> None:
    frames = [with_labels(alloy(np.random.default_rng(seed))) for seed in range(4)]
    for atoms in frames:
        atoms.set_cell(atoms.cell * np.cbrt(2.65**3 / (atoms.cell.volume / len(atoms))))
    write(tmp_path / "train.extxyz", frames, format="extxyz")
    output = tmp_path / "model.etn"
    train(TrainingConfig(tmp_path / "train.extxyz", output, preset="small", cutoff=given_cutoff, max_iterations=1))
    assert etn_gpu.load(output).cutoff == expected
