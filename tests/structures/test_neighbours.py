"""Neighbour lists of StructureBatch against brute force over images and against ASE."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vesin import NeighborList

from etn_gpu.errors import StructureError
from etn_gpu.structures import StructureBatch, cell_list, neighbours

Edge = tuple[int, int, int, int, int]
SPECIES = ("Al", "Cu", "Ni")

periodicities = st.tuples(st.booleans(), st.booleans(), st.booleans())


def brute_force(atoms: Atoms, cutoff: float) -> dict[Edge, NDArray[np.float64]]:
    """(i, j, shift) -> vector of every pair closer than the cutoff, from all images that could be near."""
    positions, cell, pbc = atoms.positions, atoms.cell.array, atoms.pbc
    inverse = np.zeros((3, 3))
    inverse[:, pbc] = np.linalg.pinv(cell[pbc])
    reach = cutoff * np.linalg.norm(inverse, axis=0)
    edges = {}
    for i, j in itertools.product(range(len(atoms)), repeat=2):
        difference = positions[j] - positions[i]
        nearest = -difference @ inverse
        images = [
            np.arange(np.floor(low), np.ceil(high) + 1)
            for low, high in zip(nearest - reach, nearest + reach, strict=True)
        ]
        shifts = np.stack(np.meshgrid(*images), axis=-1).reshape(-1, 3)
        vectors = difference + shifts @ cell
        for k in np.flatnonzero(np.linalg.norm(vectors, axis=1) < cutoff):
            x, y, z = (int(n) for n in shifts[k])
            if i != j or (x, y, z) != (0, 0, 0):
                edges[(i, j, x, y, z)] = vectors[k]
    return edges


def edges_of(batch: StructureBatch, s: int = 0) -> list[Edge]:
    """The edges of structure s as (i, j, shift), with atoms counted inside the structure."""
    start, stop = batch.atom_offsets[s : s + 2]
    rows = slice(batch.edge_offsets[start], batch.edge_offsets[stop])
    columns = (batch.centre[rows] - start, batch.neighbour[rows] - start, *batch.shifts[rows].T)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def random_structure(seed: int, n_atoms: int, pbc: tuple[bool, bool, bool], spread: float, bare: bool) -> Atoms:
    """Atoms in a random skewed cell, scattered over `spread` cells; `bare`: no cell vector where not periodic."""
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) * rng.uniform(1.0, 4.0)
    unit = cell / np.linalg.norm(cell, axis=1, keepdims=True)
    assume(abs(np.linalg.det(unit)) > 0.1 and abs(np.linalg.det(cell)) > 2.0)
    positions = rng.uniform(-spread, spread, size=(n_atoms, 3)) @ cell
    if bare:
        cell[~np.array(pbc)] = 0.0
    return Atoms(rng.choice(SPECIES, n_atoms), positions=positions, cell=cell, pbc=pbc)


def assert_consistent(batch: StructureBatch) -> None:
    """What must hold for every batch: offsets, order, reverse edges, vectors."""
    edges = np.arange(batch.n_edges)
    assert batch.edge_offsets[0] == 0
    assert batch.edge_offsets[-1] == batch.n_edges
    assert batch.edge_offsets.shape == (batch.n_atoms + 1,)
    centre = batch.centre
    assert np.array_equal(batch.structure_of_atom[centre], batch.structure_of_atom[batch.neighbour])

    species = batch.species_index[batch.neighbour]
    order = np.lexsort((*batch.shifts.T[::-1], batch.neighbour, species, centre))
    assert np.array_equal(order, edges)

    assert np.array_equal(batch.reverse[batch.reverse], edges)
    assert np.array_equal(centre[batch.reverse], batch.neighbour)
    assert np.array_equal(batch.shifts[batch.reverse], -batch.shifts)
    assert np.array_equal(batch.vectors[batch.reverse], -batch.vectors)

    cells = batch.cells[batch.structure_of_atom[centre]]
    expected = batch.positions[batch.neighbour] - batch.positions[centre]
    expected += np.einsum("ek,ekx->ex", batch.shifts, cells)
    scale = max(1.0, np.abs(batch.positions).max(initial=0.0))
    assert np.allclose(batch.vectors, expected, rtol=0, atol=1e-14 * scale)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 5),
    pbc=periodicities,
    cutoff=st.floats(0.5, 4.5),
    spread=st.sampled_from([0.5, 3.0]),
    bare=st.booleans(),
)
def test_any_cell_and_periodicity_against_brute_force(
    seed: int, n_atoms: int, pbc: tuple[bool, bool, bool], cutoff: float, spread: float, bare: bool
) -> None:
    atoms = random_structure(seed, n_atoms, pbc, spread, bare)
    expected = brute_force(atoms, cutoff)
    assume(all(1e-2 < np.linalg.norm(v) < cutoff - 1e-9 for v in expected.values()))
    batch = StructureBatch.build([atoms], SPECIES, cutoff)
    found = edges_of(batch)
    assert len(found) == len(set(found))
    assert set(found) == set(expected)
    assert_consistent(batch)


@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 8), pbc=periodicities)
@example(seed=0, n_atoms=1, pbc=(True, True, True))
def test_against_ase(seed: int, n_atoms: int, pbc: tuple[bool, bool, bool]) -> None:
    atoms = random_structure(seed, n_atoms, pbc, 1.5, bare=False)
    i, j, distance, shift = neighbor_list("ijdS", atoms, 3.7)
    assume(not len(distance) or distance.min() > 1e-2)
    expected = set(zip(i.tolist(), j.tolist(), *shift.T.tolist(), strict=True))
    batch = StructureBatch.build([atoms], SPECIES, 3.7)
    assert set(edges_of(batch)) == expected
    assert batch.n_edges == len(expected)


def vesin_edges(atoms: Atoms, cutoff: float) -> set[Edge]:
    search = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    i, j, shift = search.compute(atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), "ijS")
    return set(zip(i.tolist(), j.tolist(), *shift.T.tolist(), strict=True))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 150),
    lengths=st.tuples(*[st.floats(3.0, 40.0)] * 3),
    skew=st.floats(0.0, 0.5),
    pbc=periodicities,
    unwrapped=st.booleans(),
)
def test_cells_of_many_bins_against_vesin(
    seed: int, n_atoms: int, lengths: tuple[float, float, float], skew: float, pbc: tuple[bool, ...], unwrapped: bool
) -> None:
    cutoff = 4.0123456789  # no tie with a round length of a cell
    rng = np.random.default_rng(seed)
    cell = np.diag(lengths) @ (np.eye(3) + skew * np.tril(rng.uniform(-1.0, 1.0, (3, 3)), -1))
    positions = rng.uniform(size=(n_atoms, 3)) @ cell
    if unwrapped:
        positions += rng.integers(-2, 3, (n_atoms, 3)) @ cell
    atoms = Atoms(rng.choice(SPECIES, n_atoms), positions, cell=cell, pbc=pbc)
    batch = StructureBatch.build([atoms], SPECIES, cutoff, on_error="collect")
    assume(not batch.failures)
    assert set(edges_of(batch)) == vesin_edges(atoms, cutoff)
    assert_consistent(batch)


@pytest.mark.parametrize("displacement", [0.0, 1e-13])
@pytest.mark.parametrize("cells", [1, 2, 3, 5])
def test_perfect_crystals_whose_atoms_lie_on_the_planes_between_bins(cells: int, displacement: float) -> None:
    crystal = bulk("Al", cubic=True, a=4.0) * cells
    crystal.positions += displacement * np.random.default_rng(cells).normal(size=crystal.positions.shape)
    # shells of fcc at a / sqrt(2), a, a sqrt(3/2): 12 + 6 + 24 neighbours; bins exactly one cell wide for 4.0
    for cutoff, expected in ((3.9999, 12), (4.0001, 18), (4.9, 42), (8.0 - 1e-9, 134)):
        batch = StructureBatch.build([crystal], SPECIES, cutoff)
        assert np.all(np.diff(batch.edge_offsets) == expected)
        assert_consistent(batch)


def test_a_guess_of_too_few_pairs_costs_a_second_search_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = [bulk("Al"), fcc111("Al", (2, 2, 3), vacuum=30.0), molecule("H2O")]
    species = ("Al", "H", "O")
    guessed = StructureBatch.build(structures, species, 5.0)
    monkeypatch.setattr(cell_list, "_expected_pairs", lambda *_: 1)
    again = StructureBatch.build(structures, species, 5.0)
    for name in ("edge_offsets", "neighbour", "shifts", "vectors", "reverse", "shortest"):
        assert np.array_equal(getattr(guessed, name), getattr(again, name)), name
    assert_consistent(again)


def test_more_pairs_than_can_be_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = StructureBatch.build([bulk("Al"), bulk("Al")], SPECIES, 5.0)
    most = batch.n_edges // 4
    monkeypatch.setattr(neighbours, "_MOST_PAIRS", most)
    assert StructureBatch.build([bulk("Al"), bulk("Al")], SPECIES, 5.0).n_edges == batch.n_edges
    monkeypatch.setattr(neighbours, "_MOST_PAIRS", most - 1)
    with pytest.raises(StructureError, match=f"{most} pairs of neighbours inside 5 A: expected at most {most - 1}"):
        StructureBatch.build([bulk("Al"), bulk("Al")], SPECIES, 5.0)


def test_every_kernel_is_compiled_once() -> None:
    """A second signature would be a second compilation of seconds, for a batch that only looks different to numba."""
    wire = Atoms("Al", cell=[1.1, 0, 0], pbc=(True, False, False))
    for structures in ([bulk("Al")], [wire, molecule("H2O")], [], [Atoms("Al")]):
        batch = StructureBatch.build(structures, ("Al", "H", "O"), 5)
        batch.with_vectors(batch.positions, batch.cells)
        batch.closer_than(np.full((3, 3), 9.9))
        batch.within(2)
    entries = (
        cell_list._search,
        neighbours._fill,
        neighbours._vectors,
        neighbours.mark_closer,
        neighbours.shorter_edges,
    )
    helpers = (cell_list._fill_bins, cell_list._pairs_of_column, cell_list._list_columns, cell_list._gap)
    assert [len(kernel.signatures) for kernel in entries] == [1] * len(entries)
    # none where the entry came compiled from the cache
    assert all(len(kernel.signatures) <= 1 for kernel in helpers)


TINY = {
    "one atom, cutoff of four cells": ([[1.3, 0, 0], [0, 1.3, 0], [0, 0, 1.3]], 5.2, (True, True, True)),
    "skewed by ten cells": ([[2.0, 0, 0], [20.0, 2.0, 0], [0, 20.0, 2.0]], 3.1, (True, True, True)),
    "left-handed": ([[0, 0, 2.0], [0, 2.5, 0], [3.0, 0, 0]], 4.1, (True, True, True)),
    "a wire": ([[0, 0, 0], [0, 0, 0], [0.4, 0.3, 1.2]], 4.0, (False, False, True)),
    "a sheet without a third vector": ([[1.4, 0, 0], [0.7, 1.3, 0], [0, 0, 0]], 3.3, (True, True, False)),
    "a third vector in the plane of a sheet": ([[1.4, 0, 0], [0.7, 1.3, 0], [2.1, 1.3, 0]], 3.3, (True, True, False)),
}


@pytest.mark.parametrize("case", TINY)
def test_tiny_and_skewed_cells(case: str) -> None:
    cell, cutoff, pbc = TINY[case]
    atoms = Atoms("AlCu", positions=[[0.1, -7.3, 0.2], [0.6, 0.5, 0.7]], cell=cell, pbc=pbc)
    batch = StructureBatch.build([atoms], SPECIES, cutoff)
    assert set(edges_of(batch)) == set(brute_force(atoms, cutoff))
    assert_consistent(batch)


@pytest.mark.parametrize("cells_away", [1, 10**3, 10**6])
@pytest.mark.parametrize("axes", [(0,), (0, 1), (0, 1, 2)])
def test_unwrapped_positions_give_the_same_vectors(axes: tuple[int, ...], cells_away: int) -> None:
    atoms = bulk("Al", cubic=True) * (2, 1, 1)
    atoms.symbols[::3] = "Ni"
    atoms.rattle(0.1, seed=1)
    wrapped = StructureBatch.build([atoms], SPECIES, 5.0)
    moved = atoms.copy()
    shift = np.zeros((len(atoms), 3))
    shift[np.ix_([1, 4, 6], axes)] = np.array([cells_away, -cells_away, cells_away])[:, None]
    moved.positions += shift @ atoms.cell.array
    unwrapped = StructureBatch.build([moved], SPECIES, 5.0)
    assert_consistent(unwrapped)
    assert np.array_equal(unwrapped.neighbour, wrapped.neighbour)
    assert np.array_equal(unwrapped.reverse, wrapped.reverse)
    assert np.allclose(unwrapped.vectors, wrapped.vectors, rtol=0, atol=1e-14 * cells_away + 1e-13)


def test_clusters_need_no_cell() -> None:
    water = molecule("H2O")
    assert not water.cell.any()
    batch = StructureBatch.build([water, Atoms("O")], ("H", "O"), 1.2)
    assert set(edges_of(batch)) == {(0, 1, 0, 0, 0), (1, 0, 0, 0, 0), (0, 2, 0, 0, 0), (2, 0, 0, 0, 0)}
    assert edges_of(batch, 1) == []
    assert np.isnan(batch.volumes).all()


def test_an_atom_with_no_neighbour_has_no_edges() -> None:
    batch = StructureBatch.build([Atoms("Cu", cell=[20.0] * 3, pbc=True)], SPECIES, 5.0)
    assert batch.n_edges == 0
    assert batch.edge_offsets.tolist() == [0, 0]
    assert batch.volumes.tolist() == [pytest.approx(8000.0)]
    assert_consistent(batch)


@pytest.mark.parametrize("distance", [150.0, 1e4, 9e6])
@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (False, False, False)])
def test_an_atom_that_left_costs_nothing_and_changes_nothing(pbc: tuple[bool, bool, bool], distance: float) -> None:
    slab = fcc111("Al", (2, 2, 3), vacuum=0.0, orthogonal=True)
    slab.pbc = pbc
    alone = StructureBatch.build([slab], SPECIES, 5.0)
    slab += Atoms("Cu", positions=[[1.0, 2.0, distance]])
    slab += Atoms("Cu", positions=[[2.0, 1.0, distance + 2.0]])
    batch = StructureBatch.build([slab], SPECIES, 5.0)
    assert_consistent(batch)
    assert set(edges_of(alone)) <= set(edges_of(batch))
    rest = [edge for edge in edges_of(batch) if min(edge[:2]) >= len(slab) - 2]
    assert len(rest) == batch.n_edges - alone.n_edges
    assert (len(slab) - 2, len(slab) - 1, 0, 0, 0) in rest


def test_gas_scattered_over_a_huge_box() -> None:
    rng = np.random.default_rng(3)
    pairs = rng.uniform(-1e6, 1e6, size=(20, 3))
    gas = Atoms("Al40", positions=np.concatenate([pairs, pairs + np.array([0.0, 1.5, 2.0])]))
    batch = StructureBatch.build([gas], SPECIES, 5.0)
    assert batch.n_edges == 40
    assert np.allclose(np.linalg.norm(batch.vectors, axis=1), 2.5)


def test_edges_are_sorted_by_species_first() -> None:
    atoms = bulk("Al", cubic=True) * (2, 2, 2)
    atoms.symbols[::2] = "Cu"
    batch = StructureBatch.build([atoms], ("Cu", "Al"), 4.0)
    first = batch.species_index[batch.neighbour[: batch.edge_offsets[1]]]
    assert first.tolist() == sorted(first.tolist())
    assert set(first.tolist()) == {0, 1}
    assert_consistent(batch)
