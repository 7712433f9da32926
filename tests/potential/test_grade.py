"""The extrapolation grade: 1 or less on the training set, more outside, whatever the gauge, backend and batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.backend.terms import SiteTerms
from etn_gpu.errors import NetworkError
from etn_gpu.potential import PRESETS, ETNPotential, preset_architecture
from etn_gpu.potential.grade import (
    NOT_SEEN,
    TEMPER,
    THRESHOLD,
    ExtrapolationGrade,
    check_threshold,
    graded,
    structure_grades,
)
from etn_gpu.potential.grade_program import n_features
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.potential.selfcheck import check_structures
from etn_gpu.potential.terms import Terms

from .graded import OTHERS, TRAINING, batch_of, crystals, grades_of, with_grade

Array = NDArray[np.float64]
MakePotential = Callable[..., ETNPotential]
MakeStructures = Callable[[int], dict[str, Atoms]]
LACKS = (
    r"has nothing to tell an extrapolation grade by; `etn-gpu grade MODEL train\.extxyz --output NEW\.etn` adds that"
)


@pytest.fixture(scope="module")
def plain(make_potential: MakePotential) -> ETNPotential:
    return make_potential(2, channels=(2, 1, 1))


@pytest.fixture(scope="module")
def model(plain: ETNPotential) -> ETNPotential:
    return with_grade(plain, TRAINING)


# -- what a grade is ---------------------------------------------------------------------------------------------------


def test_training_atoms_have_grades_up_to_1(backend: str, model: ETNPotential) -> None:
    for dtype, tolerance in (("float64", 1e-9), ("float32", 2e-3)):
        found = grades_of(model, TRAINING, backend=backend, dtype=dtype)
        species = np.concatenate([atoms.numbers for atoms in TRAINING])
        for number in (13, 28):
            assert found[species == number].max() == pytest.approx(1.0, abs=tolerance)
            assert (found[species == number] > 0.0).all()
    assert model.grade is not None
    assert model.grade.atoms.tolist() == [(species == 13).sum(), (species == 28).sum()]


def test_grades_are_those_of_the_formula(plain: ETNPotential, model: ETNPotential) -> None:
    """Leverages over the weighted second moment of the features of the same species.

    A pseudoinverse, for in a network of order 3 the adjoints of scalar channels are combinations of the spectrum.
    """
    kernel = Kernel(plain.architecture, Execution("numpy"))
    (train, others) = (batch_of(plain, structures) for structures in (TRAINING, OTHERS))
    b, c = (kernel.features(plain.parameters, Environments.of(batch)) for batch in (train, others))
    found = grades_of(model, OTHERS)
    for z in range(2):
        rows, new = b[train.species_index == z], c[others.species_index == z]
        scale = np.sqrt(np.mean(rows**2, axis=0))
        rows, new = rows / scale, new / scale

        def leverages(of: Array, weights: Array, rows: Array = rows) -> Array:
            moment = (weights[:, None] * rows).T @ rows / weights.sum()
            return np.einsum("ij,ij->i", of @ np.linalg.pinv(moment, rcond=1e-12, hermitian=True), of)

        weights = leverages(rows, np.ones(len(rows))) ** TEMPER
        largest = np.sqrt(leverages(rows, weights).max())
        expected = np.sqrt(leverages(new, weights)) / largest
        np.testing.assert_allclose(found[others.species_index == z], expected, rtol=1e-4)
        assert model.grade is not None
        assert model.grade.largest[z] == pytest.approx(largest, rel=1e-4)


def test_what_is_new_has_high_grades(make_potential: MakePotential) -> None:
    model = with_grade(make_potential(2), crystals(200, rattle=0.15))
    similar = crystals(20, seed=1, rattle=0.1)
    results = model.evaluate([*similar, *OTHERS[-4:]], backend="numpy")
    grades = [result["extrapolation_grade"] for result in results]
    for result in results:
        assert result["extrapolation_grade"] == result["extrapolation_grades"].max()
        assert result.extrapolating is (result["extrapolation_grade"] > THRESHOLD)
    assert np.quantile(grades[:20], 0.9) < 1.0
    assert min(grades[20:]) > 3.0


def test_a_species_that_training_did_not_have(plain: ETNPotential) -> None:
    pure = crystals(60, seed=4)
    for atoms in pure:
        atoms.symbols[:] = "Al"
    model = with_grade(plain, pure)
    assert model.grade is not None
    assert model.grade.atoms.tolist() == [240, 0]
    mixed = pure[0].copy()
    mixed.symbols[2] = "Ni"
    found = grades_of(model, [mixed])
    # one of the features is 1
    assert found[2] >= NOT_SEEN
    assert grades_of(model, pure).max() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "structures", [[bulk("Al", a=4.0)], [bulk("Al", a=4.0)] * 3, [Atoms("Al")]], ids=["one", "copies", "isolated atom"]
)
def test_a_training_set_of_one_environment(plain: ETNPotential, structures: list[Atoms]) -> None:
    """Whatever is not the same is far outside, in every direction."""
    model = with_grade(plain, structures)
    assert grades_of(model, structures).max() == pytest.approx(1.0, abs=1e-6)
    for scale in (0.97, 1.03):
        strained = bulk("Al", a=4.0 * scale)
        assert grades_of(model, [strained]).min() > 10.0
    sheared = bulk("Al", a=4.0)
    sheared.set_cell(sheared.cell.array @ [[1.0, 0.05, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], scale_atoms=True)
    assert grades_of(model, [sheared]).min() > 3.0


def test_more_training_data_lower_grades(plain: ETNPotential, model: ETNPotential) -> None:
    """Structures that are added to the training set are inside of it."""
    more = with_grade(plain, [*TRAINING, *OTHERS])
    assert grades_of(model, OTHERS).max() > 10.0
    assert grades_of(more, [*TRAINING, *OTHERS]).max() == pytest.approx(1.0, abs=1e-6)


# -- terms beside the network ------------------------------------------------------------------------------------------

TERMS = Terms(
    np.full((2, 2, 2), [0.6, 1.8]),
    np.full((2, 4), [0.4, 1.2, 3.2, 4.7]),
    np.full((2, 2, 2), [1.0, 2.0]),
    np.full((2, 4), [-1.0, 3.0, 2.5, 0.0]),
    np.full((2, 4), [-1e6, -1e5, 1e5, 1e6]),
)


def test_grades_where_the_network_loses_its_weight(backend: str, plain: ETNPotential) -> None:
    """(1 - g)/g is added to the grade; features are the network's own, as if nothing stood beside it."""
    model = with_grade(plain, TRAINING)
    both = model.with_terms(TERMS)
    structures = [*OTHERS, *(bulk("Al", a=a) for a in (3.3, 3.5, 3.7, 4.0, 4.9))]
    environments = Environments.of(batch_of(plain, structures))
    assert both.term_tables is not None
    weights = SiteTerms(both.term_tables, environments.geometry, environments.vectors).weights
    assert ((weights > 0.01) & (weights < 0.99)).any()
    assert (weights == 0.0).any()
    assert (weights == 1.0).any()
    rise = (1.0 - weights) / np.maximum(weights, 1e-3)
    found = grades_of(both, structures, backend=backend)
    network = grades_of(model, structures, backend=backend)
    assert np.array_equal(found[weights == 1.0], network[weights == 1.0])
    assert (found >= rise).all()
    assert (found[weights < 0.4] > THRESHOLD).all()
    assert (found[weights == 0.0] >= 999.0).all()


