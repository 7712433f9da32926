"""Loss, gradient and rows of the Jacobian of dipoles and quantities of atoms, against their definitions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.errors import DataError
from etn_gpu.network import MessageLayer
from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.structures import LabelledSet, collect_labels
from etn_gpu.structures.targets import Target
from etn_gpu.training.covariant_labels import mean_values, target_weight
from etn_gpu.training.covariant_objective import CovariantErrors, CovariantObjective
from etn_gpu.training.covariant_rows import CovariantRows
from etn_gpu.training.curvature import atoms_in_rows, gauss_newton_matrix
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.objective import Weights, count_labels, in_proportion
from etn_gpu.training.partial import PartialKernel
from etn_gpu.training.tolerance import with_tolerances
from tests.training.charged_molecules import CUTOFF, DIPOLE, SHIFTS, SPECIES, VECTORS, molecules

Array = NDArray[np.float64]
WEIGHTS = Weights(0.0, 0.0, 0.0, target=50.0)
TARGETS = pytest.mark.parametrize("target", [DIPOLE, VECTORS, SHIFTS], ids=str)


@cache
def labels(target: Target) -> LabelledSet:
    """Five molecules; the second has no label, and the first atom of the third lacks its own."""
    structures = molecules(5, seed=3)
    structures[1].info.clear()
    for name in ("vectors", "shifts"):
        del structures[1].arrays[name]
        structures[2].arrays[name][0] = np.nan
    return collect_labels(structures, target=target)


def architecture(target: Target) -> Architecture:
    irreps = "1x0e" if target == SHIFTS else "1x1o"
    return Architecture(SPECIES, CUTOFF, 0.5, 2, (2, 1), 2, 2, ("1x0e+1x1o", "1x0e+1x1o"), irreps)


@cache
def pieces(target: Target) -> list[Piece]:
    """In two pieces."""
    cut = cut_pieces(labels(target), range(5), SPECIES, CUTOFF, piece_atoms=10)
    assert len(cut) > 1
    return with_tolerances(cut, np.zeros(2))


def theta_for(target: Target) -> Array:
    return 0.4 * np.random.default_rng(3).normal(size=architecture(target).n_parameters)


def objective_of(target: Target, backend: str = "numpy") -> CovariantObjective:
    return CovariantObjective(Kernel(architecture(target), Execution(backend)), WEIGHTS)


def rows_of(target: Target, backend: str = "numpy") -> CovariantRows:
    return CovariantRows(Kernel(architecture(target), Execution(backend)))


def expected_errors(target: Target, theta: Array) -> Array:
    """Model minus labels by the potential itself, Cartesian components of all structures or atoms."""
    objective, found = objective_of(target), labels(target)
    assert found.target is not None
    quantity = found.target.quantity
    model = ETNPotential(architecture(target), objective.layout.unpack(theta), quantity=quantity)
    out = []
    for atoms, label in zip(found.atoms, found.target.values, strict=True):
        predicted = model.evaluate(atoms, backend="numpy")[0][target.name]
        out.append(np.atleast_1d(np.full_like(predicted, np.nan) if label is None else predicted - label))
    return np.concatenate(out).reshape(-1, 3 if quantity.is_vector else 1)


@TARGETS
def test_errors_and_loss(backend: str, target: Target) -> None:
    """Of a dipole, errors count per atom."""
    theta, objective = theta_for(target), objective_of(target, backend)
    expected = expected_errors(target, theta)
    found = objective.joined([objective.errors(theta, piece) for piece in pieces(target)])
    vector = target != SHIFTS
    order = [1, 2, 0] if vector else [0]
    np.testing.assert_allclose(found.components, expected[:, order], rtol=1e-10, atol=1e-11)
    assert np.isnan(found.components).any()
    sizes = np.array([[len(a)] for a in labels(target).atoms]) if target == DIPOLE else 1
    loss = 25.0 * np.nansum((expected / sizes) ** 2)
    assert objective.loss_and_gradient(theta, pieces(target))[0] == pytest.approx(loss, rel=1e-10)


def test_errors_of_lengths() -> None:
    theta, objective = theta_for(VECTORS), objective_of(VECTORS)
    piece = pieces(VECTORS)[0]
    assert piece.target is not None
    errors = objective.errors(theta, piece)
    predicted = piece.target.values + errors.components
    lengths = np.linalg.norm(predicted, axis=1) - np.linalg.norm(piece.target.values, axis=1)
    np.testing.assert_allclose(errors.lengths, lengths, atol=1e-12)
    assert set(errors.named()) == {"target", "target_length"}
    assert set(objective_of(SHIFTS).errors(theta_for(SHIFTS), pieces(SHIFTS)[0]).named()) == {"target"}


def directions(theta: Array) -> Array:
    """Three random ones, a row each."""
    return np.random.default_rng(7).normal(size=(3, len(theta)))


@TARGETS
def test_gradient(backend: str, target: Target) -> None:
    """Along random directions, against central differences of the loss."""
    theta, objective, step = theta_for(target), objective_of(target, backend), 1e-5
    _, gradient = objective.loss_and_gradient(theta, pieces(target))

    def loss(at: Array) -> float:
        return objective.loss(pieces(target), [objective.errors(at, piece) for piece in pieces(target)])

    slopes = [(loss(theta + step * d) - loss(theta - step * d)) / (2 * step) for d in directions(theta)]
    np.testing.assert_allclose(directions(theta) @ gradient, slopes, rtol=1e-6)


def known_components(piece: Piece) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places and components of all labels."""
    assert piece.target is not None
    known, width = np.flatnonzero(np.isfinite(piece.target.values)), piece.target.values.shape[1]
    return known // width, known % width


