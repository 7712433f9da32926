"""A potential fitted to EMT, structures, and the check that a calculator gives what a new evaluation gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch

CUTOFF = 4.6


def training_structures(rng: np.random.Generator) -> list[Atoms]:
    """Strained and rattled fcc cells of Al, Ni and their alloys."""
    out = []
    for _ in range(250):
        atoms = bulk("Al", cubic=True, a=rng.uniform(3.3, 4.6))
        atoms.numbers[rng.random(4) < rng.choice([0.0, 0.5, 1.0])] = 28
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.uniform(0, 0.2) * rng.normal(size=(4, 3))
        out.append(atoms)
    return out


@pytest.fixture(scope="session")
def keeps_lists(backend: str) -> bool:
    """Whether calculators of a backend keep neighbour lists from step to step."""
    return backend != "cuda"


@pytest.fixture(scope="session")
def potential() -> ETNPotential:
    """Al-Ni: random cores, but for the last one and the references, in which the energy is linear: fitted to EMT."""
    rng = np.random.default_rng(0)
    architecture = Architecture(("Al", "Ni"), CUTOFF, 1.8, 6, (6, 4, 3), 2, 2, ("5x0e+3x1o+3x2e", "6x0e+4x1o+3x2e"))
    parameters = {name: 0.4 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    structures = training_structures(rng)
    batch = StructureBatch.build(structures, architecture.species, CUTOFF)
    energies = []
    for atoms in structures:
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    last = architecture.train.cores[-1].name
    kernel = Kernel(architecture, Execution())
    ones = np.ones(batch.n_atoms)
    rows = kernel.parameter_gradient(parameters, Environments.of(batch), ones, None, batch.atom_offsets)
    matrix = np.hstack([rows[last], rows["E0"]])
    scale = np.sqrt(np.mean(matrix**2, axis=0))
    ridge = 1e-3 * np.eye(len(scale))
    target = np.concatenate([energies, np.zeros(len(scale))])
    solution = np.linalg.lstsq(np.vstack([matrix / scale, ridge]), target, rcond=None)[0] / scale
    parameters[last], parameters["E0"] = solution[:-2], solution[-2:]
    fitted = ETNPotential(architecture, parameters)
    found = [r["energy"] for r in fitted.evaluate(structures, forces=False, stress=False)]
    assert np.sqrt(np.mean(np.subtract(found, energies) ** 2)) < 0.1
    return fitted


@pytest.fixture
def alloy() -> Atoms:
    """A rattled and strained L1_2 Ni3Al crystal of 32 atoms."""
    atoms = bulk("Ni", cubic=True, a=3.7)
    atoms.numbers[0] = 13
    atoms = atoms * 2
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + 0.02 * np.array([[1, 1, 0], [0, -1, 1], [0, 0, 1]])), scale_atoms=True
    )
    atoms.rattle(0.08, seed=4)
    return atoms


@pytest.fixture
def slab() -> Atoms:
    """A surface, periodic in two directions, in a skewed cell smaller than the cutoff."""
    atoms = fcc111("Al", (1, 1, 4), a=4.0, vacuum=6.0)
    atoms.numbers[::2] = 28
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.fixture(scope="session")
def assert_fresh() -> Callable[[Atoms, str], None]:
    """``assert_fresh(atoms, backend)``: the calculator of ``atoms`` gives what an evaluation without a skin gives."""

    def check(atoms: Atoms, backend: str) -> None:
        (expected,) = atoms.calc.model.evaluate(atoms, backend=backend)
        for name, values in expected.items():
            found = atoms.calc.get_property(name, atoms)
            limit = 1e-12 * max(1, np.abs(values).max())
            np.testing.assert_allclose(found, values, rtol=0, atol=limit, err_msg=name)

    return check
