"""Alloys labelled by ASE's EMT, a potential small enough for dense oracles, and training runs that take a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from numpy.typing import NDArray

from etn_gpu.potential import PRESETS, Architecture
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.structures import LabelledSet
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training import Event, TrainingConfig
from etn_gpu.training import run as training_run
from etn_gpu.training import setup as training_setup
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.objective import Objective, Weights

Array = NDArray[np.float64]
SPECIES = ("Cu", "Au")
CUTOFF = 3.6
WEIGHTS = Weights(energy=900.0, forces=4.0, stress=2500.0)


def alloy(rng: np.random.Generator, symbols: Sequence[str] = SPECIES) -> Atoms:
    """Eight atoms on a strained and rattled fcc lattice, each of a random element, without labels."""
    atoms = bulk("Cu", "fcc", a=rng.uniform(3.7, 4.1), cubic=True) * (2, 1, 1)
    atoms.symbols[:] = rng.choice(list(symbols), len(atoms))
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.1 * rng.normal(size=(len(atoms), 3))
    return atoms


def with_labels(atoms: Atoms, *names: str) -> Atoms:
    """The structure with EMT's energy, forces and stress, or those of them that are named."""
    atoms.calc = EMT()
    labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        labels["stress"] = atoms.get_stress()
    atoms.calc = None
    for name in names or labels:
        store = atoms.arrays if name == "forces" else atoms.info
        store[f"REF_{name}"] = labels[name]
    return atoms


def cluster(rng: np.random.Generator) -> Atoms:
    """Four atoms without a cell."""
    atoms = Atoms("Cu2Au2", [[0, 0, 0], [2.6, 0, 0], [0, 2.7, 0], [0.3, 0.4, 2.5]])
    atoms.positions += 0.1 * rng.normal(size=(4, 3))
    return atoms


@pytest.fixture
def make_alloy() -> Callable[..., Atoms]:
    return alloy


@pytest.fixture
def label() -> Callable[..., Atoms]:
    return with_labels


@pytest.fixture
def make_cluster() -> Callable[[np.random.Generator], Atoms]:
    return cluster


# -- what the dense oracles need -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    """Order 3, two species, l up to 2."""
    return Architecture(SPECIES, CUTOFF, 1.5, 2, (2, 1, 1), 2, 2, ("1x0e+1x1o", "1x0e+1x1o+1x2e"))


@pytest.fixture(scope="session")
def labels() -> LabelledSet:
    """All labels, energy only, forces only, one stress component missing, a cluster, an isolated atom."""
    rng = np.random.default_rng(5)
    kinds: tuple[tuple[str, ...], ...] = ((), ("energy",), ("forces",), ())
    frames = [with_labels(alloy(rng), *names) for names in kinds]
    frames += [with_labels(cluster(rng)), with_labels(Atoms("Au", [[0.0, 0.0, 0.0]]))]
    found = collect_labels(frames)
    found.stress[3, 4] = np.nan
    return found


@pytest.fixture(scope="session")
def pieces(labels: LabelledSet) -> list[Piece]:
    """The labels in two pieces."""
    return cut_pieces(labels, [4, 0, 1, 5, 2, 3], SPECIES, CUTOFF, piece_atoms=18)


@pytest.fixture(scope="session")
def theta(architecture: Architecture) -> Array:
    """Random parameters."""
    return 0.4 * np.random.default_rng(3).normal(size=architecture.n_parameters)


@pytest.fixture(scope="session")
def objective(architecture: Architecture) -> Objective:
    """The objective in float64 on the default backend."""
    return Objective(Kernel(architecture, Execution()), WEIGHTS)


