"""What extrapolation grades do not depend on: gauge, backend, batch, threads, the frame of reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.network import canonicalise, from_train, to_train
from etn_gpu.plan.cores import sectors
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.grade import graded

from .graded import OTHERS, TRAINING, batch_of, grades_of, with_grade

Array = NDArray[np.float64]
MakePotential = Callable[..., ETNPotential]


@pytest.fixture(scope="module")
def plain(make_potential: MakePotential) -> ETNPotential:
    return make_potential(2, channels=(2, 1, 1))


@pytest.fixture(scope="module")
def model(plain: ETNPotential) -> ETNPotential:
    return with_grade(plain, TRAINING)


@pytest.mark.parametrize("centre", ["G1", "G2", "G3"])
def test_the_canonical_form_does_not_matter(plain: ETNPotential, model: ETNPotential, centre: str) -> None:
    network = canonicalise(from_train(plain.architecture.train, plain.parameters), centre)
    state = to_train(network)
    architecture = replace(plain.architecture, bonds=tuple(map(str, state.train.bonds)))
    other = ETNPotential(architecture, {**plain.parameters, **state.weights})
    core = plain.architecture.train.cores[0].name
    assert not np.array_equal(other.parameters[core], plain.parameters[core])
    found = grades_of(with_grade(other, TRAINING), OTHERS)
    np.testing.assert_allclose(found, grades_of(model, OTHERS), rtol=1e-5)


def regauged(potential: ETNPotential, rng: np.random.Generator) -> ETNPotential:
    """The same energies from site vectors whose channels are mixed by random matrices; the constant stays."""
    parameters = {name: np.array(values) for name, values in potential.parameters.items()}
    for sector in sectors(potential.architecture.feature):
        constant = int(sector.l == 0)
        n = sector.mul - constant
        mix = np.eye(n) + 0.4 * rng.normal(size=(n, n))
        parameters[f"B{sector.l}"] = np.tensordot(mix, parameters[f"B{sector.l}"], axes=1)
        if constant:
            parameters["A"] = mix @ parameters["A"]
        back = np.eye(sector.mul)
        back[constant:, constant:] = np.linalg.inv(mix)
        for core in potential.architecture.train.cores:
            for path in core.paths:
                if path.feature.l == sector.l:
                    weights = parameters[core.name]
                    weights[path.places] = weights[path.places] @ back
    return ETNPotential(potential.architecture, parameters)


def test_the_gauge_of_the_site_vector_does_not_matter(plain: ETNPotential, model: ETNPotential) -> None:
    other = regauged(plain, np.random.default_rng(0))
    old, new = (p.evaluate(OTHERS, backend="numpy") for p in (plain, other))
    for expected, result in zip(old, new, strict=True):
        assert result["energy"] == pytest.approx(expected["energy"], rel=1e-9)
    found = grades_of(with_grade(other, TRAINING), OTHERS)
    np.testing.assert_allclose(found, grades_of(model, OTHERS), rtol=1e-4)


def test_batches_of_the_training_set_do_not_matter(plain: ETNPotential, model: ETNPotential) -> None:
    parts = [batch_of(plain, TRAINING[k : k + 7]) for k in range(0, len(TRAINING), 7)]
    other = plain.with_grade(graded(plain, parts, backend="numpy"))
    np.testing.assert_allclose(grades_of(other, OTHERS), grades_of(model, OTHERS), rtol=1e-6)


def test_the_backend_of_the_training_set_does_not_matter(
    backend: str, plain: ETNPotential, model: ETNPotential
) -> None:
    other = with_grade(plain, TRAINING, backend=backend)
    np.testing.assert_allclose(grades_of(other, OTHERS), grades_of(model, OTHERS), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 5e-3)])
def test_backends_agree(backend: str, model: ETNPotential, dtype: str, tolerance: float) -> None:
    found = grades_of(model, [*OTHERS, *TRAINING], backend=backend, dtype=dtype)
    np.testing.assert_allclose(found, grades_of(model, [*OTHERS, *TRAINING]), rtol=tolerance)


def test_rotation_inversion_and_order_of_atoms(
    backend: str, model: ETNPotential, random_orthogonal: Callable[[int], Array]
) -> None:
    q, rng = random_orthogonal(1), np.random.default_rng(0)
    for atoms in OTHERS:
        order = rng.permutation(len(atoms))
        moved = Atoms(
            atoms.numbers[order], atoms.positions[order] @ q.T - 0.3, cell=atoms.cell.array @ q.T, pbc=atoms.pbc
        )
        before, after = (grades_of(model, [a], backend=backend) for a in (atoms, moved))
        np.testing.assert_allclose(after, before[order], rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_others_of_a_batch_and_what_else_is_asked_for_do_not_matter(
    backend: str, model: ETNPotential, dtype: str
) -> None:
    together = model.evaluate(OTHERS, backend=backend, dtype=dtype)
    for atoms, expected in zip(OTHERS, together, strict=True):
        for gradients in (True, False):
            (alone,) = model.evaluate(atoms, forces=gradients, stress=gradients, backend=backend, dtype=dtype)
            assert alone["extrapolation_grade"] == expected["extrapolation_grade"]
            assert np.array_equal(alone["extrapolation_grades"], expected["extrapolation_grades"])
            assert ("forces" in alone) is gradients


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_threads_do_not_matter(model: ETNPotential, dtype: str) -> None:
    large = TRAINING[0].repeat((4, 5, 5))
    large.rattle(0.2, seed=3)
    one, two = (grades_of(model, [large], backend="numba", dtype=dtype, threads=n) for n in (1, 2))
    assert np.array_equal(one, two)


def test_energies_and_forces_are_those_without_a_grade(backend: str, model: ETNPotential, plain: ETNPotential) -> None:
    without = plain.evaluate(OTHERS, backend=backend)
    for result, expected in zip(model.evaluate(OTHERS, backend=backend), without, strict=True):
        assert result.keys() == expected.keys() | {"extrapolation_grade", "extrapolation_grades"}
        for name, values in expected.items():
            scale = 1.0 + np.abs(values).max()
            np.testing.assert_allclose(result[name], values, rtol=0, atol=1e-11 * scale, err_msg=name)
