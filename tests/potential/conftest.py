"""Random potentials with forces of about 1 eV/A, and structures of every kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.assembly import forces_and_virials
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch

ELEMENTS = ("Al", "Ni", "Cu", "Pd")
CUTOFF = 4.5
#: Heights of 2.3 to 3.1 A, far below the cutoff, and angles far from 90 degrees.
TINY = [[3.2, 0.0, 0.0], [1.4, 3.1, 0.0], [-1.0, 1.3, 2.9]]

MakePotential = Callable[..., ETNPotential]
MakeStructures = Callable[[int], dict[str, Atoms]]


def random_potential(n_species: int = 2, seed: int = 0, **changes: Any) -> ETNPotential:
    """A potential of order 3 for the first elements of ELEMENTS; ``changes`` replace fields of its architecture."""
    sizes: dict[str, Any] = {
        "species": ELEMENTS[:n_species],
        "cutoff": CUTOFF,
        "inner": 1.5,
        "n_radial": 5,
        "channels": (3, 2, 2),
        "neighbour_rank": min(2, n_species),
        "centre_rank": min(2, n_species),
        "bonds": ("2x0e+2x1o+1x2e", "2x0e+1x1o+2x2e"),
    }
    architecture = Architecture(**{**sizes, **changes})
    rng = np.random.default_rng(seed)
    parameters = {name: 0.5 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    # The output is linear in the last core: its scale sets that of forces, and of covariant outputs.
    crystal = bulk("Al", cubic=True) * (2, 2, 1)
    crystal.rattle(0.1, seed=1)
    crystal.numbers[:] = rng.choice(Atoms(ELEMENTS[:n_species]).numbers, len(crystal))
    batch = StructureBatch.build([crystal], architecture.species, architecture.cutoff)
    kernel, environments = Kernel(architecture, Execution("numpy")), Environments.of(batch)
    if architecture.is_energy:
        values, _ = forces_and_virials(batch, kernel.energies_and_gradients(parameters, environments)[1])
    else:
        values = kernel.energies(parameters, environments)
    parameters[architecture.train.cores[-1].name] /= np.sqrt(np.mean(values**2))
    return ETNPotential(architecture, parameters)


def random_structures(n_species: int) -> dict[str, Atoms]:
    """Every periodicity, several species where there are, cells smaller than the cutoff, isolated atoms."""
    rng = np.random.default_rng(n_species)
    cells = {
        "crystal": (bulk("Al", cubic=True) * (2, 1, 1), True),
        "slab": (bulk("Al", cubic=True) * (1, 2, 2), (True, True, False)),
        "wire": (bulk("Al", cubic=True), (False, False, True)),
        "cluster": (bulk("Al", cubic=True) * (2, 1, 1), False),
        "tiny skewed": (Atoms("Al2", scaled_positions=[[0, 0, 0], [0.4, 0.6, 0.5]], cell=TINY), True),
        "primitive": (bulk("Al"), True),
        "isolated atom": (Atoms("Al"), False),
        "isolated periodic atom": (Atoms("Al", cell=[9.0, 9.0, 9.0]), True),
        "dimer and a far atom": (Atoms("Al3", positions=[[0, 0, 0], [0, 1.6, 1.8], [30.0, 0, 0]]), False),
    }
    out = {}
    for name, (atoms, pbc) in cells.items():
        atoms.pbc = pbc
        atoms.numbers[:] = rng.choice(Atoms(ELEMENTS[:n_species]).numbers, len(atoms))
        atoms.positions += 0.12 * rng.normal(size=(len(atoms), 3))
        out[name] = atoms
    return out


@pytest.fixture(scope="session")
def make_potential() -> MakePotential:
    """``make_potential(n_species, seed=0, **changes)``; each is made once."""
    return lru_cache(maxsize=None)(random_potential)


@pytest.fixture(scope="session")
def plain(make_potential: MakePotential) -> ETNPotential:
    """A potential of two elements, without terms and grade."""
    return make_potential(2)


@pytest.fixture(scope="session")
def make_structures() -> MakeStructures:
    """``make_structures(n_species)``: name -> structure, new copies at each call."""
    return random_structures


@pytest.fixture(scope="session", params=[1, 2, 4], ids=lambda n: f"{n} species")
def potential(request: pytest.FixtureRequest, make_potential: MakePotential) -> ETNPotential:
    """Random potentials for one, two and four species."""
    return make_potential(request.param)


@pytest.fixture
def structures(potential: ETNPotential, make_structures: MakeStructures) -> dict[str, Atoms]:
    """Structures that ``potential`` can evaluate."""
    return make_structures(len(potential.species))


@pytest.fixture(scope="session")
def random_orthogonal() -> Callable[[int], NDArray[np.float64]]:
    """``random_orthogonal(seed)``: a rotation combined with an inversion."""

    def draw(seed: int) -> NDArray[np.float64]:
        q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        q *= np.sign(np.diag(r))
        return -q * np.sign(np.linalg.det(q))

    return draw
