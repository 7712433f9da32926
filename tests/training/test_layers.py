"""Training networks with message passing: rows, loss, whole runs, warm starts from a network without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from numpy.typing import NDArray
from typer.testing import CliRunner

import etn_gpu
from etn_gpu.cli.app import app
from etn_gpu.errors import NetworkError, TrainingError
from etn_gpu.network import MessageLayer
from etn_gpu.potential import PRESETS, Architecture
from etn_gpu.potential.file import LAYERS_VERSION
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.curvature import atoms_in_rows
from etn_gpu.training.data import Piece
from etn_gpu.training.jacobian import JacobianRows
from etn_gpu.training.objective import Objective, Weights

Array = NDArray[np.float64]
Configure = Callable[..., TrainingConfig]
LAYER = MessageLayer("1x0e+1x1o", ("2x0e+1x1o",), 1, 2, attention=1)
WEIGHTS = Weights(energy=900.0, forces=4.0, stress=2500.0)


@pytest.fixture(scope="module")
def layered(architecture: Architecture) -> Architecture:
    """The architecture of the dense oracles with a layer of messages."""
    return replace(architecture, layers=(LAYER,))


@pytest.fixture(scope="module")
def theta(layered: Architecture) -> Array:
    return 0.4 * np.random.default_rng(3).normal(size=layered.n_parameters)


def along(objective: Objective, theta: Array, direction: Array, piece: Piece, name: str) -> Array:
    """The derivative of the errors of a property along a direction in the parameters."""

    def at(step: float) -> Array:
        return np.asarray(getattr(objective.errors(theta + step * direction, piece), name), np.float64)

    near, far = (at(s) - at(-s) for s in (1e-4, 2e-4))
    return np.asarray((8.0 * near - far) / 12e-4, np.float64)


def test_rows_are_derivatives_of_the_errors(
    backend: str, layered: Architecture, theta: Array, pieces: list[Piece]
) -> None:
    """Along random directions, on a backend; labels of every kind are among the pieces."""
    rows = JacobianRows(Kernel(layered, Execution(backend)))
    objective = Objective(Kernel(layered, Execution(backend)), WEIGHTS)
    direction = np.random.default_rng(4).normal(size=theta.size)
    for piece in pieces:
        for name in ("energy", "forces", "stress"):
            labels = getattr(piece, name)
            known = np.flatnonzero(np.isfinite(labels))
            if name == "energy":
                found = rows.energies(theta, piece)[known]
            elif name == "forces":
                found = rows.forces(theta, piece, known // 3, known % 3)
            else:
                found = rows.stresses(theta, piece, known // 6, known % 6)
            expected = along(objective, theta, direction, piece, name).ravel()[known]
            atol = 1e-7 * np.abs(expected).max(initial=1.0)
            np.testing.assert_allclose(found @ direction, expected, rtol=1e-6, atol=atol, err_msg=name)


def test_gradient_of_the_loss(layered: Architecture, theta: Array, pieces: list[Piece]) -> None:
    objective = Objective(Kernel(layered, Execution()), WEIGHTS)
    _, gradient = objective.loss_and_gradient(theta, pieces)
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=theta.size)
        losses = [objective.loss_and_gradient(theta + s * direction, pieces)[0] for s in (-2e-4, -1e-4, 1e-4, 2e-4)]
        expected = (8.0 * (losses[2] - losses[1]) - (losses[3] - losses[0])) / 12e-4
        assert gradient @ direction == pytest.approx(expected, rel=1e-6)


def test_whole_structures_are_counted_in_rows(pieces: Sequence[Piece]) -> None:
    """With as many rows as there are labels, each force component takes all atoms of its structure."""
    everything = {"force_rows": 10**6, "stress_rows": 0}
    only_forces = Weights(energy=0.0, forces=4.0, stress=0.0)
    expected = 0.0
    for piece in pieces:
        sizes = np.diff(piece.batch.atom_offsets)
        expected += float((np.isfinite(piece.forces).sum(axis=1) * np.repeat(sizes, sizes)).sum())
    assert atoms_in_rows(only_forces, pieces, **everything, whole=True) == expected


def test_a_run(configure: Configure, alloys: tuple[Path, Path], tmp_path: Path) -> None:
    """The loss falls, the file has its version, and gives what was trained; a plan shows the layers."""
    found: list[Event] = []
    config = configure(layers=2, attention=1, max_iterations=3)
    report = train(config, found.append)
    losses = [event.loss for event in found if event.kind == "iteration"]
    assert losses[-1] < 0.7 * losses[0]
    model = etn_gpu.load(config.output)
    assert isinstance(model, etn_gpu.potential.ETNPotential)
    (layer,) = model.architecture.layers
    assert layer.attention == 1
    assert report.valid["forces_rmse"] is not None
    frames = read(alloys[1], ":")
    errors = [r["forces"] - f.arrays["REF_forces"] for r, f in zip(model.evaluate(frames), frames, strict=True)]
    assert np.sqrt(np.mean(np.concatenate(errors) ** 2)) == pytest.approx(report.valid["forces_rmse"], rel=0.5)
    assert f'"format_version":{LAYERS_VERSION}'.encode() in config.output.read_bytes().replace(b" ", b"").replace(
        b"\\", b""
    )
    shown = CliRunner().invoke(app, ["plan", str(config.output)])
    assert shown.exit_code == 0
    assert "layer 1" in shown.output
    assert "1 heads of attention" in shown.output
    assert "per edge" in shown.output


def test_a_warm_start_begins_as_the_network_without_layers(
    configure: Configure, alloys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any iteration the layers that were added change nothing, bit for bit in no energy."""
    base = tmp_path / "base.etn"
    train(configure(output=base, max_iterations=2))
    starts: list[Array] = []

    def stop(self: object, theta: Array, *arguments: object) -> None:
        starts.append(theta)
        raise KeyboardInterrupt

    monkeypatch.setattr("etn_gpu.training.problem.Problem.iterate", stop)
    config = configure(init=base, preset=None, cutoff=None, layers=2)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    old = etn_gpu.load(base)
    assert isinstance(old, etn_gpu.potential.ETNPotential)
    architecture = replace(old.architecture, layers=PRESETS["tiny"].with_layers(2, None).layers)
    new = etn_gpu.potential.ETNPotential(
        architecture, Objective(Kernel(architecture), WEIGHTS).layout.unpack(starts[0])
    )
    frames = read(alloys[1], ":")
    for a, b in zip(old.evaluate(frames, grade=False), new.evaluate(frames), strict=True):
        np.testing.assert_allclose(b["energies"], a["energies"], rtol=0, atol=1e-11)
        np.testing.assert_allclose(b["forces"], a["forces"], rtol=0, atol=1e-11)
    assert any(np.abs(value).max() > 0.1 for name, value in new.parameters.items() if name.startswith("H1_"))


