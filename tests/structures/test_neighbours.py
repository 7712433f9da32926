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

from etn_gpu.structures import StructureBatch
from etn_gpu.structures.neighbours import sorted_order

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


@pytest.mark.parametrize(
    ("shift_range", "expected"), [(2, "all in one integer"), (2**16, "without the index"), (2**30, "separate columns")]
)
def test_every_way_of_sorting_gives_the_same_order(shift_range: int, expected: str) -> None:
    rng = np.random.default_rng(0)
    centre, rank = rng.integers(0, 50, 5000), rng.integers(0, 50, 5000)
    shifts = rng.integers(-shift_range, shift_range, (5000, 3)).astype(np.int32)
    columns, first = np.unique(np.column_stack((centre, rank, shifts)), axis=0, return_index=True)
    unique = rng.permutation(first)
    order = sorted_order(centre[unique], rank[unique], shifts[unique])
    assert np.array_equal(np.column_stack((centre, rank, shifts))[unique][order], columns), expected
