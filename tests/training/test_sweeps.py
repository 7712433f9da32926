"""Sweeps: what they may raise, what they find, what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.potential import Architecture
from etn_gpu.training.data import Piece
from etn_gpu.training.evaluation import collect_errors
from etn_gpu.training.initial import radial_sizes
from etn_gpu.training.objective import Weights
from etn_gpu.training.problem import Model, Problems
from etn_gpu.training.sweeps import Budget, SweepOptions, sweep

Array = NDArray[np.float64]
#: Enough for a step to end at the minimum, and matrices from all rows.
EXACT: dict[str, Any] = {"tolerance": 1e-6, "max_iterations": 100}
#: Components of an embedding of two species that are orthonormal in the metric of the site vector.
ORTHONORMAL = np.array([[1.0, 1.0], [1.0, -1.0]])
#: Of the prior.
STRENGTH = 5.0
#: More than two expansions use up.
ROOMY = ("4x0e+3x1o+3x2e", "4x0e+3x1o+3x2e")


@pytest.fixture
def weights() -> Weights:
    return Weights(energy=900.0, forces=4.0, stress=2500.0)


@pytest.fixture
def every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etn_gpu.training.one_site.FORCE_ROWS", 1e6)
    monkeypatch.setattr("etn_gpu.training.one_site.STRESS_ROWS", 1e6)


@pytest.fixture
def problems(weights: Weights, pieces: list[Piece]) -> Problems:
    return Problems(weights, pieces)


@pytest.fixture
def model(problems: Problems, architecture: Architecture, theta: Array) -> Model:
    return problems(architecture).model(theta)


def options(architecture: Architecture, bonds: tuple[str, ...] = ROOMY, **changes: Any) -> SweepOptions:
    budget = Budget.of(replace(architecture, bonds=bonds).train)
    return SweepOptions(budget, **{"growth": 1.0, "rise": 0.0, **changes})


def data_loss(problems: Problems, model: Model, pieces: list[Piece]) -> float:
    problem = problems(model.architecture)
    return problem.objective.loss_and_gradient(problem.layout.pack(model.parameters), pieces)[0]


def coefficient_norm(problems: Problems, model: Model) -> float:
    problem = problems(model.architecture)
    return problem.prior.squared_norm(problem.layout.pack(model.parameters))


def test_canonical_forms_and_expansions_change_no_prediction(
    problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture
) -> None:
    """Steps without iterations: all that is left of a sweep is its changes of gauge and of ranks."""
    result = sweep(
        problems,
        model,
        pieces,
        np.random.default_rng(0),
        options(architecture, rise=1e-12, max_iterations=0),
        strength=STRENGTH,
    )
    before, after = (
        collect_errors(problem.objective, problem.layout.pack(m.parameters), pieces)
        for m in (model, result.model)
        for problem in [problems(m.architecture)]
    )
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=0, atol=1e-8)


@pytest.mark.usefixtures("every_row")
@pytest.mark.parametrize("backwards", [False, True])
def test_loss_rises_by_no_more_than_truncation_costs(
    backwards: bool, problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture
) -> None:
    """Solving at a bond lowers the regularised loss; what follows it raises the loss by at most what it says."""
    limited = options(architecture, ("2x0e+1x1o", "2x0e+1x1o+1x2e"), **EXACT)
    result = sweep(problems, model, pieces, np.random.default_rng(0), limited, strength=STRENGTH, backwards=backwards)
    assert [update.bond for update in result.updates] == ([2, 1] if backwards else [1, 2])
    assert [update.centre for update in result.updates] == ([2, 1] if backwards else [2, 3])
    for update in result.updates:
        assert update.solved < update.before
    ends = [update.before for update in result.updates[1:]]
    ends.append(data_loss(problems, result.model, pieces) + 0.5 * STRENGTH * coefficient_norm(problems, result.model))
    assert any(update.discarded_weight > 1e-6 for update in result.updates)
    for update, end in zip(result.updates, ends, strict=True):
        assert end <= update.solved + update.rise * (1 + 1e-3) + 1e-6 * update.solved


@pytest.mark.usefixtures("every_row")
def test_without_truncation_the_loss_falls_and_falls(
    problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture
) -> None:
    limits = options(architecture, taken=3, **EXACT)
    first = sweep(problems, model, pieces, np.random.default_rng(0), limits, strength=STRENGTH)
    second = sweep(problems, first.model, pieces, np.random.default_rng(1), limits, backwards=True, strength=STRENGTH)
    losses = [loss for result in (first, second) for u in result.updates for loss in (u.before, u.solved)]
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(losses))
    assert losses[-1] < 0.5 * losses[0]
    assert second.model.architecture.n_parameters > architecture.n_parameters


def test_the_budget_is_kept(problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture) -> None:
    """Also one that is smaller than the model at the beginning."""
    limited = options(architecture, ("1x0e+1x1o", "1x0e+1x1o"), max_iterations=2)
    assert limited.budget(*architecture.train.cores) > 1.0
    result = sweep(problems, model, pieces, np.random.default_rng(0), limited, strength=STRENGTH)
    result = sweep(problems, result.model, pieces, np.random.default_rng(0), limited, backwards=True, strength=STRENGTH)
    assert limited.budget(*result.model.architecture.train.cores) <= 1.0 + 1e-12


def test_growth_at_a_bond_is_limited(
    problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture
) -> None:
    slow = options(architecture, max_iterations=1, growth=0.15)
    result = sweep(problems, model, pieces, np.random.default_rng(0), slow, strength=STRENGTH)
    before, after = (slow.budget(*m.architecture.train.cores) for m in (model, result.model))
    assert before < after <= before + 2 * 0.15 + 1e-12


def test_time_that_is_up_ends_a_sweep_after_a_bond(
    problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture
) -> None:
    result = sweep(
        problems,
        model,
        pieces,
        np.random.default_rng(0),
        options(architecture),
        strength=STRENGTH,
        time_left=lambda: False,
    )
    assert [update.bond for update in result.updates] == [1]
    assert result.model.architecture.bonds[0] == str(result.updates[0].new)


def test_the_same_random_numbers_give_the_same_sweep(
    problems: Problems, model: Model, pieces: list[Piece], architecture: Architecture
) -> None:
    first, second = (
        sweep(
            problems,
            model,
            pieces,
            np.random.default_rng(3),
            options(architecture, max_iterations=2),
            strength=STRENGTH,
        )
        for _ in range(2)
    )
    assert first.updates == second.updates
    for name, values in first.model.parameters.items():
        np.testing.assert_array_equal(second.model.parameters[name], values)


@pytest.fixture
def relabelled(pieces: list[Piece], problems: Problems) -> Callable[[Model], list[Piece]]:
    """The pieces with the predictions of a model as their labels."""

    def label(teacher: Model) -> list[Piece]:
        problem = problems(teacher.architecture)
        theta = problem.layout.pack(teacher.parameters)
        found = []
        for piece in pieces:
            blank = replace(piece, energy=0 * piece.energy, forces=np.zeros_like(piece.forces), stress=0 * piece.stress)
            errors = problem.objective.errors(theta, blank)
            energy = errors.energy * piece.atoms_per_structure
            found.append(replace(piece, energy=energy, forces=errors.forces, stress=errors.stress))
        return found

    return label


@pytest.mark.usefixtures("every_row")
def test_the_ranks_behind_the_data_are_found(
    relabelled: Callable[[Model], list[Piece]], weights: Weights, architecture: Architecture, pieces: list[Piece]
) -> None:
    """Data of a positive semidefinite quadratic form of known rank: nothing of a smaller rank makes them."""
    wide = replace(architecture, channels=(3, 3), bonds=("2x0e+1x1o",))
    rng = np.random.default_rng(8)
    parameters: dict[str, Array] = {name: rng.normal(size=shape) for name, shape in wide.parameter_shapes.items()}
    # Orthonormal channels: the norm of the coefficient tensor is then that of the cores.
    parameters |= {"U": ORTHONORMAL, "W": ORTHONORMAL, "A": np.zeros((3, 2))}
    for l, size in radial_sizes(wide, pieces[0]).items():
        orthonormal = np.linalg.qr(rng.normal(size=(8, 3)))[0].T.reshape(3, 2, 2, 2)
        parameters[f"B{l}"] = size[:, None, None] * orthonormal
    first, last = wide.train.cores
    scalars, vectors = rng.normal(size=(2, 4)), rng.normal(size=(1, 3))
    # Products with the constant channel are terms of lower order, which E0 could take over.
    scalars[:, 0] = 0.0
    parameters[first.name] = np.concatenate((scalars.ravel(), vectors.ravel()))
    parameters[last.name] = np.concatenate((scalars.ravel(), vectors.ravel()))
    teacher = Model(wide, parameters)
    labelled = relabelled(teacher)[:1]
    problems = Problems(weights, labelled)
    start = replace(wide, bonds=("1x0e",))
    student = Model(start, {
        name: parameters[name] if name[0] in "BUWAE" else 0.1 * rng.normal(size=shape)
        for name, shape in start.parameter_shapes.items()
    })  # fmt: skip
    limits = options(wide, ("4x0e+3x1o",), rise=0.01, tolerance=1e-6, max_iterations=100)
    begin = data_loss(problems, student, labelled)
    weak = 1e-8 * begin / coefficient_norm(problems, teacher)
    model = student
    for number in range(4):
        model = sweep(problems, model, labelled, rng, limits, strength=weak, backwards=number % 2 == 1).model
    assert data_loss(problems, model, labelled) < 1e-6 * begin
    assert model.architecture.bonds == ("2x0e+1x1o",)
