"""Weights of groups: a factor is so many copies, 0 is not to be there; and the errors of each group."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread
from numpy.typing import NDArray

import etn_gpu
from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.potential.metrics import GroupedMetrics
from etn_gpu.structures import LabelledSet, read_labelled
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.curvature import gauss_newton_matrix
from etn_gpu.training.data import checksum, cut_pieces
from etn_gpu.training.groups import check_groups, group_errors, split_weightless, with_group_weights
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import Errors, Objective
from etn_gpu.training.tolerance import with_tolerances

Array = NDArray[np.float64]
Configure = Callable[..., TrainingConfig]
GROUPS = ["a", "b", None, "a", "b", "b"]


@pytest.fixture
def grouped(labels: LabelledSet) -> LabelledSet:
    """The six structures of ``labels`` in groups."""
    return replace(labels, config_type=list(GROUPS))


@pytest.fixture
def data(alloys: tuple[Path, Path], store: Callable[..., Path]) -> Path:
    """The 20 alloys: four 'hot', eight 'cold', and the others of no group."""
    frames = list(iread(alloys[0]))
    for k, atoms in enumerate(frames):
        if k < 12:
            atoms.info["config_type"] = "hot" if k < 4 else "cold"
    return store(frames, "grouped.extxyz")


def test_a_factor_is_so_many_copies(
    grouped: LabelledSet, architecture: Architecture, objective: Objective, theta: Array
) -> None:
    """Loss, gradient and Gauss-Newton matrix: 3 is three times listed, beside tolerances of the labels."""

    def pieces(indices: list[int]) -> list[Any]:
        cut = cut_pieces(grouped, indices, architecture.species, architecture.cutoff, piece_atoms=18)
        return with_tolerances(cut, np.zeros(2))

    weighted = with_group_weights(pieces([0, 1, 2, 3, 4, 5]), {"b": 3.0, "a": 1.0})
    listed = pieces([0, 1, 2, 3, 4, 5, 1, 4, 5, 1, 4, 5])
    (loss, gradient), (expected, slope) = (
        objective.loss_and_gradient(theta, some) for some in (weighted, listed)
    )  # fmt: skip
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-9 * np.abs(slope).max())
    rows = JacobianRows(Kernel(architecture, Execution(dtype="float64")))
    matrices = [
        gauss_newton_matrix(
            rows, objective.weights, theta, some, np.random.default_rng(0), force_rows=10**6, stress_rows=10**6
        )
        for some in (weighted, listed)
    ]
    np.testing.assert_allclose(matrices[0], matrices[1], rtol=1e-4, atol=1e-5 * np.abs(matrices[1]).max())


def test_no_factors_change_nothing(grouped: LabelledSet, architecture: Architecture) -> None:
    pieces = cut_pieces(grouped, range(6), architecture.species, architecture.cutoff)
    assert with_group_weights(pieces, {}) == pieces


def test_groups_go_into_the_checksum_where_they_count(grouped: LabelledSet, architecture: Architecture) -> None:
    pieces = cut_pieces(grouped, range(6), architecture.species, architecture.cutoff)
    renamed = [replace(piece, groups=("z",) * 6) for piece in pieces]
    assert checksum(pieces) == checksum(renamed)
    assert checksum(pieces, grouped=True) != checksum(renamed, grouped=True)


def test_weightless_structures(grouped: LabelledSet) -> None:
    kept, out = split_weightless(grouped, np.array([5, 3, 2, 1]), {"b": 0.0, "a": 0.5})
    assert (kept.tolist(), out) == ([3, 2], [5, 1])


def test_unknown_groups(grouped: LabelledSet) -> None:
    check_groups(grouped, {"a": 2.0})
    with pytest.raises(TrainingError, match=r"is of the group 'c' \(config_type\); there are, .*: b \(3\), a \(2\)"):
        check_groups(grouped, {"a": 1.0, "c": 2.0})
    with pytest.raises(TrainingError, match=r"is of the group 'c' .*its structures have no groups"):
        check_groups(replace(grouped, config_type=[None] * 6), {"c": 2.0})


def test_errors_by_group(grouped: LabelledSet, architecture: Architecture) -> None:
    rng = np.random.default_rng(1)
    pieces = cut_pieces(grouped, range(6), architecture.species, architecture.cutoff, piece_atoms=18)
    sizes = [len(atoms) for atoms in grouped.atoms]
    errors = Errors(rng.normal(size=6), rng.normal(size=(sum(sizes), 3)), rng.normal(size=(6, 6)))
    errors.energy[4] = np.nan
    found = group_errors(pieces, errors)
    of_atom = np.repeat([group or "" for group in GROUPS], sizes)
    assert list(found) == ["a", "b"]
    assert [found[name]["structures"] for name in found] == [2, 3]
    assert found["b"]["energy_mae"] == pytest.approx(np.abs(errors.energy[[1, 5]]).mean())
    assert found["a"]["forces_rmse"] == pytest.approx(np.sqrt(np.mean(errors.forces[of_atom == "a"] ** 2)))
    assert found["a"]["stress_mae"] == pytest.approx(np.abs(errors.stress[[0, 3]]).mean())
    assert group_errors([], Errors(np.empty(0), np.empty((0, 3)), np.empty((0, 6)))) == {}


def test_the_report_has_the_errors_of_all_groups(configure: Configure, data: Path) -> None:
    """Those of a group that is left out of the training included, and as ``evaluate`` finds them."""
    config = configure(train_file=data, group_weights={"hot": 0.0, "cold": 2.0})
    report = train(config)
    assert report.history[0]["structures"] == 16
    assert set(report.groups) == {"train", "left_out"}
    found = {**report.groups["train"], **report.groups["left_out"]}
    assert {name: group["structures"] for name, group in found.items()} == {"cold": 8, "hot": 4}
    labels = read_labelled(data)
    metrics = GroupedMetrics()
    for s, result in enumerate(etn_gpu.load(config.output).evaluate(labels.atoms)):
        metrics.add(labels.config_type[s], result, **labels.of(s))
    for name, group in found.items():
        for quantity in ("energy", "forces", "stress"):
            for kind in ("mae", "rmse"):
                expected = getattr(getattr(metrics.groups[name], quantity), kind)
                assert group[f"{quantity}_{kind}"] == pytest.approx(expected, rel=1e-8)
    assert json.loads(config.output.with_suffix(".json").read_text())["groups"] == report.groups


def test_more_weight_means_smaller_errors(configure: Configure, data: Path, tmp_path: Path) -> None:
    errors = []
    for factor in (0.01, 100.0):
        config = configure(
            train_file=data, group_weights={"hot": factor}, valid_file=None, valid_fraction=0.0, max_iterations=4,
            output=tmp_path / "m.etn",
        )  # fmt: skip
        errors.append(train(config).groups["train"]["hot"]["forces_rmse"])
    assert errors[1] < 0.7 * errors[0]


def test_a_group_of_the_validation_file(configure: Configure, data: Path, store: Callable[..., Path]) -> None:
    """What does not count in training does not choose the best iteration either, and is listed."""
    frames = list(iread(data, ":8"))
    report = train(configure(train_file=data, valid_file=store(frames), group_weights={"hot": 0.0}, max_iterations=1))
    assert report.groups["valid"]["cold"]["structures"] == 4
    assert report.groups["left_out"]["hot"]["structures"] == 8
    with pytest.raises(TrainingError, match=r"frames\.extxyz holds only groups with weight 0: it cannot validate"):
        train(configure(train_file=data, valid_file=store(frames[:4]), group_weights={"hot": 0.0}))


def test_elements_of_a_weightless_group_alone(
    configure: Configure, data: Path, store: Callable[..., Path], label: Callable[..., Atoms], events: list[Event]
) -> None:
    silver = label(Atoms("Ag2", [[0, 0, 0], [0, 0, 2.7]]))
    silver.info["config_type"] = "gas"
    spoilt = store([*iread(data), silver])
    report = train(configure(train_file=spoilt, group_weights={"gas": 0.0}, max_iterations=1), events.append)
    assert report.architecture["species"] == ("Cu", "Au")
    assert any(event.text.startswith("1 structures of groups with weight 0 hold elements") for event in events)


def test_nothing_left(configure: Configure, store: Callable[..., Path], data: Path) -> None:
    hot = store(list(iread(data, ":4")))
    with pytest.raises(TrainingError, match=r"has no label of what has a weight above 0 .*, in a group of such"):
        train(configure(train_file=hot, group_weights={"hot": 0.0}))


def test_a_resumed_run_has_the_same_weights(configure: Configure, data: Path) -> None:
    config = configure(train_file=data, group_weights={"hot": 2.0}, max_iterations=1)
    train(config)
    with pytest.raises(TrainingError, match=r"group_weights was {'hot': 2\.0}, is None"):
        train(configure(train_file=data, resume=config.checkpoint))