@pytest.mark.parametrize("pair", [False, True])
def test_grades_are_continuous(backend: str, plain: ETNPotential, pair: bool) -> None:
    """Along a compression or a pair that is pushed together, from whole weight to none."""
    model = with_grade(plain, TRAINING).with_terms(TERMS)

    def steps(count: int) -> Array:
        if pair:
            path = [Atoms("Al2", [[0.0] * 3, [0.0, 0.0, r]]) for r in np.linspace(1.2, 2.1, count)]
        else:
            path = [bulk("Al", a=a) for a in np.linspace(3.6, 4.1, count)]
        return np.abs(np.diff([r["extrapolation_grade"] for r in model.evaluate(path, backend=backend)]))

    large, small = steps(101), steps(401)
    assert 0.0 < small.max() < 0.4 * large.max()


# -- interface and errors ----------------------------------------------------------------------------------------------


def test_grades_on_request(backend: str, model: ETNPotential) -> None:
    (without,) = model.evaluate(OTHERS[0], grade=False, backend=backend)
    assert "extrapolation_grade" not in without
    (asked,) = model.evaluate(OTHERS[0], grade=True, backend=backend)
    assert "extrapolation_grade" in asked


def test_the_threshold_decides(model: ETNPotential) -> None:
    (result,) = model.evaluate(OTHERS[6], backend="numpy")
    grade = result["extrapolation_grade"]
    for factor in (0.99, 1.01):
        (found,) = model.evaluate(OTHERS[6], threshold=factor * grade, backend="numpy")
        assert found.extrapolating is (factor < 1.0)


