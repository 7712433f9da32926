"""The terms beside the network: the formulas, their derivatives, and where they are at work."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, sqrt
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu.backend.cpu.terms import CompiledTerms
from etn_gpu.backend.terms import SiteTerms, densities
from etn_gpu.errors import NetworkError, StructureError
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.terms import Terms
from etn_gpu.structures import StructureBatch

Array = NDArray[np.float64]
MakePotential = Callable[..., ETNPotential]
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
SPECIES, CUTOFF = ("Al", "Ni"), 4.5
#: Al has a lower limit of density, Ni has none; pairs of Ni repel each other before they take weight from the network.
NUMBERS: dict[str, Any] = {
    "repulsion": [[[0.6, 1.9], [0.5, 1.8]], [[0.5, 1.8], [1.0, 2.2]]],
    "density": [[0.4, 1.2, 3.2, 4.7], [0.0, 0.0, 3.3, 5.0]],
    "distances": [[[1.0, 2.0], [0.8, 1.7]], [[0.8, 1.7], [0.9, 1.75]]],
    "embedding": [[-1.0, 3.0, 2.5, 2.0], [0.5, 4.0, 2.8, 0.0]],
    "bounds": [[-1.5, -0.3, 0.3, 0.6], [-12.0, -7.5, -6.4, -2.0]],
}
TERMS = Terms(**NUMBERS)


def crystal(a: float, rattle: float = 0.05) -> Atoms:
    """Two cells of fcc in which both elements are."""
    atoms = bulk("Al", a=a, cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 4, 5]] = "Ni"
    atoms.rattle(rattle, seed=1)
    return atoms


def with_close_pair(r: float) -> Atoms:
    """A crystal in which atom 1 is r from atom 0."""
    atoms = crystal(4.3, 0.02)
    atoms.positions[1] = atoms.positions[0] + r * np.array([0.1, 0.7, sqrt(0.5)])
    return atoms


def dimer(symbols: str, r: float) -> Atoms:
    return Atoms(symbols, [[0.0] * 3, [0.6 * r, 0.0, 0.8 * r]])


#: Structures that have atoms in every region, those between two included.
REGIONS = {
    "known": crystal(4.15, 0.02),
    "thin": crystal(4.9),
    "dense": crystal(3.75),
    "close pair": with_close_pair(1.4),
    "very close pair": with_close_pair(0.9),
    "repelled pair": dimer("Ni2", 2.0),
    "collapsed": crystal(2.9, 0.02),
    "isolated": Atoms("Al"),
    "chain": Atoms("AlNiAl", [[0.0, 0, 0], [1.5, 0.3, 0], [2.9, 0, 0.4]], cell=[4.4, 1, 1], pbc=(True, False, False)),
    "slab": Atoms("Al2", [[0.0, 0, 0], [1.5, 1.2, 1.3]], cell=[3.0, 3.1, 9.0], pbc=(True, True, False)),
}


@pytest.fixture(scope="module")
def plain(make_potential: MakePotential) -> ETNPotential:
    return make_potential(2)


@pytest.fixture(scope="module")
def potential(plain: ETNPotential) -> ETNPotential:
    return plain.with_terms(TERMS)


def sites_of(atoms: Atoms, kind: type[SiteTerms] = SiteTerms, terms: Terms = TERMS) -> Array:
    batch = StructureBatch.build([atoms], SPECIES, CUTOFF)
    environments = Environments.of(batch)
    return kind(terms.tables(SPECIES, CUTOFF), environments.geometry, environments.vectors).sites


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


# -- symmetries and bits -----------------------------------------------------------------------------------------------


def test_rotation_inversion_and_order_of_atoms(
    backend: str, potential: ETNPotential, random_orthogonal: Callable[[int], Array]
) -> None:
    q, rng = random_orthogonal(2), np.random.default_rng(0)
    for name, atoms in REGIONS.items():
        order = rng.permutation(len(atoms))
        moved = Atoms(
            atoms.numbers[order], atoms.positions[order] @ q.T + 1.0, cell=atoms.cell.array @ q.T, pbc=atoms.pbc
        )
        before, after = potential.evaluate([atoms, moved], backend=backend)
        scale = 1 + np.abs(before["energies"]).max() + np.abs(before["forces"]).max()
        np.testing.assert_allclose(
            after["energies"], before["energies"][order], rtol=0, atol=1e-11 * scale, err_msg=name
        )
        np.testing.assert_allclose(
            after["forces"], before["forces"][order] @ q.T, rtol=0, atol=1e-11 * scale, err_msg=name
        )


@pytest.mark.parametrize("kind", [SiteTerms, CompiledTerms])
def test_the_order_of_the_elements_does_not_matter(kind: type[SiteTerms]) -> None:
    pairs = (TERMS.repulsion[::-1, ::-1], TERMS.distances[::-1, ::-1])
    other = Terms(pairs[0], TERMS.density[::-1], pairs[1], TERMS.embedding[::-1], TERMS.bounds[::-1])
    for atoms in REGIONS.values():
        environments = Environments.of(StructureBatch.build([atoms], SPECIES[::-1], CUTOFF))
        tables = other.tables(SPECIES[::-1], CUTOFF)
        found = kind(tables, environments.geometry, environments.vectors).sites
        np.testing.assert_allclose(found, sites_of(atoms), rtol=1e-12, atol=1e-12)


def assert_same_bits(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    for key in expected:
        assert np.array_equal(found[key], expected[key]), key


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_others_of_a_batch_do_not_matter(backend: str, dtype: str, potential: ETNPotential) -> None:
    many = list(REGIONS.values())
    for alone, together in zip(many, potential.evaluate(many, backend=backend, dtype=dtype), strict=True):
        assert_same_bits(together, potential.evaluate(alone, backend=backend, dtype=dtype)[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_threads_do_not_matter(dtype: str, potential: ETNPotential) -> None:
    large = crystal(3.5, 0.1).repeat((5, 8, 8))
    large.rattle(0.2, seed=3)
    weights = sites_of(large)[:, 0]
    assert weights.min() == 0.0
    assert weights.max() > 0.9
    one, two = (potential.evaluate(large, backend="numba", dtype=dtype, threads=n)[0] for n in (1, 2))
    assert_same_bits(two, one)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_nothing_is_at_work_no_bit_changes(
    backend: str, dtype: str, plain: ETNPotential, potential: ETNPotential
) -> None:
    for gradients in (True, False):
        before, after = (
            p.evaluate(REGIONS["known"], forces=gradients, stress=gradients, backend=backend, dtype=dtype)[0]
            for p in (plain, potential)
        )
        assert_same_bits(after, before)


def test_edges_beyond_the_cutoff_do_not_matter(backend: str, potential: ETNPotential) -> None:
    many = list(REGIONS.values())
    near, far = (StructureBatch.build(many, SPECIES, cutoff) for cutoff in (CUTOFF, CUTOFF + 0.7))
    expected, found = (potential.evaluate_batch(batch, backend=backend) for batch in (near, far))
    assert expected.forces is not None
    assert found.forces is not None
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-12)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-11 * np.abs(expected.forces).max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_backends_agree(backend: str, dtype: str, potential: ETNPotential) -> None:
    tolerance = {"float64": 1e-11, "float32": 2e-5}[dtype]
    many = list(REGIONS.values())
    oracle = potential.evaluate(many, backend="numpy", dtype="float64")
    for expected, found in zip(oracle, potential.evaluate(many, backend=backend, dtype=dtype), strict=True):
        for key, values in expected.items():
            scale = 1 + np.abs(values).max()
            np.testing.assert_allclose(found[key], values, rtol=0, atol=tolerance * scale, err_msg=key)


@given(
    places=st.lists(st.tuples(*3 * [st.floats(-2.0, 2.0)]), min_size=1, max_size=5),
    nickel=st.integers(0, 31),
    cell=st.none() | st.floats(2.0, 6.0),
)
def test_any_few_atoms(
    places: list[tuple[float, float, float]], nickel: int, cell: float | None, potential: ETNPotential
) -> None:
    positions = np.array(places)
    symbols = [SPECIES[nickel >> k & 1] for k in range(len(places))]
    atoms = Atoms(symbols, positions, cell=None if cell is None else 3 * [cell], pbc=cell is not None)
    oracle, found = (potential.evaluate_each([atoms], backend=name)[0] for name in ("numpy", "numba"))
    if isinstance(oracle, StructureError) or isinstance(found, StructureError):
        assert "are at one place" in str(oracle)
        assert str(oracle) == str(found)
        return
    for key, values in oracle.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-10 * (1 + np.abs(values).max()), err_msg=key)
    scale = 1 + np.abs(found["forces"]).max()
    np.testing.assert_allclose(found["forces"].sum(axis=0), 0.0, atol=1e-10 * scale)


# -- where atoms collapse ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbols", ["Al2", "AlNi", "Ni2"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_pair_is_repelled_down_to_nothing(backend: str, dtype: str, symbols: str, potential: ETNPotential) -> None:
    pairs = [dimer(symbols, r) for r in (0.8, 0.5, 0.3, 0.1, 0.002)]
    results = potential.evaluate(pairs, backend=backend, dtype=dtype)
    energies = [result["energy"] for result in results]
    assert energies == sorted(energies)
    assert 1e3 < energies[2] < energies[-1] < inf
    assert all(result["forces"][1] @ [0.6, 0, 0.8] > 100 for result in results)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_without_weight_may_overflow(backend: str, dtype: str, plain: ETNPotential) -> None:
    """Densely packed, sums over neighbours are large and their products beyond every limit: they do not count."""
    huge = {"float64": 1e200, "float32": 1e30}[dtype]
    parameters = {k: v * huge if k[0] in "AB" else v for k, v in plain.parameters.items()}
    both = [ETNPotential(plain.architecture, p, terms=TERMS) for p in (plain.parameters, parameters)]
    atoms = crystal(2.2, 0.02)
    assert not sites_of(atoms)[:, 0].any()
    with np.errstate(all="ignore"):
        network = (
            both[1]
            .with_terms(None)
            .evaluate_batch(StructureBatch.build([atoms], SPECIES, CUTOFF), backend=backend, dtype=dtype)
        )
        assert not np.isfinite(network.energies).any()
        expected, found = (p.evaluate(atoms, backend=backend, dtype=dtype)[0] for p in both)
    assert_same_bits(found, expected)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repulsion": [[1.0, 2.0]]}, r"repulsion has shape \(1, 2\), expected \(2, 2, 2\) for 2 species"),
        ({"density": [[0, 0, 1, 2]]}, r"repulsion has shape \(2, 2, 2\), expected \(1, 1, 2\) for 1 species"),
        ({"density": np.zeros((0, 4))}, r"density has shape \(0, 4\), expected \(1, 4\) for 1 species"),
        ({"density": 3.0}, r"density has shape \(\), expected \(1, 4\)"),
        ({"embedding": [[np.nan, 1, 1, 0], [0, 1, 1, 0]]}, "embedding holds NaN or infinite values"),
        (
            {"embedding": [[0, 1, 1, 0], [0, -1, 1, 0]]},
            r"a cohesive energy above 0, .*; got \[0.0, -1.0, 1.0, 0.0\] for .* \[1\]",
        ),
        (
            {"embedding": [[0, 1, 0, 0], [0, 1, 1, 0]]},
            r"a density above 0 .*; got \[0.0, 1.0, 0.0, 0.0\] for species \[0\]",
        ),
        ({"embedding": [[0, 1, 1, -1], [0, 1, 1, 0]]}, r"a stiffness from 0 on .* for species \[0\]"),
        ({"density": [[0.5, 0.5, 1, 2], [0, 0, 1, 2]]}, r"0 <= a < b < c < d .* or a = b = 0"),
        ({"density": [[0.5, 0.0, 1, 2], [0, 0, 1, 2]]}, r"0 <= a < b < c < d .*; got \[0.5, 0.0, 1.0, 2.0\]"),
        ({"density": [[0, 0, 2, 2], [0, 0, 1, 2]]}, r"0 <= a < b < c < d"),
        ({"density": [[-1, 0.5, 2, 3], [0, 0, 1, 2]]}, r"0 <= a < b < c < d"),
        ({"bounds": [[0, 1, 1, 2], [0, 1, 2, 3]]}, r"floor < low < high < ceiling in eV .* for species \[0\]"),
        ({"distances": np.full((2, 2, 2), 1.0)}, r"0 <= inner < outer in A .* distances, or twice 0 for none"),
        ({"repulsion": np.full((2, 2, 2), -1.0)}, r"0 <= inner < outer in A .* repulsion"),
        (
            {"distances": [[[1, 2], [1, 2]], [[1, 2.5], [1, 2]]]},
            r"the terms' distances to be symmetric in the species; got \[1.0, 2.0\] for species \[0, 1\]",
        ),
    ],
)
def test_numbers_that_are_no_terms(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Terms(**{**NUMBERS, **changes})


def test_terms_that_do_not_fit_the_potential(make_potential: MakePotential) -> None:
    with pytest.raises(NetworkError, match=r"the terms are for 2 species, the potential is for \('Al',\)"):
        make_potential(1).with_terms(TERMS)
    far = Terms(**{**NUMBERS, "distances": np.broadcast_to([1.0, 4.6], (2, 2, 2))})
    with pytest.raises(NetworkError, match=r"distances reach to 4.6 A, expected at most the cutoff .* 4.5 A"):
        make_potential(2).with_terms(far)
    with pytest.raises(NetworkError, match="terms are of energies; this potential has the covariant output 1x1o"):
        make_potential(2, target="1x1o").with_terms(TERMS)


def test_terms_are_copied_and_read_only() -> None:
    numbers = {name: np.array(values) for name, values in NUMBERS.items()}
    terms = Terms(**numbers)
    for array in numbers.values():
        array += 1.0
    assert terms == TERMS
    assert terms != Terms(**{**NUMBERS, "embedding": [[0, 1, 1, 0], [0, 1, 1, 0]]})
    with pytest.raises(ValueError, match="read-only"):
        terms.density[0, 0] = 1.0


def test_pairs_and_limits_that_are_none(backend: str, plain: ETNPotential) -> None:
    """Without radii and limits nothing is added, whatever the structure."""
    none, sites = np.zeros((2, 2, 2)), np.ones((2, 1))
    nothing = Terms(
        none, sites * [0.0, 0.0, 1e6, 2e6], none, sites * [0.0, 1.0, 1.0, 0.0], sites * [-2e6, -1e6, 1e6, 2e6]
    )
    many = list(REGIONS.values())
    results = zip(*(p.evaluate(many, backend=backend) for p in (plain, plain.with_terms(nothing))), strict=True)
    for before, after in results:
        assert_same_bits(after, before)
