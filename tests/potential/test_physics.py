"""What every interatomic potential owes to physics: symmetries, extensivity, smoothness, and derivatives that match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu.potential import ETNPotential
from etn_gpu.symmetry import Irreps

Array = NDArray[np.float64]
Orthogonal = Callable[[int], Array]
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def matrix(voigt: Array) -> Array:
    """The 3 x 3 matrix of six Voigt components."""
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def transformed(atoms: Atoms, q: Array, shift: Array, order: NDArray[np.int64]) -> Atoms:
    """The structure rotated and inverted by q, moved by ``shift``, with its atoms in another order."""
    numbers, positions = atoms.numbers[order], atoms.positions[order] @ q.T + shift
    return Atoms(numbers, positions, cell=atoms.cell.array @ q.T, pbc=atoms.pbc)


def derivative(energies: list[float], step: float) -> float:
    """First derivative from four energies at the points of STENCIL."""
    return sum(weight * energy for (_, weight), energy in zip(STENCIL, energies, strict=True)) / step


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


def energies_of(potential: ETNPotential, structures: list[Atoms], backend: str) -> list[float]:
    return [r["energy"] for r in potential.evaluate(structures, forces=False, stress=False, backend=backend)]


def test_rotation_inversion_translation_and_permutation(
    backend: str, potential: ETNPotential, structures: dict[str, Atoms], random_orthogonal: Orthogonal
) -> None:
    rng = np.random.default_rng(1)
    q = random_orthogonal(2)
    orders = [rng.permutation(len(atoms)) for atoms in structures.values()]
    shift = rng.normal(size=3)
    moved = [transformed(a, q, shift, order) for a, order in zip(structures.values(), orders, strict=True)]
    before = potential.evaluate(list(structures.values()), backend=backend)
    after = potential.evaluate(moved, backend=backend)
    for order, old, new in zip(orders, before, after, strict=True):
        assert_close(new["energies"], old["energies"][order])
        assert_close(new["forces"], old["forces"][order] @ q.T)
        assert ("stress" in new) == ("stress" in old)
        if "stress" in old:
            assert_close(matrix(new["stress"]), q @ matrix(old["stress"]) @ q.T)
            shares = [q @ matrix(share) @ q.T for share in old["stresses"][order]]
            assert_close([matrix(share) for share in new["stresses"]], shares)


@pytest.mark.parametrize(("target", "parity"), [("1x1o", -1), ("1x2e", 1)])
def test_covariant_outputs_are_equivariant(
    backend: str,
    target: str,
    parity: int,
    make_potential: Callable[..., ETNPotential],
    make_structures: Callable[[int], dict[str, Atoms]],
    random_orthogonal: Orthogonal,
) -> None:
    potential = make_potential(2, target=target)
    structures = list(make_structures(2).values())
    q = random_orthogonal(3)
    moved = [transformed(a, q, np.ones(3), np.arange(len(a))) for a in structures]
    before = potential.covariants(structures, backend=backend)
    after = potential.covariants(moved, backend=backend)
    d = Irreps(target).wigner_d(q)
    for atoms, old, new in zip(structures, before, after, strict=True):
        assert old.shape == (len(atoms), len(d))
        np.testing.assert_allclose(new, old @ d.T, rtol=0, atol=1e-11 * (1 + np.abs(old).max()))
    assert np.abs(before[0]).max() > 0.1
    inverted = [transformed(a, -np.eye(3), np.zeros(3), np.arange(len(a))) for a in structures]
    for old, new in zip(before, potential.covariants(inverted, backend=backend), strict=True):
        np.testing.assert_allclose(new, parity * old, rtol=0, atol=1e-11 * (1 + np.abs(old).max()))


@pytest.mark.parametrize("name", ["crystal", "slab", "wire", "tiny skewed"])
def test_a_supercell_has_the_properties_of_its_cells(
    backend: str, name: str, potential: ETNPotential, structures: dict[str, Atoms]
) -> None:
    atoms = structures[name]
    repeats = tuple(2 if periodic else 1 for periodic in atoms.pbc)
    supercell = atoms.repeat(repeats)
    copies = len(supercell) // len(atoms)
    small, large = potential.evaluate([atoms, supercell], backend=backend)
    assert large["energy"] == pytest.approx(copies * small["energy"], rel=1e-12)
    np.testing.assert_allclose(large["energies"], np.tile(small["energies"], copies), rtol=0, atol=1e-11)
    np.testing.assert_allclose(large["forces"], np.tile(small["forces"], (copies, 1)), rtol=0, atol=1e-11)
    if atoms.pbc.all():
        np.testing.assert_allclose(large["stress"], small["stress"], rtol=0, atol=1e-12)


def test_distant_clusters_do_not_interact(backend: str, potential: ETNPotential, structures: dict[str, Atoms]) -> None:
    one, other = structures["cluster"], structures["dimer and a far atom"]
    other.positions += [0.0, 0.0, 100.0]
    both = one + other
    a, b, ab = potential.evaluate([one, other, both], backend=backend)
    assert ab["energy"] == pytest.approx(a["energy"] + b["energy"], rel=1e-13)
    np.testing.assert_allclose(ab["forces"], np.vstack([a["forces"], b["forces"]]), rtol=0, atol=1e-12)


def test_forces_are_minus_the_gradient(backend: str, potential: ETNPotential, structures: dict[str, Atoms]) -> None:
    step = 2e-3
    for name, atoms in structures.items():
        (result,) = potential.evaluate(atoms, backend=backend)
        coordinates = [(i, x) for i in range(min(len(atoms), 3)) for x in range(3)]
        moved = []
        for i, x in coordinates:
            for k, _ in STENCIL:
                copy = atoms.copy()
                copy.positions[i, x] += k * step
                moved.append(copy)
        energies = np.reshape(energies_of(potential, moved, backend), (len(coordinates), len(STENCIL)))
        expected = np.array([-derivative(list(row), step) for row in energies]).reshape(-1, 3)
        found = result["forces"][: len(expected)]
        tolerance = 1e-8 * (1 + np.abs(result["forces"]).max() + np.abs(result["energy"]))
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(result["forces"].sum(axis=0), 0.0, atol=1e-11, err_msg=name)


def test_stress_is_the_derivative_with_respect_to_strain(
    backend: str, potential: ETNPotential, structures: dict[str, Atoms]
) -> None:
    step = 1e-3
    periodic = {name: atoms for name, atoms in structures.items() if atoms.pbc.all()}
    assert len(periodic) == 4
    for name, atoms in periodic.items():
        (result,) = potential.evaluate(atoms, backend=backend)
        strained = []
        for i, j in VOIGT:
            for k, _ in STENCIL:
                strain = np.zeros((3, 3))
                strain[i, j] += 0.5 * k * step
                strain[j, i] += 0.5 * k * step
                copy = atoms.copy()
                copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                strained.append(copy)
        energies = np.reshape(energies_of(potential, strained, backend), (6, len(STENCIL)))
        expected = [derivative(list(row), step) / atoms.get_volume() for row in energies]
        tolerance = 1e-8 * (1 + np.abs(result["stress"]).max() + np.abs(result["energy"]))
        np.testing.assert_allclose(result["stress"], expected, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(result["stresses"].sum(axis=0), result["stress"], rtol=0, atol=1e-13)


def test_smooth_where_an_atom_crosses_the_cutoff(backend: str, potential: ETNPotential) -> None:
    """Inside the cutoff by δ, the third atom contributes δ^3 to the energy and 3 δ^2 to the force on it."""
    symbols = [potential.species[k % len(potential.species)] for k in range(3)]

    def triangle(delta: float) -> Atoms:
        return Atoms(symbols, positions=[[0, 0, 0], [-1.0, 1.5, 1.2], [potential.cutoff - delta, 0, 0]])

    deltas = np.array([-0.5, -1e-6, 1e-9, 5e-4, 1e-3, 2e-3])
    results = potential.evaluate([triangle(delta) for delta in deltas], backend=backend)
    outside = results[0]
    energies = np.array([r["energy"] - outside["energy"] for r in results])
    forces = np.array([r["forces"][2, 0] for r in results])
    assert energies[1] == 0.0
    assert forces[1] == 0.0
    assert abs(energies[2]) < 1e-12
    assert abs(forces[2]) < 1e-12
    np.testing.assert_allclose(energies[4:] / energies[3:5], 8.0, rtol=0.1)
    np.testing.assert_allclose(forces[4:] / forces[3:5], 4.0, rtol=0.1)
    np.testing.assert_allclose(forces[3:] * deltas[3:] / energies[3:], 3.0, rtol=0.1)


@pytest.mark.parametrize(("name", "order"), [("energy", 2), ("stress", 1)])
def test_derivatives_are_continuous_across_the_cutoff(
    backend: str, name: str, order: int, potential: ETNPotential
) -> None:
    """The third shell of an fcc crystal, at a sqrt(3/2), crosses the cutoff while the crystal expands.

    The steps of a continuous derivative shrink with the spacing of the points, a jump would stay.
    """

    def largest_step(spacing: float) -> float:
        lattice = potential.cutoff / np.sqrt(1.5) + spacing * np.arange(-10, 11)
        primitive = 0.5 * (np.ones((3, 3)) - np.eye(3))
        crystals = [Atoms(potential.species[0], cell=a * primitive, pbc=True) for a in lattice]
        values = [np.ravel(r[name])[0] for r in potential.evaluate(crystals, backend=backend)]
        return float(np.abs(np.diff(values, order + 1)).max() / spacing**order)

    coarse, fine = largest_step(4e-3), largest_step(1e-3)
    assert 0 < fine < 0.4 * coarse
