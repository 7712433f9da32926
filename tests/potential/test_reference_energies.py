"""Reference energies as large as those of all-electron codes cost no digits, in float32 neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu.calculator import ETNCalculator
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.potential.selfcheck import TOLERANCES, largest_difference
from etn_gpu.structures import StructureBatch

DTYPES = ("float64", "float32")
#: eV/atom: pseudopotentials, all-electron codes from transition metals to tungsten.
SHIFTS = (-1e2, -3.46e3, -1e5, -4.4e5)


def shifted(model: ETNPotential, shift: float | np.ndarray) -> ETNPotential:
    """The model with other reference energies."""
    parameters = {**model.parameters, "E0": model.parameters["E0"] + shift}
    return ETNPotential(model.architecture, parameters, minimum_distances=model.minimum_distances)


@pytest.fixture
def pair() -> list[Atoms]:
    """A disordered crystal, twice: its atoms moved a little."""
    crystal = bulk("W", "bcc", a=3.19, cubic=True).repeat(2)
    crystal.symbols[:] = np.random.default_rng(0).choice(["Nb", "Mo", "Ta", "W"], len(crystal))
    crystal.rattle(0.05, seed=1)
    moved = crystal.copy()
    moved.rattle(0.03, seed=2)
    return [crystal, moved]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0.0, *SHIFTS])
def test_an_energy_difference_of_the_shipped_model(pair: list[Atoms], shift: float, dtype: str) -> None:
    """28.44 meV/atom, whatever the references."""
    a, b = (r["energy"] for r in shifted(etn_gpu.potential.load("nbmotaw"), shift).evaluate(pair, dtype=dtype))
    assert 1e3 * (b - a) / len(pair[0]) == pytest.approx(28.4412, abs=3e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_energies_change_and_by_the_references_alone(
    backend: str, dtype: str, make_potential: Callable[..., ETNPotential], make_structures: Callable[..., dict]
) -> None:
    model, structures = make_potential(4), list(make_structures(4).values())
    shifts = np.array([-1e2, -3.46e3, -1e5, -4.4e5])
    other = shifted(model, shifts)
    for gradients in (True, False):
        options: dict[str, Any] = {"backend": backend, "dtype": dtype, "forces": gradients, "stress": gradients}
        results = (m.evaluate(structures, **options) for m in (model, other))
        for atoms, before, after in zip(structures, *results, strict=True):
            by = shifts[[model.species.index(symbol) for symbol in atoms.symbols]]
            rounding = 4 * np.spacing(np.abs(by))
            assert (np.abs(after["energies"] - (before["energies"] + by)) <= rounding).all()
            assert abs(after["energy"] - (before["energy"] + by.sum())) <= 4 * rounding.sum()
            for name in before.keys() - {"energy", "free_energy", "energies"}:
                np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_differences_in_a_calculator(backend: str, pair: list[Atoms]) -> None:
    found = []
    for shift in (0.0, -4.4e5):
        calculator = ETNCalculator(shifted(etn_gpu.potential.load("nbmotaw"), shift), dtype="float32", backend=backend)
        a, b = (calculator.get_potential_energy(atoms) for atoms in pair)
        found.append(b - a)
    assert found[1] == pytest.approx(found[0], abs=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_the_references_is_exact(
    backend: str, dtype: str, make_potential: Callable[..., ETNPotential], make_structures: Callable[..., dict]
) -> None:
    model, structures = make_potential(4), list(make_structures(4).values())
    batch = StructureBatch.build(structures, model.species, model.cutoff)
    bars = np.random.default_rng(0).normal(size=batch.n_atoms)
    kernel, environments = Kernel(model.architecture, Execution(backend, dtype)), Environments.of(batch)
    rows = kernel.parameter_gradient(model.parameters, environments, bars, None, batch.atom_offsets)["E0"]
    total = kernel.parameter_gradient(model.parameters, environments, bars, np.zeros((batch.n_edges, 3)))["E0"]
    for s in range(batch.n_structures):
        atoms = slice(batch.atom_offsets[s], batch.atom_offsets[s + 1])
        of = batch.species_index[atoms]
        expected = [bars[atoms][of == z].sum() for z in range(4)]
        np.testing.assert_allclose(rows[s], expected, rtol=0, atol=1e-15 * len(of))
    np.testing.assert_allclose(total, rows.sum(axis=0), rtol=0, atol=1e-13)


def test_a_covariant_output_has_no_references(make_potential: Callable[..., ETNPotential]) -> None:
    architecture = make_potential(2, target="1x1o").architecture
    assert architecture.parameter_shapes == architecture.network_shapes
    assert "E0" not in architecture.parameter_shapes


def test_comparisons_of_backends_see_the_network_behind_the_references(
    make_potential: Callable[..., ETNPotential],
) -> None:
    """An error of a thousandth in the network is one, and a last digit of the whole energy is none."""
    model = make_potential(2)
    network = model.parameters[model.architecture.train.cores[-1].name]
    wrong = {**model.parameters, model.architecture.train.cores[-1].name: 1.001 * network}
    other = shifted(ETNPotential(model.architecture, wrong), -4.4e5)
    right = shifted(model, -4.4e5)
    assert largest_difference(right, lambda _, many: other.evaluate(many, backend="numpy")) > 5e-4
    huge = shifted(model, -1e9)
    assert largest_difference(huge, lambda _, many: huge.evaluate(many, backend="numba")) < TOLERANCES["float64"]
