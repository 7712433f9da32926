"""Gains against dense determinants."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.potential.grade import ExtrapolationGrade
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.selection import select
from etn_gpu.selection.information import CERTAIN, Information
from etn_gpu.structures import StructureBatch
from tests.selection.conftest import Case

Features = dict[int, NDArray[np.float64]]


def dense_gain(grade: ExtrapolationGrade, known: list[Features], new: Features) -> float:
    """The growth of log det of the information by ``new``, in the features [m, n] of its species themselves."""
    return log_det(grade, [*((CERTAIN, features) for features in known), (1.0, new)]) - log_det(
        grade, [(CERTAIN, features) for features in known]
    )


def log_det(grade: ExtrapolationGrade, structures: list[tuple[float, Features]]) -> float:
    """The sum over species of log det of the information of the training set and of structures with weights."""
    total = 0.0
    for z in range(len(grade.atoms)):
        factor, largest = grade.factors[z], grade.largest[z]
        information = grade.atoms[z] * np.linalg.inv(factor.T @ factor) / largest**2
        for weight, features in structures:
            if z in features:
                information = information + weight * features[z].T @ features[z]
        total += np.linalg.slogdet(information)[1]
    return total


def features_of(case: Case) -> list[Features]:
    """Features of the pool, species by species."""
    batch = StructureBatch.build(case.pool, case.model.species, case.model.cutoff)
    b = Kernel(case.model.architecture, Execution("numpy")).features(case.model.parameters, Environments.of(batch))
    out = []
    for first, end in zip(batch.atom_offsets[:-1], batch.atom_offsets[1:], strict=True):
        species = batch.species_index[first:end]
        out.append({int(z): b[first:end][species == z] for z in np.unique(species)})
    return out


@pytest.mark.parametrize("atoms", [3, 12])
def test_gain_is_the_growth_of_log_det(atoms: int) -> None:
    """Also for structures with more atoms than there are features."""
    rng = np.random.default_rng(atoms)
    grade = ExtrapolationGrade(rng.normal(size=(2, 7, 7)), np.array([40.0, 9.0]), np.array([2.0, 3.0]))
    structures = [{0: rng.normal(size=(atoms, 7)), 1: rng.normal(size=(2, 7))}, {1: rng.normal(size=(atoms, 7))}]
    information = Information(grade)
    known: list[Features] = []
    for features in structures * 2:
        surroundings = {z: rows @ grade.factors[z].T for z, rows in features.items()}
        assert information.gain(surroundings) == pytest.approx(dense_gain(grade, known, features), rel=1e-9)
        information.add(surroundings)
        known.append(features)


def test_choice_is_that_of_computing_every_gain_anew(case: Case, backend: str) -> None:
    grade, features = case.model.grade, features_of(case)
    assert grade is not None
    expected: list[int] = []
    gains: list[float] = []
    for _ in range(8):
        known = [features[i] for i in expected]
        each = [-np.inf if i in expected else dense_gain(grade, known, features[i]) for i in range(len(features))]
        expected.append(int(np.argmax(each)))
        gains.append(max(each))
    choices = select(case.model, case.pool, 8, backend=backend, largest_grade=1e6)
    assert [choice.index for choice in choices] == expected
    # Features themselves are ill-conditioned, which bounds what the dense computation is good for.
    np.testing.assert_allclose([choice.gain for choice in choices], gains, rtol=1e-4)


def test_an_element_without_training_data_is_all_news() -> None:
    """One of its atoms tells more than one of an element that is known."""
    eye = np.eye(4)
    grade = ExtrapolationGrade(np.stack([eye, 1e3 * eye]), np.array([50.0, 0.0]), np.array([1.0, 0.0]))
    information = Information(grade)
    row = np.ones((1, 4))
    assert information.gain({1: row @ grade.factors[1]}) > 100.0 * information.gain({0: row @ grade.factors[0]})