def test_layers_that_do_not_go_with_an_initial_model(configure: Configure, tmp_path: Path) -> None:
    base = tmp_path / "base.etn"
    train(configure(output=base, layers=2, max_iterations=1))
    for changes in ({"layers": 1}, {"attention": 2}):
        with pytest.raises(TrainingError, match=r"has 2 layers .* layers may be added behind its own"):
            train(configure(output=tmp_path / "other.etn", init=base, preset=None, cutoff=None, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "1 to 9 layers, got 0"),
        ({"layers": 10}, "1 to 9 layers, got 10"),
        ({"attention": 2}, "2 heads of attention were asked for, and no message passing"),
        ({"layers": 2, "attention": 17}, "0 to 16 heads of attention, got 17"),
        ({"layers": 1, "attention": 1}, "no message passing"),
    ],
)
def test_layers_that_cannot_be(configure: Configure, changes: dict[str, int], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        configure(**changes)


def test_presets_with_messages() -> None:
    assert PRESETS["message"].layers == PRESETS["standard"].with_layers(2, None).layers != ()
    assert PRESETS["message"].with_layers(1, None) == PRESETS["standard"]
    assert len(PRESETS["message-small"].with_layers(3, None).layers) == 2
    with pytest.raises(NetworkError, match="no message passing"):
        PRESETS["standard"].with_layers(None, 1)
