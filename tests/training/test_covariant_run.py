"""Runs that train dipoles and quantities of atoms: errors, symmetry, files, and what cannot be meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

import etn_gpu
from etn_gpu.errors import DataError, TrainingError
from etn_gpu.network import MessageLayer
from etn_gpu.potential import ETNPotential
from etn_gpu.structures import LabelKeys
from etn_gpu.structures.targets import Target
from etn_gpu.training import Event, TrainingConfig, TrainingReport, train
from tests.training.charged_molecules import DIPOLE, SHIFTS, TINY, VECTORS, configuration, molecules

Array = NDArray[np.float64]
Trained = tuple[TrainingConfig, TrainingReport, ETNPotential, list[Event]]


@pytest.fixture(autouse=True)
def short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations of few steps, and plots only where they are wanted."""
    if "plots" not in request.fixturenames:
        monkeypatch.setattr("etn_gpu.training.report._plot", lambda *arguments: None)
    monkeypatch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Target], Trained]:
    """`trained(target)`: a run, its report, the model read from its file, and the events; each is made once."""
    made: dict[Target, Trained] = {}

    def run(target: Target) -> Trained:
        if target not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("etn_gpu.training.run.STARTS", 1)
                patch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 20)
                config = configuration(tmp_path_factory.mktemp(target.name), target)
                events: list[Event] = []
                report = train(config, events.append)
            model = etn_gpu.load(str(config.output))
            assert isinstance(model, ETNPotential)
            made[target] = config, report, model, events
        return made[target]

    return run


def value(model: ETNPotential, atoms: Atoms, name: str) -> Array:
    found: Array = model.evaluate(atoms, backend="numpy")[0][name]
    return found


def spread(labels: list[Array], structures: list[Atoms]) -> float:
    """Root mean square of the labels; of numbers beyond the mean of each species, which is no achievement."""
    values = np.concatenate(labels)
    symbols = np.concatenate([atoms.get_chemical_symbols() for atoms in structures])
    if values.ndim == 1 and len(values) == len(symbols):
        values = np.concatenate([values[symbols == s] - values[symbols == s].mean() for s in set(symbols)])
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("target", [DIPOLE, VECTORS, SHIFTS], ids=str)
def test_held_out_errors_are_small(target: Target, trained: Callable[[Target], Trained]) -> None:
    """Of molecules that neither trained nor validated, and as the report has them for those that validated."""
    _, report, model, _ = trained(target)
    for number, seed, noted in ((60, 5, None), (30, 2, report.valid)):
        structures = molecules(number, seed)
        labels = [a.info["dipole"] if target == DIPOLE else a.arrays[target.name] for a in structures]
        errors = [value(model, a, target.name) - label for a, label in zip(structures, labels, strict=True)]
        assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) < 0.08 * spread(labels, structures)
        if noted is not None:
            assert noted["target_mae"] == pytest.approx(np.mean(np.abs(np.concatenate(errors))), rel=1e-6)
    assert (report.valid.get("target_length_rmse") is None) == (target == SHIFTS)


@pytest.mark.parametrize("target", [DIPOLE, VECTORS, SHIFTS], ids=str)
def test_rotation_and_inversion(backend: str, target: Target, trained: Callable[[Target], Trained]) -> None:
    _, _, model, _ = trained(target)
    turn = Rotation.random(random_state=3).as_matrix()
    for atoms in molecules(4, seed=6):
        for matrix in (turn, -turn, -np.eye(3)):
            moved = Atoms(atoms.symbols, atoms.positions @ matrix.T + [1.0, -2.0, 3.0])
            before, after = (model.evaluate(a, backend=backend)[0][target.name] for a in (atoms, moved))
            expected = before if target == SHIFTS else before @ matrix.T
            np.testing.assert_allclose(after, expected, atol=1e-11)


def test_what_the_file_and_the_report_tell(trained: Callable[[Target], Trained]) -> None:
    config, report, model, events = trained(DIPOLE)
    assert str(model.quantity) == "dipole (a vector for each structure, e*A)"
    assert model.quantity is not None
    assert report.quantity == model.quantity.to_dict()
    assert model.terms is None
    assert model.grade is None
    assert model.metadata["training_data"]["label_keys"] == {"dipole": {"dipole": 60}}
    assert model.metadata["training"]["options"]["target"] == {"name": "dipole", "per_atom": False, "key": None}
    assert set(report.train) == {f"target{part}_{kind}" for part in ("", "_length") for kind in ("mae", "rmse")}
    assert json.loads(config.output.with_suffix(".json").read_text())["quantity"] == report.quantity
    texts = [event.text for event in events]
    assert any("training dipole (a vector for each structure, e*A) on 60 structures" in text for text in texts)
    assert any("target" in text and "dipole (60)" in text for text in texts)
    assert not any("energies" in text or "formation" in text for text in texts)


def test_numbers_of_atoms_are_no_energies(trained: Callable[[Target], Trained]) -> None:
    _, _, model, _ = trained(SHIFTS)
    assert not model.is_energy
    assert model.target == "1x0e"
    found = value(model, Atoms("C", [[0.0, 0.0, 0.0]]), "shifts")
    assert found.shape == (1,)