@TARGETS
def test_rows(backend: str, target: Target) -> None:
    """Every row, of one component of a structure or an atom, against central differences of the errors."""
    theta, rows, objective, step = theta_for(target), rows_of(target, backend), objective_of(target, backend), 1e-5
    for piece in pieces(target):
        places, components = known_components(piece)
        found = rows.components(theta, piece, places, components)
        assert found.shape == (len(places), len(theta))
        for d in directions(theta):
            high, low = (objective.errors(theta + sign * step * d, piece).components for sign in (1, -1))
            slopes = ((high - low) / (2 * step))[places, components]
            np.testing.assert_allclose(found @ d, slopes, rtol=1e-6, atol=1e-8 * np.abs(slopes).max())


@TARGETS
def test_the_gauss_newton_matrix(target: Target) -> None:
    """From all rows it is J^T W J; a block of it has the rows and columns of its parameters."""
    theta, rows = theta_for(target), rows_of(target)
    expected = np.zeros((len(theta), len(theta)))
    for piece in pieces(target):
        assert piece.target is not None
        places, components = known_components(piece)
        jacobian = rows.components(theta, piece, places, components) / piece.target.tolerances(piece)[places, None]
        expected += 50.0 * jacobian.T @ jacobian
    options: dict[str, Any] = {
        "rng": np.random.default_rng(0),
        "force_rows": count_labels(WEIGHTS, pieces(target)),
        "stress_rows": 0,
    }
    full = gauss_newton_matrix(rows, WEIGHTS, theta, pieces(target), **options)
    np.testing.assert_allclose(full, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    columns = np.array([3, 0, 7])
    block = gauss_newton_matrix(rows, WEIGHTS, theta, pieces(target), columns=columns, **options)
    np.testing.assert_allclose(block, full[np.ix_(columns, columns)], rtol=1e-4, atol=1e-5 * np.abs(full).max())


def test_some_rows_are_all_in_the_mean() -> None:
    theta, rows, rng = theta_for(SHIFTS), rows_of(SHIFTS), np.random.default_rng(0)
    some = pieces(SHIFTS)[:1]
    count = count_labels(WEIGHTS, some)
    whole, *samples = (
        np.trace(gauss_newton_matrix(rows, WEIGHTS, theta, some, rng, force_rows=n, stress_rows=0))
        for n in (count, *[count // 2] * 20)
    )
    assert np.std(samples) > 0.05 * whole
    assert np.mean(samples) == pytest.approx(whole, abs=4 * np.std(samples) / np.sqrt(20))


def test_rows_where_messages_are_passed(backend: str) -> None:
    """Of a structure and of an atom, whose output depends on all of its structure; with the gradient they make."""
    layer = MessageLayer("2x0e+1x1o", ("1x0e+1x1o",), 1, 2)
    step = 1e-5
    for target in (DIPOLE, VECTORS):
        layered = replace(architecture(target), layers=(layer,))
        kernel = Kernel(layered, Execution(backend))
        rows, objective = CovariantRows(kernel), CovariantObjective(kernel, WEIGHTS)
        theta = 0.4 * np.random.default_rng(3).normal(size=layered.n_parameters)
        piece = pieces(target)[0]
        places, components = known_components(piece)
        found = rows.components(theta, piece, places, components)
        for d in directions(theta):
            high, low = (objective.errors(theta + sign * step * d, piece).components for sign in (1, -1))
            slopes = ((high - low) / (2 * step))[places, components]
            np.testing.assert_allclose(found @ d, slopes, rtol=1e-5, atol=1e-7 * np.abs(slopes).max())
        errors = objective.errors(theta, piece)
        assert piece.target is not None
        weighed = 50.0 * errors.components[places, components] / piece.target.tolerances(piece)[places] ** 2
        gradient = objective.gradient(theta, [piece], [errors])
        np.testing.assert_allclose(gradient, weighed @ found, rtol=1e-8, atol=1e-8 * np.abs(gradient).max())


def test_atoms_in_rows() -> None:
    """All atoms of a structure for each of three components of a dipole, one atom for each component of its own."""
    known = [a for k, a in enumerate(labels(DIPOLE).atoms) if k != 1]
    assert atoms_in_rows(WEIGHTS, pieces(DIPOLE), force_rows=999, stress_rows=0) == 3 * sum(map(len, known))
    assert atoms_in_rows(WEIGHTS, pieces(VECTORS), force_rows=999, stress_rows=0) == 3 * (sum(map(len, known)) - 1)


def test_gradients_of_some_parameters(backend: str) -> None:
    """What sweeps take: those of other parameters are zero."""
    theta, names = theta_for(DIPOLE), ("G2",)
    partial = CovariantObjective(PartialKernel(architecture(DIPOLE), Execution(backend), names), WEIGHTS)
    _, found = partial.loss_and_gradient(theta, pieces(DIPOLE))
    _, whole = objective_of(DIPOLE).loss_and_gradient(theta, pieces(DIPOLE))
    at = partial.layout.slices["G2"]
    np.testing.assert_allclose(found[at], whole[at], rtol=1e-9, atol=1e-9 * np.abs(whole).max())
    assert not np.delete(found, np.r_[at]).any()


@TARGETS
def test_predictions_that_overflow_make_the_loss_infinite(target: Target) -> None:
    objective, theta = objective_of(target), 1e200 * theta_for(target)
    assert objective.loss_and_gradient(theta, pieces(target))[0] == np.inf
    for piece in pieces(target):
        assert piece.target is not None
        missing = np.isnan(piece.target.values)
        np.testing.assert_array_equal(np.isnan(objective.errors(theta, piece).components), missing)


def test_a_missing_label_has_no_influence() -> None:
    alone = collect_labels([labels(DIPOLE).atoms[1], labels(DIPOLE).atoms[0]], target=DIPOLE)
    piece, *_ = with_tolerances(cut_pieces(alone, [0, 1], SPECIES, CUTOFF), np.zeros(2))
    without, *_ = with_tolerances(cut_pieces(alone, [1], SPECIES, CUTOFF), np.zeros(2))
    objective, theta = objective_of(DIPOLE), theta_for(DIPOLE)
    one, two = (objective.loss_and_gradient(theta, [p]) for p in (piece, without))
    assert one[0] == pytest.approx(two[0], rel=1e-12)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-10, atol=1e-10)


def test_errors_of_some_structures_and_their_atoms() -> None:
    rng = np.random.default_rng(0)
    components, lengths = rng.normal(size=(4, 3)), rng.normal(size=4)
    for per_atom, rows in ((True, [3, 1]), (False, [2])):
        some = CovariantErrors(components, lengths, per_atom).of(np.array([2]), np.array([3, 1]))
        np.testing.assert_array_equal(some.components, components[rows])
        np.testing.assert_array_equal(some.lengths, lengths[rows])
    errors = CovariantErrors(components, lengths, False)
    np.testing.assert_allclose(errors.over(np.full(9, 7.0), np.full(4, 2.0)).components, components / 2)
    assert in_proportion(errors, []) is errors


def test_weights_and_means_follow_from_the_labels() -> None:
    """The same in every unit, and of numbers without what species have in the mean."""
    found = labels(SHIFTS).target
    assert found is not None
    values = np.concatenate([v for v in found.values if v is not None])
    symbols = np.concatenate(
        [a.symbols for a, v in zip(labels(SHIFTS).atoms, found.values, strict=True) if v is not None]
    )
    known = np.isfinite(values)
    means = [values[known & (symbols == s)].mean() for s in SPECIES]
    np.testing.assert_allclose(mean_values(pieces(SHIFTS), 2), means, rtol=1e-12)
    excess = values - np.array(means)[(symbols == "C").astype(int)]
    assert target_weight(pieces(SHIFTS), 2) == pytest.approx(1 / (0.02**2 * np.nanmean(excess**2)))
    moments = [v / len(a) for a, v in zip(labels(DIPOLE).atoms, found_values(DIPOLE), strict=True) if v is not None]
    assert target_weight(pieces(DIPOLE), 2) == pytest.approx(1 / (0.02**2 * np.mean(np.square(moments))))
    assert not mean_values(pieces(VECTORS), 2).any()


def found_values(target: Target) -> list[Array | None]:
    found = labels(target).target
    assert found is not None
    return found.values


def test_labels_that_are_all_alike_have_a_weight() -> None:
    zero = collect_labels([Atoms("H2", [[0, 0, 0], [0, 0, 1]], info={"dipole": np.zeros(3)})], target=DIPOLE)
    assert target_weight(cut_pieces(zero, [0], SPECIES, CUTOFF), 2) == 1.0


def test_a_label_that_no_calculation_gives() -> None:
    wild = collect_labels([Atoms("H2", [[0, 0, 0], [0, 0, 1]], info={"dipole": [0, 0, 1e12]})], target=DIPOLE)
    with pytest.raises(
        DataError, match=r"structure 0 \(counted from 0\): a label is 1e\+12 \(dipole .*expected at most"
    ):
        cut_pieces(wild, [0], SPECIES, CUTOFF)
