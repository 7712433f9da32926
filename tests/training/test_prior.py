"""The prior: a norm of the coefficient tensor that does not know in which gauge it is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.network import canonicalise, from_train, to_train
from etn_gpu.potential import Architecture
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.objective import Weights
from etn_gpu.training.prior import GAUGE, SMALLEST_NORM, Prior, usual_norm
from etn_gpu.training.problem import PRIOR_SHARE, Problem

Array = NDArray[np.float64]


@pytest.fixture
def problem(architecture: Architecture, pieces: list[Piece]) -> Problem:
    return Problem(architecture, Weights(energy=900.0, forces=4.0, stress=2500.0), pieces)


@pytest.fixture
def prior(problem: Problem) -> Prior:
    return problem.prior


def test_gradient_is_that_of_finite_differences(prior: Prior, theta: Array) -> None:
    steps = 1e-6 * np.eye(len(theta))
    expected = [(prior.value(theta + step) - prior.value(theta - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(prior.gradient(theta), expected, rtol=1e-5, atol=1e-7 * prior.value(theta))


def test_reference_energies_are_free(prior: Prior, theta: Array) -> None:
    moved = theta.copy()
    moved[prior.layout.slices["E0"]] += 1e3
    assert prior.value(moved) == prior.value(theta)


def test_curvature_is_exact_within_a_core_and_positive(prior: Prior, theta: Array) -> None:
    matrix = prior.curvature(theta)
    assert np.linalg.eigvalsh(matrix).min() > -1e-10 * np.abs(matrix).max()
    for core in prior.architecture.train.cores:
        at = prior.layout.slices[core.name]
        form = prior.core_curvature(theta, core.name)
        np.testing.assert_allclose(matrix[at, at] - np.diag(np.diag(matrix[at, at])), form - np.diag(np.diag(form)))
        moved = theta.copy()
        moved[at] = np.random.default_rng(0).standard_normal(core.size)
        assert prior.squared_norm(moved) == pytest.approx(moved[at] @ form @ moved[at], rel=1e-9)


def test_a_change_of_gauge_changes_its_own_share_only(problem: Problem, prior: Prior, theta: Array) -> None:
    parameters = prior.layout.unpack(theta)
    network = canonicalise(from_train(prior.architecture.train, parameters), "G2")
    train, weights = to_train(network)
    assert train.bonds == prior.architecture.train.bonds, "or the parameters would not fit"
    moved = prior.layout.pack(parameters | weights)
    assert prior.squared_norm(moved) == pytest.approx(prior.squared_norm(theta), rel=1e-10)
    sizes = prior.layout.pack(problem.scales)
    for at in (theta, moved):
        own = prior.value(at) - 0.5 * prior.squared_norm(at)
        assert own == pytest.approx(0.5 * GAUGE * np.sum((at / sizes) ** 2), rel=1e-9)


def test_the_stronger_the_smaller_the_norm(problem: Problem, theta: Array) -> None:
    """It falls with the norm, from a limit on that of models that have not grown yet."""
    small, large = 1e-3 * theta, 10.0 * theta
    assert problem.prior.squared_norm(small) < problem.prior.squared_norm(theta) < problem.prior.squared_norm(large)
    assert problem.strength(small) == pytest.approx(problem.strength(1e-6 * theta), rel=1e-3)
    assert problem.strength(large) < problem.strength(theta) < problem.strength(small)


def test_its_contribution_is_the_number_of_determined_parameters(problem: Problem, theta: Array) -> None:
    """Half of it, times a constant; fewer labels determine fewer parameters."""
    large = 1e3 * theta
    contribution = problem.strength(large) * 0.5 * problem.prior.squared_norm(large)
    n_labels = sum(
        int(np.isfinite(x).sum()) for piece in problem.train for x in (piece.energy, piece.forces, piece.stress)
    )
    assert contribution == pytest.approx(0.5 * PRIOR_SHARE / (1 / len(theta) + 1 / n_labels), rel=1e-6)
    unweighted = Problem(problem.architecture, Weights(energy=900.0, forces=0.0, stress=0.0), problem.train)
    assert unweighted.strength(large) < problem.strength(large)


def test_the_norm_to_expect(label: Callable[..., Atoms], make_alloy: Callable[..., Atoms]) -> None:
    """From whatever labels there are; of perfect crystals without any stress there is nothing to expect."""
    frames = [make_alloy(np.random.default_rng(k)) for k in range(3)]
    references = np.array([0.5, -0.2])

    def expect(*names: str) -> tuple[float, list[Atoms]]:
        labelled = [label(atoms.copy(), *names) for atoms in frames]
        pieces = cut_pieces(collect_labels(labelled), range(3), ("Cu", "Au"), 3.6)
        return usual_norm(pieces, references), labelled

    forces, labelled = expect("forces")
    assert forces == pytest.approx(np.mean([atoms.arrays["REF_forces"] ** 2 for atoms in labelled]))
    energy, labelled = expect("energy")
    excess = [
        (atoms.info["REF_energy"] - references[(atoms.numbers == 79).astype(int)].sum()) / len(atoms)
        for atoms in labelled
    ]
    assert energy == pytest.approx(np.mean(np.square(excess)))
    stress, labelled = expect("stress")
    works = [atoms.info["REF_stress"] * atoms.get_volume() / len(atoms) for atoms in labelled]
    assert stress == pytest.approx(np.mean(np.square(works)))
    assert expect("energy", "forces", "stress")[0] == pytest.approx(max(energy, forces, stress))

    crystal = bulk("Cu", a=3.7)
    crystal.arrays["REF_forces"] = np.full((1, 3), 1e-15)
    assert usual_norm(cut_pieces(collect_labels([crystal]), [0], ("Cu", "Au"), 3.6), references) == SMALLEST_NORM


def test_loss_and_gradient_hold_the_share_of_the_pieces(problem: Problem, theta: Array) -> None:
    piece = problem.train[:1]
    share = problem.share(piece)
    assert 0 < share < 1
    with_prior, without = problem.at(theta, piece, 3.0), problem.at(theta, piece, 0.0)
    assert with_prior.loss - without.loss == pytest.approx(3.0 * share * problem.prior.value(theta))
    difference = with_prior.gradient() - without.gradient()
    np.testing.assert_allclose(difference, 3.0 * share * problem.prior.gradient(theta), rtol=1e-6, atol=1e-8)