def test_a_potential_without_grades(plain: ETNPotential) -> None:
    (result,) = plain.evaluate(OTHERS[0], backend="numpy")
    assert "extrapolation_grade" not in result
    with pytest.raises(NetworkError, match=LACKS):
        plain.evaluate(OTHERS[0], grade=True)


@pytest.mark.parametrize("threshold", [0.99, 0.0, -1.0, np.nan])
def test_a_threshold_below_1(model: ETNPotential, threshold: float) -> None:
    message = "the threshold of the extrapolation grade must be 1 or more, got"
    with pytest.raises(NetworkError, match=message):
        check_threshold(threshold)
    with pytest.raises(NetworkError, match=message):
        model.evaluate(OTHERS[0], threshold=threshold)
    assert check_threshold(1) == 1.0
    assert check_threshold(np.inf) == np.inf


def test_nothing_to_learn_from(plain: ETNPotential, make_potential: MakePotential) -> None:
    with pytest.raises(NetworkError, match="there are no atoms to take a grade from; give the structures the model"):
        graded(plain, [])
    vector = make_potential(2, target="1x1o")
    with pytest.raises(NetworkError, match="covariant output 1x1o"):
        graded(vector, [batch_of(vector, TRAINING[:1])])


def test_a_grade_of_another_potential(model: ETNPotential, make_potential: MakePotential) -> None:
    assert model.grade is not None
    for other in (make_potential(4), make_potential(2, channels=(2, 2, 2))):
        with pytest.raises(NetworkError, match=r"the grade's factors have the shape \(2, 19, 19\), expected"):
            other.with_grade(model.grade)
    with pytest.raises(NetworkError, match="grades are of energies; this potential has the covariant output 1x1o"):
        make_potential(2, target="1x1o").with_grade(model.grade)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": np.zeros((2, 3, 4))}, "have the shapes"),
        ({"factors": np.zeros((3, 3))}, "have the shapes"),
        ({"atoms": np.zeros(3)}, "have the shapes"),
        ({"largest": np.zeros((2, 1))}, "have the shapes"),
        ({"factors": np.full((2, 3, 3), np.nan)}, "the grade's factors holds negative, NaN or infinite values"),
        ({"atoms": np.array([1.0, -1.0])}, "the grade's atoms holds negative, NaN or infinite values"),
        ({"largest": np.array([1.0, np.inf])}, "the grade's largest holds negative, NaN or infinite values"),
    ],
)
def test_numbers_that_are_no_grade(changes: dict[str, Array], message: str) -> None:
    good = {"factors": -np.ones((2, 3, 3)), "atoms": np.ones(2), "largest": np.ones(2)}
    ExtrapolationGrade(**good)
    with pytest.raises(NetworkError, match=message):
        ExtrapolationGrade(**{**good, **changes})


def test_grades_are_values_that_never_change(model: ETNPotential) -> None:
    grade = model.grade
    assert grade is not None
    same = ExtrapolationGrade(grade.factors, grade.atoms, grade.largest)
    assert same == grade
    assert same != ExtrapolationGrade(grade.factors, grade.atoms + 1.0, grade.largest)
    assert grade != "grade"
    with pytest.raises(ValueError, match="read-only"):
        grade.factors[0, 0, 0] = 1.0


def test_the_largest_of_each_structure() -> None:
    grades, offsets = np.array([1.0, 3.0, 2.0, 0.5]), np.array([0, 3, 4])
    assert structure_grades(grades, offsets).tolist() == [3.0, 0.5]
    assert structure_grades(np.zeros(0), np.zeros(1, np.int64)).tolist() == []


def test_other_parts_are_kept(model: ETNPotential) -> None:
    both = model.with_terms(TERMS)
    assert both.grade == model.grade
    assert both.with_grade(None).terms == TERMS
    assert both.with_terms(None).grade == model.grade


# -- presets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "name"),
    [("small", "numpy"), ("standard", "numpy"), ("large", "numpy")]
    + [pytest.param(preset, "numba", marks=pytest.mark.slow) for preset in PRESETS],
)
def test_presets(preset: str, name: str) -> None:
    species = ("Mo", "Nb", "Ta", "W")
    architecture = preset_architecture(preset, species, 5.0, 1.8)
    rng = np.random.default_rng(0)
    parameters = {name: 0.1 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    structures = check_structures(species, architecture.cutoff)
    model = with_grade(ETNPotential(architecture, parameters), structures, backend=name)
    assert model.grade is not None
    assert model.grade.factors.shape == (4, n_features(architecture), n_features(architecture))
    assert grades_of(model, structures, backend=name).max() == pytest.approx(1.0, abs=1e-6)
    assert grades_of(model, structures, backend=name, dtype="float32").max() == pytest.approx(1.0, abs=0.1)