def test_a_run_that_is_resumed_ends_alike(trained: Callable[[Target], Trained], tmp_path: Path) -> None:
    _, report, model, _ = trained(VECTORS)
    half = configuration(tmp_path, VECTORS, max_iterations=1)
    train(half)
    again = train(configuration(tmp_path, VECTORS, resume=half.checkpoint))
    assert again.train == report.train
    resumed = etn_gpu.load(str(half.output))
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], array)
    with pytest.raises(TrainingError, match=r"belongs to another run: target was .*'vectors'.*, is .*'dipole'"):
        train(configuration(tmp_path, DIPOLE, output=half.output, resume=half.checkpoint))


def test_weighted_and_left_out_groups(tmp_path: Path) -> None:
    config = configuration(tmp_path, DIPOLE, max_iterations=1, group_weights={"a": 2.0, "b": 0.0})
    structures = read(config.train_files[0], ":")
    for k, atoms in enumerate(structures):
        atoms.info["config_type"] = "abc"[k % 3]
    write(config.train_files[0], structures, format="extxyz")
    report = train(config)
    assert set(report.groups["train"]) == {"a", "c"}
    assert report.groups["left_out"]["b"]["structures"] == 20
    assert report.groups["left_out"]["b"]["target_rmse"] > 0


def test_some_structures_lack_labels(tmp_path: Path) -> None:
    """They are left out; an element that has no label at all is unknown to the model."""
    config = configuration(tmp_path, SHIFTS, max_iterations=1, valid_file=None)
    structures = molecules(12, seed=8)
    extra = Atoms("ON", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]])
    structures[3].arrays["shifts"][0] = np.nan
    write(config.train_files[0], [*structures, extra], format="extxyz")
    events: list[Event] = []
    report = train(config, events.append)
    assert tuple(report.architecture["species"]) == ("H", "C")
    assert any("shifts NaN for some atoms of 1 structure" in text for text in report.warnings)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": {"energy": 2.0}}, "weights"),
        ({"reference_energies": {"H": 1.0}}, "reference energies"),
        ({"repulsion_reach": 1.5}, "a reach of the repulsion"),
        ({"label_keys": LabelKeys(energy="e")}, "keys of energies, forces or stresses"),
        ({"init": "nbmotaw"}, "an initial model"),
    ],
)
def test_options_of_energies(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(TrainingError, match=f"the target is dipole, no energy: leave out {named}"):
        configuration(tmp_path, DIPOLE, **changes)


def test_a_text_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"the target must be a Target, got 'dipole': write Target.parse\('dipole'\)"
    ):
        TrainingConfig(tmp_path / "a.xyz", tmp_path / "m.etn", target="dipole")  # type: ignore[arg-type]


def test_data_without_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.xyz: no atomic:charges in any of 60 structures.*found.*'shifts'"):
        train(configuration(tmp_path, Target("charges", per_atom=True)))


def test_a_validation_file_of_something_else(tmp_path: Path) -> None:
    config = configuration(tmp_path, VECTORS)
    structures = read(tmp_path / "valid.xyz", ":")
    for atoms in structures:
        atoms.set_array("vectors", None)
        atoms.set_array("vectors", np.ones(len(atoms)))
    write(tmp_path / "valid.xyz", structures, format="extxyz")
    with pytest.raises(
        TrainingError, match=r"valid.xyz has vectors \(a number for each atom\), and vectors \(a vector"
    ):
        train(config)


@pytest.mark.parametrize("target", [DIPOLE, SHIFTS], ids=str)
def test_plots(target: Target, tmp_path: Path, plots: None) -> None:
    config = configuration(tmp_path, target, max_iterations=1)
    events: list[Event] = []
    train(config, events.append)
    assert config.output.with_suffix(".png").stat().st_size > 10_000
    assert not [event.text for event in events if event.kind == "unwritten"]


@pytest.mark.slow
def test_a_layer_of_messages(tmp_path: Path) -> None:
    layer = MessageLayer("2x0e+1x1o", ("1x0e+1x1o",), 1, 3)
    config = configuration(tmp_path, DIPOLE, preset=replace(TINY, layers=(layer,)), max_iterations=4)
    report = train(config)
    model = etn_gpu.load(str(config.output))
    assert isinstance(model, ETNPotential)
    assert len(model.architecture.layers) == 1
    assert model.quantity is not None
    error = report.valid["target_rmse"]
    assert error is not None
    assert error < 0.05
    for atoms in molecules(3, seed=6):
        moved = Atoms(atoms.symbols, -atoms.positions)
        np.testing.assert_allclose(value(model, moved, "dipole"), -value(model, atoms, "dipole"), atol=1e-11)


@pytest.mark.slow
def test_sweeps_adapt_the_ranks(tmp_path: Path) -> None:
    config = configuration(tmp_path, DIPOLE, method="sweeps", max_iterations=8)
    report = train(config)
    assert any("sweep" in entry for entry in report.history)
    error = report.valid["target_rmse"]
    assert error is not None
    assert error < 0.02
