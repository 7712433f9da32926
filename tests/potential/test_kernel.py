"""Derivatives of every kind that training and phonons need, against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.potential import ETNPotential, assembly
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]


@dataclass
class Case:
    """A batch of structures of all kinds with a potential and its kernel."""

    potential: ETNPotential
    batch: StructureBatch
    kernel: Kernel

    @property
    def environments(self) -> Environments:
        return Environments.of(self.batch)

    def forces(self, batch: StructureBatch) -> Array:
        """Forces [N, 3] of the atoms of a batch."""
        _, gradient = self.kernel.energies_and_gradients(self.potential.parameters, Environments.of(batch))
        return assembly.forces_and_virials(batch, gradient)[0]


@pytest.fixture
def case(backend: str, potential: ETNPotential, structures: dict[str, Atoms]) -> Case:
    batch = StructureBatch.build(list(structures.values()), potential.species, potential.cutoff)
    return Case(potential, batch, Kernel(potential.architecture, Execution(backend)))


def central(function: Callable[[float], Array], step: float) -> Array:
    """First derivative at 0, of fourth order in the step."""
    near, far = (function(k * step) - function(-k * step) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def test_hessian_vector_products(case: Case) -> None:
    rng = np.random.default_rng(0)
    u, w = 0.5 * rng.normal(size=(2, case.batch.n_atoms, 3))

    def product(displacement: Array) -> Array:
        dx = -assembly.edge_displacements(case.batch, displacement, np.zeros((case.batch.n_structures, 6)))
        d_gradient = case.kernel.hessian_vector(case.potential.parameters, case.environments, dx)
        return -assembly.forces_and_virials(case.batch, d_gradient)[0]

    def moved(t: float) -> Array:
        # the same edges: none crosses the cutoff, where the potential is only three times differentiable
        return case.forces(case.batch.with_vectors(case.batch.positions + t * u, case.batch.cells))

    expected = -central(moved, 1e-4)
    np.testing.assert_allclose(product(u), expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    symmetric = np.sum(w * product(u)), np.sum(u * product(w))
    assert symmetric[0] == pytest.approx(symmetric[1], rel=1e-10)


def test_displacements_are_the_adjoint_of_forces_and_stresses(case: Case) -> None:
    rng = np.random.default_rng(1)
    batch = case.batch
    gradient = rng.normal(size=(batch.n_edges, 3))
    force_bar, stress_bar = rng.normal(size=(batch.n_atoms, 3)), rng.normal(size=(batch.n_structures, 6))
    stress = assembly.stresses(batch, assembly.forces_and_virials(batch, gradient)[1])
    assert np.array_equal(np.isfinite(stress).all(axis=1), batch.pbc.all(axis=1))
    stress_bar[~batch.pbc.all(axis=1)] = 0.0
    left = np.sum(assembly.edge_displacements(batch, force_bar, stress_bar) * gradient)
    right = np.sum(force_bar * assembly.forces_and_virials(batch, gradient)[0]) + np.nansum(stress_bar * stress)
    assert left == pytest.approx(right, rel=1e-12)


def test_parameter_gradient_of_an_energy_force_stress_loss(case: Case) -> None:
    """L = sum over structures of |E - E*|^2 + |F - F*|^2 + |sigma - sigma*|^2, with random labels."""
    rng = np.random.default_rng(2)
    batch, environments = case.batch, case.environments
    labels = [rng.normal(size=shape) for shape in (batch.n_structures, (batch.n_atoms, 3), (batch.n_structures, 6))]

    def residuals(parameters: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        energies, gradient = case.kernel.energies_and_gradients(parameters, environments)
        energy = assembly.segment_sum(energies[:, None], batch.atom_offsets)[:, 0] - labels[0]
        force = assembly.forces_and_virials(batch, gradient)[0] - labels[1]
        stress = assembly.stresses(batch, assembly.forces_and_virials(batch, gradient)[1]) - labels[2]
        return energy, force, np.nan_to_num(stress)

    parameters = case.potential.parameters
    energy, force, stress = residuals(parameters)
    dx = assembly.edge_displacements(batch, 2 * force, 2 * stress)
    found = case.kernel.parameter_gradient(parameters, environments, 2 * energy[batch.structure_of_atom], dx)
    assert list(found) == list(case.potential.architecture.parameter_shapes)
    for name, values in parameters.items():
        direction = rng.normal(size=values.shape)

        def loss(t: float, name: str = name, direction: Array = direction) -> Array:
            moved = {**parameters, name: parameters[name] + t * direction}
            return np.array(sum(np.sum(r**2) for r in residuals(moved)))

        expected = central(loss, 1e-4)
        assert np.sum(found[name] * direction.ravel()) == pytest.approx(float(expected), rel=2e-7), name


def test_one_row_of_the_gradient_for_each_structure(case: Case) -> None:
    rng = np.random.default_rng(3)
    batch = case.batch
    parameters, environments = case.potential.parameters, case.environments
    weights, dx = rng.normal(size=batch.n_atoms), rng.normal(size=(batch.n_edges, 3))
    for tangent in (dx, None):
        total = case.kernel.parameter_gradient(parameters, environments, weights, tangent)
        rows = case.kernel.parameter_gradient(parameters, environments, weights, tangent, batch.atom_offsets)
        for name, values in total.items():
            assert rows[name].shape == (batch.n_structures, values.size)
            np.testing.assert_allclose(rows[name].sum(axis=0), values, rtol=0, atol=1e-10 * (1 + np.abs(values).max()))


def test_energies_are_linear_in_the_last_core_and_the_references(case: Case) -> None:
    parameters = case.potential.parameters
    energies = case.kernel.energies(parameters, case.environments)
    last = case.potential.architecture.train.cores[-1].name
    linear = np.zeros(case.batch.n_atoms)
    for name in (last, "E0"):
        atoms = np.arange(case.batch.n_atoms + 1)
        ones = np.ones(case.batch.n_atoms)
        rows = case.kernel.parameter_gradient(parameters, case.environments, ones, None, atoms)[name]
        linear = linear + rows @ parameters[name].ravel()
    np.testing.assert_allclose(linear, energies, rtol=0, atol=1e-12 * (1 + np.abs(energies).max()))


def test_gathered_environments_are_those_of_their_atoms(case: Case) -> None:
    atoms = np.random.default_rng(4).integers(0, case.batch.n_atoms, 2 * case.batch.n_atoms)
    environments, edges = case.environments.gather(atoms)
    assert np.array_equal(environments.vectors, case.batch.vectors[edges])
    all_energies = case.kernel.energies(case.potential.parameters, case.environments)
    some = case.kernel.energies(case.potential.parameters, environments)
    np.testing.assert_allclose(some, all_energies[atoms], rtol=1e-12)
