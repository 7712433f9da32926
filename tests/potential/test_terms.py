"""The terms beside the network: the formulas, and their derivatives in every region."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.backend.terms import densities
from etn_gpu.potential import ETNPotential
from etn_gpu.structures import StructureBatch
from tests.potential.term_regions import CUTOFF, NUMBERS, REGIONS, SPECIES, TERMS, Array, dimer, sites_of

STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@pytest.fixture(scope="module")
def potential(plain: ETNPotential) -> ETNPotential:
    return plain.with_terms(TERMS)


# -- the formulas, once more -------------------------------------------------------------------------------------------


def smoothstep(x: float) -> float:
    return 0.0 if x <= 0 else 1.0 if x >= 1 else 6 * x**5 - 15 * x**4 + 10 * x**3


def repulsion(charges: tuple[int, int], r: float, inner: float, outer: float) -> float:
    if outer == 0.0:
        return 0.0
    length = 0.8854 * 0.529177 / (charges[0] ** 0.23 + charges[1] ** 0.23)
    x = r / length
    phi = 0.18175 * exp(-3.19980 * x) + 0.50986 * exp(-0.94229 * x)
    phi += 0.28022 * exp(-0.40290 * x) + 0.02817 * exp(-0.20162 * x)
    return 14.399645 * charges[0] * charges[1] / r * phi * (1 - smoothstep((r - inner) / (outer - inner)))


def bounded(e: float, floor: float, low: float, high: float, ceiling: float) -> float:
    if e > high:
        return high + (ceiling - high) * np.tanh((e - high) / (ceiling - high))
    return e if e >= low else low + (low - floor) * np.tanh((e - low) / (low - floor))


def dense_energies(atoms: Atoms, network: Array, references: dict[str, float]) -> list[float]:
    """Energies of atoms, pair by pair and image by image, from the ``network`` energies of atoms beyond references."""
    energies = []
    reach = [range(-6, 7) if periodic else (0,) for periodic in atoms.pbc]
    shifts = np.array([[a, b, c] for a in reach[0] for b in reach[1] for c in reach[2]]) @ atoms.cell.array
    for i, own in enumerate(atoms.symbols):
        z = SPECIES.index(own)
        n = p = half = 0.0
        for j, other in enumerate(atoms.symbols):
            w = SPECIES.index(other)
            inner, outer = NUMBERS["repulsion"][z][w]
            off, on = NUMBERS["distances"][z][w]
            for r in np.linalg.norm(atoms.positions[j] + shifts - atoms.positions[i], axis=1):
                if 1e-8 < r < CUTOFF:
                    n += (1 - r**2 / CUTOFF**2) ** 3
                    p += ((on - r) / (on - off)) ** 3 if r < on else 0.0
                    half += 0.5 * repulsion((atoms.numbers[i], atoms.numbers[j]), float(r), inner, outer)
        a, b, c, d = NUMBERS["density"][z]
        e, cohesive, usual, stiffness = NUMBERS["embedding"][z]
        outside = e + cohesive * (1 - n / usual) ** 2 + stiffness * max(n / usual - 1, 0) ** 3
        g = smoothstep((n - a) / (b - a)) if b > 0 else 1.0
        g *= (1 - smoothstep((n - c) / (d - c))) * (1 - smoothstep(p))
        energies.append(references[own] + g * bounded(network[i], *NUMBERS["bounds"][z]) + (1 - g) * outside + half)
    return energies


@pytest.mark.parametrize("name", REGIONS)
def test_energies_are_those_of_the_formulas(
    backend: str, name: str, plain: ETNPotential, potential: ETNPotential
) -> None:
    atoms, references = REGIONS[name], plain.reference_energies
    (network,) = plain.evaluate(atoms, backend=backend)
    beyond = network["energies"] - [references[symbol] for symbol in atoms.symbols]
    expected = dense_energies(atoms, beyond, references)
    for gradients in (True, False):
        (found,) = potential.evaluate(atoms, forces=gradients, stress=gradients, backend=backend)
        np.testing.assert_allclose(found["energies"], expected, rtol=1e-11, atol=1e-11)
        assert found["energy"] == pytest.approx(sum(expected), rel=1e-12)


def test_the_structures_above_have_atoms_everywhere() -> None:
    """No test of derivatives is worth more than the regions it covers."""
    sites = np.concatenate([sites_of(atoms) for atoms in REGIONS.values()])
    weight, by_density, by_closeness, _, _, pairs = sites.T
    between = (weight > 0.01) & (weight < 0.99)
    assert (between & (by_density > 0.0)).any()
    assert (between & (by_density < 0.0)).any()
    assert (between & (by_closeness < 0.0)).any()
    assert ((weight == 1.0) & (pairs == 0.0)).any()
    assert ((weight == 1.0) & (pairs > 0.0)).any()
    assert ((weight == 0.0) & (pairs == 0.0)).any()
    assert ((weight == 0.0) & (pairs > 0.0)).any()
    assert (sites_of(REGIONS["known"])[:, 0] == 1.0).all()


@pytest.mark.parametrize("name", REGIONS)
def test_forces_are_minus_the_gradient(backend: str, name: str, potential: ETNPotential) -> None:
    atoms, step = REGIONS[name], 5e-4
    coordinates = [(i, x) for i in range(min(len(atoms), 3)) for x in range(3)]
    moved = []
    for i, x in coordinates:
        for k, _ in STENCIL:
            copy = atoms.copy()
            copy.positions[i, x] += k * step
            moved.append(copy)
    (result,) = potential.evaluate(atoms, backend=backend)
    expected = -derivatives(potential, moved, backend, step).reshape(-1, 3)
    scale = 1 + np.abs(result["forces"]).max() + abs(result["energy"])
    np.testing.assert_allclose(result["forces"][: len(expected)], expected, rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose(result["forces"].sum(axis=0), 0.0, atol=1e-11 * scale)


@pytest.mark.parametrize("name", ["known", "thin", "dense", "close pair", "very close pair", "collapsed"])
def test_stress_is_the_derivative_with_respect_to_strain(backend: str, name: str, potential: ETNPotential) -> None:
    atoms, step, strained = REGIONS[name], 2e-4, []
    for i, j in VOIGT:
        for k, _ in STENCIL:
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * k * step
            strain[j, i] += 0.5 * k * step
            copy = atoms.copy()
            copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            strained.append(copy)
    (result,) = potential.evaluate(atoms, backend=backend)
    expected = derivatives(potential, strained, backend, step) / atoms.get_volume()
    scale = 1 + np.abs(result["stress"]).max() + abs(result["energy"])
    np.testing.assert_allclose(result["stress"], expected, rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose(result["stresses"].sum(axis=0), result["stress"], rtol=0, atol=1e-13 * scale)


def derivatives(potential: ETNPotential, moved: list[Atoms], backend: str, step: float) -> Array:
    """First derivatives of the energy from structures at the points of STENCIL, one after the other."""
    results = potential.evaluate(moved, forces=False, stress=False, backend=backend)
    rows = np.reshape([result["energy"] for result in results], (-1, len(STENCIL)))
    return rows @ [weight for _, weight in STENCIL] / step


def crystal_of_density(n: float) -> float:
    """The lattice constant at which sites of perfect fcc crystals have a density."""
    low, high = 2.0, 7.0
    for _ in range(80):
        a = 0.5 * (low + high)
        batch = StructureBatch.build([bulk("Al", a=a)], SPECIES, CUTOFF)
        dense = densities(batch.vectors, batch.edge_offsets, CUTOFF)[0] > n
        low, high = (a, high) if dense else (low, a)
    return low


SWITCHES: dict[str, tuple[Callable[[float], Atoms], float]] = {
    **{f"repulsion, {r} A": (lambda r: dimer("Ni2", r), r) for r in (1.0, 2.2)},
    **{f"close pair, {r} A": (lambda r: dimer("Ni2", r), r) for r in (0.9, 1.75)},
    **{f"close pair of two elements, {r} A": (lambda r: dimer("AlNi", r), r) for r in (0.8, 1.7)},
    **{f"density {n}": (lambda a: bulk("Al", a=a), crystal_of_density(n)) for n in NUMBERS["density"][0]},
}


def test_the_network_is_beyond_its_bounds_somewhere(plain: ETNPotential) -> None:
    found = [0, 0, 0]
    for atoms in REGIONS.values():
        (result,) = plain.evaluate(atoms)
        for symbol, energy, weight in zip(atoms.symbols, result["energies"], sites_of(atoms)[:, 0], strict=True):
            if weight > 0.01:
                _, low, high, _ = NUMBERS["bounds"][SPECIES.index(symbol)]
                beyond = energy - plain.reference_energies[symbol]
                found[int(np.searchsorted([low, high], beyond))] += 1
    assert min(found) > 1, found


@pytest.mark.parametrize(("name", "order"), [("energy", 2), ("forces", 1)])
@pytest.mark.parametrize("switch", SWITCHES)
def test_two_derivatives_are_continuous_at_every_switch(
    backend: str, switch: str, name: str, order: int, potential: ETNPotential
) -> None:
    """The steps of a continuous derivative shrink with the spacing of the points, a jump would stay."""
    structure, middle = SWITCHES[switch]
    if name == "forces" and "density" in switch:
        name = "stress"

    def largest_step(spacing: float) -> float:
        structures = [structure(middle + spacing * k) for k in range(-10, 11)]
        values = [np.ravel(r[name])[0] for r in potential.evaluate(structures, backend=backend)]
        return float(np.abs(np.diff(values, order + 1)).max() / spacing**order)

    coarse, fine = largest_step(2e-3), largest_step(5e-4)
    assert 0 < fine < 0.4 * coarse