@dataclass(frozen=True)
class DenseErrors:
    """Errors of all pieces as one vector, what weighs them, and their Jacobian by central differences."""

    errors: Array
    weights: Array
    jacobian: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where there is a label."""
        return np.isfinite(self.errors)


@pytest.fixture(scope="session")
def dense(objective: Objective, pieces: list[Piece], theta: Array) -> DenseErrors:
    """Energies of all pieces first, then forces, then stresses."""

    def errors(at: Array) -> Array:
        found = [objective.errors(at, piece) for piece in pieces]
        names = ("energy", "forces", "stress")
        return np.concatenate([getattr(e, name).ravel() for name in names for e in found])

    step = 1e-4
    columns = [(errors(theta + step * unit) - errors(theta - step * unit)) / (2 * step) for unit in np.eye(len(theta))]
    found = [objective.errors(theta, piece) for piece in pieces]
    sizes = [sum(getattr(e, name).size for e in found) for name in ("energy", "forces", "stress")]
    weights = np.repeat([WEIGHTS.energy, WEIGHTS.forces, WEIGHTS.stress], sizes)
    return DenseErrors(errors(theta), weights, np.stack(columns, axis=1))


# -- what whole runs need --------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a preset with which an iteration takes milliseconds."""
    tiny = replace(PRESETS["small"], n_radial=4, channels=(2, 2, 1), bonds=("2x0e+1x1o",) * 2)
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    return "tiny"


@pytest.fixture(scope="session")
def alloys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of 20 labelled alloys to train on and 6 to validate on."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("alloys")
    write(folder / "train.extxyz", [with_labels(alloy(rng)) for _ in range(20)])
    write(folder / "valid.extxyz", [with_labels(alloy(rng)) for _ in range(6)])
    return folder / "train.extxyz", folder / "valid.extxyz"


@pytest.fixture
def plots() -> None:
    """For tests that want the plots, which take as long as the rest of a small run."""


@pytest.fixture
def whole_iterations() -> None:
    """For tests that want iterations of as many steps as they are worth, some forty instead of ten."""


@pytest.fixture
def configure(
    tmp_path: Path,
    tiny_preset: str,
    alloys: tuple[Path, Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., TrainingConfig]:
    """`configure(seed=1, ...)`: two iterations of the tiny preset on the alloys, into the test's folder."""
    if "plots" not in request.fixturenames:
        monkeypatch.setattr("etn_gpu.training.report._plot", lambda *arguments: None)
    if "whole_iterations" not in request.fixturenames:
        monkeypatch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 10)

    def make(**changes: Any) -> TrainingConfig:
        options = {
            "train_file": alloys[0],
            "output": tmp_path / "model.etn",
            "valid_file": alloys[1],
            "preset": tiny_preset,
            "cutoff": CUTOFF,
            "max_iterations": 2,
            "repulsion": "none",  # what terms follow from takes a second: tests of terms ask for them
            "overwrite": True,  # tests run several times into one folder
        }
        return TrainingConfig(**{**options, **changes})

    return make


@pytest.fixture
def two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training data in two pieces, of which the second comes into use after the first iteration."""

    def cut(labels: LabelledSet, indices: Sequence[int], species: tuple[str, ...], cutoff: float) -> list[Piece]:
        return cut_pieces(labels, indices, species, cutoff, piece_atoms=80)

    monkeypatch.setattr(training_setup, "cut_pieces", cut)
    monkeypatch.setattr(training_run, "FIRST_PIECES", 1)
    monkeypatch.setattr(training_run, "SLOW", 1.0)


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """`store(frames)` writes them to a file."""

    def save(frames: Sequence[Atoms], name: str = "frames.extxyz") -> Path:
        write(tmp_path / name, list(frames))
        return tmp_path / name

    return save


@pytest.fixture
def events() -> list[Event]:
    """Append events here: `train(config, events.append)`."""
    return []


@pytest.fixture(scope="module", autouse=True)
def quick_machine_code() -> Iterator[None]:
    """Ranks that grow mean new machine code, which LLVM makes in a quarter of the time if it does not optimise it.

    What it makes when it does is tested with the backends.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etn_gpu.backend.cpu.jit.OPTIMISATION", 0)
        yield


@pytest.fixture(autouse=True)
def one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs begin at once from their first random start."""
    monkeypatch.setattr(training_run, "STARTS", 1)
