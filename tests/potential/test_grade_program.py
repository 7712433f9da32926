"""Features of sites and their leverage as steps of Programs, against dense NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network import from_train
from etn_gpu.plan import ProgramBuilder
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.grade_program import FACTORS, MOST_LOST, n_features, site_grades
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]
MakePotential = Callable[..., ETNPotential]
MakeStructures = Callable[[int], dict[str, Atoms]]


def environments_of(potential: ETNPotential, structures: list[Atoms]) -> Environments:
    return Environments.of(StructureBatch.build(structures, potential.species, potential.cutoff))


def site_vectors(potential: ETNPotential, environments: Environments) -> Array:
    """The site vectors v [N, dim]."""
    program = ProgramBuilder(potential.program).build({"e": potential.program.output_names["e"], "v": "v"})
    flat = {name: np.ravel(values) for name, values in potential.parameters.items()}
    inputs = {"x": environments.vectors, **flat}
    out = backends.run(program, inputs, environments.geometry, backend="numpy", dtype="float64")
    return np.asarray(out["v"], np.float64)


def full_tensor(potential: ETNPotential) -> Array:
    """The coefficient tensor of the energy with one axis for each site vector."""
    train = potential.architecture.train
    network = from_train(train, potential.parameters)
    order = ["source", *(f"feature{t + 1}" for t in range(train.order)), "target"]
    return tn.to_dense(tn.permute(network.to_tensor(), order))[0, ..., 0]


def polynomial(tensor: Array, v: Array) -> float:
    """Energy of one site beyond its reference."""
    for _ in range(tensor.ndim):
        tensor = tensor @ v
    return float(tensor)


def dense_features(potential: ETNPotential, v: Array) -> Array:
    """Features of one site, with the adjoint from finite differences, which are exact for polynomials of degree 4."""
    tensor, step = full_tensor(potential), 0.5
    adjoint = np.zeros(len(v))
    for k in range(len(v)):
        near, far = (
            polynomial(tensor, v + m * step * np.eye(len(v))[k]) - polynomial(tensor, v - m * step * np.eye(len(v))[k])
            for m in (1, 2)
        )
        adjoint[k] = (8 * near - far) / (12 * step)
    spectrum: list[float] = []
    mixing: list[float] = []
    irreps = potential.architecture.feature
    for (mul, ir), place in zip(irreps, irreps.slices(), strict=True):
        channels, adjoints = (values[place].reshape(mul, 2 * ir.l + 1) for values in (v, adjoint))
        spectrum += [float(channels[n] @ channels[m]) for n in range(mul) for m in range(n, mul)]
        mixing += [float(channels[n] @ adjoints[m]) for n in range(mul) for m in range(mul)]
    return np.array(spectrum + mixing)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 3e-5)])
def test_features_are_those_of_the_formula(
    backend: str, potential: ETNPotential, structures: dict[str, Atoms], dtype: str, tolerance: float
) -> None:
    environments = environments_of(potential, list(structures.values()))
    kernel = Kernel(potential.architecture, Execution(backend, dtype))
    found = kernel.features(potential.parameters, environments)
    assert found.dtype == np.float64
    assert found.shape == (environments.geometry.n_atoms, n_features(potential.architecture))
    vectors = site_vectors(potential, environments)
    for atom in range(0, len(vectors), 5):
        expected = dense_features(potential, vectors[atom])
        np.testing.assert_allclose(found[atom], expected, rtol=0, atol=tolerance * np.abs(expected).max())


@given(
    channels=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    bonds=st.lists(st.sampled_from(["2x0e", "1x0e+1x1o", "2x0e+1x1o+1x2e"]), min_size=1, max_size=3).map(tuple),
)
@settings(max_examples=15)
def test_features_of_any_architecture(
    make_potential: MakePotential, make_structures: MakeStructures, channels: tuple[int, ...], bonds: tuple[str, ...]
) -> None:
    channels = (*channels[:-1], max(channels[-1], 1))
    try:
        potential = make_potential(2, channels=channels, bonds=bonds)
    except NetworkError:  # ranks that allow no path, or too few to scale random numbers by
        return
    environments = environments_of(potential, [make_structures(2)["tiny skewed"]])
    found = Kernel(potential.architecture, Execution("numpy")).features(potential.parameters, environments)
    vectors = site_vectors(potential, environments)
    for features, v in zip(found, vectors, strict=True):
        expected = dense_features(potential, v)
        assert len(features) == len(expected) == n_features(potential.architecture)
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 3e-5)])
def test_squares_beside_energies_and_gradients(
    backend: str, potential: ETNPotential, structures: dict[str, Atoms], dtype: str, tolerance: float
) -> None:
    """The graded Program: |F[z] b|^2 with the factors of the species of the site, and all else as without."""
    environments = environments_of(potential, list(structures.values()))
    kernel = Kernel(potential.architecture, Execution(backend, dtype))
    n = n_features(potential.architecture)
    factors = np.random.default_rng(0).normal(size=(len(potential.species), n, n))
    energies, gradient, grades = kernel.graded({**potential.parameters, FACTORS: factors}, environments)
    features = Kernel(potential.architecture, Execution("numpy")).features(potential.parameters, environments)
    expected = [np.linalg.norm(factors[z] @ b) for z, b in zip(environments.geometry.species, features, strict=True)]
    np.testing.assert_allclose(grades, expected, rtol=tolerance)
    assert grades.dtype == np.float64
    plain_energies, plain_gradient = kernel.energies_and_gradients(potential.parameters, environments)
    np.testing.assert_allclose(energies, plain_energies, rtol=0, atol=tolerance * np.abs(plain_energies).max())
    np.testing.assert_allclose(gradient, plain_gradient, rtol=0, atol=tolerance * np.abs(plain_gradient).max())


def test_features_are_invariant(
    backend: str,
    potential: ETNPotential,
    structures: dict[str, Atoms],
    random_orthogonal: Callable[[int], Array],
) -> None:
    """Rotations with inversion, shifts, and the order of the atoms."""
    q, rng = random_orthogonal(3), np.random.default_rng(1)
    kernel = Kernel(potential.architecture, Execution(backend))

    def features(atoms: Atoms) -> Array:
        return kernel.features(potential.parameters, environments_of(potential, [atoms]))

    for name in ("crystal", "slab", "cluster", "tiny skewed"):
        atoms = structures[name]
        order = rng.permutation(len(atoms))
        moved = Atoms(
            atoms.numbers[order], atoms.positions[order] @ q.T + 0.7, cell=atoms.cell.array @ q.T, pbc=atoms.pbc
        )
        expected = features(atoms)[order]
        np.testing.assert_allclose(features(moved), expected, rtol=0, atol=1e-10 * np.abs(expected).max(), err_msg=name)


def test_features_are_of_the_site_alone(backend: str, potential: ETNPotential) -> None:
    """An atom far from all others has the features of an isolated one, whatever the others are."""
    kernel = Kernel(potential.architecture, Execution(backend))
    first = potential.species[0]
    cluster = bulk("Al", cubic=True)
    cluster.symbols[:] = first
    cluster.pbc = False
    cluster.append(first)
    cluster.positions[-1] = [60.0, 0.0, 0.0]
    alone, with_others = (
        kernel.features(potential.parameters, environments_of(potential, [atoms]))[-1]
        for atoms in (Atoms(first), cluster)
    )
    assert np.array_equal(alone, with_others)


# -- grades from squares -----------------------------------------------------------------------------------------------


def test_grades_are_roots_of_squares() -> None:
    np.testing.assert_array_equal(site_grades(np.array([0.0, 4.0, 9.0], np.float32), None), [0.0, 2.0, 3.0])


def test_grades_rise_where_the_network_loses_its_weight() -> None:
    weights = np.array([1.0, 0.5, 0.1, 1e-3, 1e-9, 0.0])
    found = site_grades(np.full(6, 4.0), weights)
    np.testing.assert_allclose(found[:4], 2.0 + (1.0 - weights[:4]) / weights[:4])
    np.testing.assert_allclose(found[4:], 2.0 + MOST_LOST, rtol=1e-8)
    assert found[0] == 2.0


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_what_has_overflowed_is_outside(lost: float) -> None:
    found: Any = site_grades(np.array([lost, 1.0]), np.array([0.0, 1.0]))
    assert found.tolist() == [np.inf, 1.0]
