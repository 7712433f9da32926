"""StructureBatch: layout, order of structures, failures, distances per pair of species, moved atoms."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import StructureError
from etn_gpu.structures import StructureBatch, estimate_edges

SPECIES = ("H", "O", "Al", "Ni")


def mixed_structures() -> list[Atoms]:
    """A crystal, a molecule, an isolated atom, a slab and an alloy, with different periodicities."""
    alloy = bulk("Al", cubic=True) * (2, 2, 1)
    alloy.symbols[::3] = "Ni"
    alloy.rattle(0.1, seed=2)
    slab = bulk("Ni", cubic=True) * (2, 2, 2)
    slab.pbc = (True, True, False)
    return [bulk("Al"), molecule("H2O"), Atoms("H"), slab, alloy]


def part(batch: StructureBatch, s: int) -> dict[str, np.ndarray]:
    """All arrays of structure s with atoms and edges counted inside it."""
    start, stop = batch.atom_offsets[s : s + 2]
    first, last = batch.edge_offsets[[start, stop]]
    return {
        "species": batch.species_index[start:stop],
        "positions": batch.positions[start:stop],
        "cell": batch.cells[s],
        "pbc": batch.pbc[s],
        "volume": batch.volumes[s],
        "offsets": batch.edge_offsets[start : stop + 1] - first,
        "neighbour": batch.neighbour[first:last] - start,
        "vectors": batch.vectors[first:last],
        "shifts": batch.shifts[first:last],
        "reverse": batch.reverse[first:last] - first,
    }


def assert_same_part(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    for name, values in a.items():
        assert np.array_equal(values, b[name], equal_nan=True), name


def test_layout_and_types() -> None:
    structures = mixed_structures()
    batch = StructureBatch.build(structures, SPECIES, 4.0)
    sizes = [len(atoms) for atoms in structures]
    assert (batch.n_structures, batch.n_atoms) == (5, sum(sizes))
    assert batch.atom_offsets.tolist() == [0, *np.cumsum(sizes)]
    assert batch.structure_of_atom.tolist() == np.repeat(range(5), sizes).tolist()
    assert [SPECIES[k] for k in batch.species_index] == [s for atoms in structures for s in atoms.symbols]
    assert batch.kept.tolist() == [0, 1, 2, 3, 4]
    assert batch.failures == {}
    assert np.array_equal(np.isfinite(batch.volumes), [True, False, False, False, True])
    assert batch.volumes[4] == pytest.approx(structures[4].get_volume())
    for array, dtype in (
        (batch.species_index, np.int32),
        (batch.shifts, np.int32),
        (batch.neighbour, np.int64),
        (batch.reverse, np.int64),
        (batch.edge_offsets, np.int64),
        (batch.vectors, np.float64),
        (batch.pbc, np.bool_),
    ):
        assert array.dtype == dtype
        assert array.flags.c_contiguous


@given(order=st.permutations(range(5)))
def test_a_structure_is_the_same_wherever_it_stands(order: list[int]) -> None:
    structures = mixed_structures()
    batch = StructureBatch.build(structures, SPECIES, 4.0)
    permuted = StructureBatch.build([structures[k] for k in order], SPECIES, 4.0)
    for place, k in enumerate(order):
        assert_same_part(part(permuted, place), part(batch, k))


def test_the_structures_are_not_changed() -> None:
    atoms = bulk("Al", cubic=True)
    atoms.positions += 30.0
    before = atoms.copy()
    batch = StructureBatch.build([atoms], SPECIES, 4.0)
    batch.positions[:] = 0.0
    batch.cells[:] = 0.0
    assert atoms == before


def test_no_structures_make_an_empty_batch() -> None:
    batch = StructureBatch.build([], SPECIES, 4.0)
    assert (batch.n_structures, batch.n_atoms, batch.n_edges) == (0, 0, 0)
    assert np.isinf(batch.minimum_distances()).all()
    assert batch.closer_than(np.ones((4, 4))).shape == (0,)


def test_collected_failures_leave_the_others_as_they_are() -> None:
    good = mixed_structures()
    overlapping = molecule("H2O")
    overlapping.positions[1] = overlapping.positions[0]
    structures = [Atoms(), good[0], Atoms("Xe"), overlapping, good[3], "POSCAR", good[4]]
    batch = StructureBatch.build(structures, SPECIES, 4.0, on_error="collect")
    assert batch.kept.tolist() == [1, 4, 6]
    assert list(batch.failures) == [0, 2, 3, 5]
    assert all(isinstance(error, StructureError) for error in batch.failures.values())
    assert "no atoms" in str(batch.failures[0])
    assert "Xe" in str(batch.failures[2])
    assert "one place" in str(batch.failures[3])
    assert "str" in str(batch.failures[5])
    alone = StructureBatch.build([good[0], good[3], good[4]], SPECIES, 4.0)
    for s in range(3):
        assert_same_part(part(batch, s), part(alone, s))


def test_nothing_but_failures() -> None:
    batch = StructureBatch.build([Atoms(), Atoms("Xe")], SPECIES, 4.0, on_error="collect")
    assert batch.n_structures == 0
    assert list(batch.failures) == [0, 1]


def test_minimum_distances_and_closer_than() -> None:
    dimer = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 2.5]])
    pair = Atoms("Al2", positions=[[0, 0, 0], [0, 3.0, 0]])
    batch = StructureBatch.build([dimer, pair], ("Al", "Ni"), 4.0)
    closest = batch.minimum_distances()
    assert closest.tolist() == [[3.0, 2.5], [2.5, np.inf]]
    assert batch.closer_than(closest).tolist() == [False, False]
    assert batch.closer_than([[3.0, 2.6], [2.6, 0.0]]).tolist() == [True, False]
    assert batch.closer_than([[3.1, 0.0], [0.0, 9.9]]).tolist() == [False, True]
    with pytest.raises(StructureError, match=r"limits have shape \(2,\): expected \(2, 2\)"):
        batch.closer_than([3.0, 2.5])


def test_the_shortest_edge_of_each_structure() -> None:
    structures = mixed_structures()
    batch = StructureBatch.build(structures, SPECIES, 4.0)

    def expected(batch: StructureBatch) -> list[float]:
        lengths = np.linalg.norm(batch.vectors, axis=1)
        parts = np.split(lengths, batch.edge_offsets[batch.atom_offsets[1:-1]])
        return [part.min(initial=np.inf) for part in parts]

    assert batch.shortest == pytest.approx(expected(batch), rel=1e-14)
    assert np.isinf(batch.shortest[2])
    moved = batch.with_vectors(batch.positions * 1.1, batch.cells * 1.1)
    assert moved.shortest == pytest.approx(1.1 * batch.shortest, rel=1e-14)


def test_moved_atoms_and_cells_keep_their_edges() -> None:
    structures = mixed_structures()
    batch = StructureBatch.build(structures, SPECIES, 4.0)
    assert np.allclose(batch.with_vectors(batch.positions, batch.cells).vectors, batch.vectors, rtol=0, atol=1e-14)

    rng = np.random.default_rng(0)
    strain = np.eye(3) + 0.01 * rng.normal(size=(3, 3))
    moved = batch.with_vectors(batch.positions @ strain, batch.cells @ strain)
    assert np.allclose(moved.vectors, batch.vectors @ strain, rtol=0, atol=1e-13)
    assert np.array_equal(moved.vectors[moved.reverse], -moved.vectors)
    assert np.allclose(moved.volumes, batch.volumes * np.linalg.det(strain), equal_nan=True)
    assert moved.neighbour is batch.neighbour


@pytest.mark.parametrize("cutoff", [0.5, 2.9, 4.0])
def test_fewer_edges_are_those_of_a_smaller_cutoff(cutoff: float) -> None:
    structures = mixed_structures()
    batch = StructureBatch.build(structures, SPECIES, 4.0).within(cutoff)
    expected = StructureBatch.build(structures, SPECIES, cutoff)
    for name in ("cutoff", "edge_offsets", "neighbour", "vectors", "shifts", "reverse", "shortest"):
        assert np.array_equal(getattr(batch, name), getattr(expected, name)), name
    assert StructureBatch.build([], SPECIES, 4.0).within(cutoff).n_edges == 0
    with pytest.raises(StructureError, match=r"cutoff = 4\.5: the batch has edges up to 4 Angstrom only"):
        StructureBatch.build(structures, SPECIES, 4.0).within(4.5)
    with pytest.raises(StructureError, match="expected a radius above 0"):
        batch.within(-1.0)


@pytest.mark.parametrize("name", ["positions", "cells"])
def test_moved_atoms_of_another_shape(name: str) -> None:
    batch = StructureBatch.build([bulk("Al")], SPECIES, 4.0)
    arrays = {"positions": batch.positions, "cells": batch.cells}
    arrays[name] = arrays[name][:, :2]
    with pytest.raises(StructureError, match=f"{name} have shape"):
        batch.with_vectors(**arrays)


def test_estimated_edges_are_near_the_true_ones() -> None:
    vacuum = bulk("Ni", cubic=True) * (4, 4, 6)
    vacuum.center(vacuum=20.0, axis=2)
    big = bulk("Al", cubic=True) * (8, 8, 8)
    cluster = big.copy()
    cluster.pbc = False
    wire = Atoms("Al", cell=[1.1, 0, 0], pbc=(True, False, False))
    tilted = bulk("Al") * (3, 2, 5)
    structures = [bulk("Al"), vacuum, big, cluster, wire, tilted, *mixed_structures()]
    batch = StructureBatch.build(structures, SPECIES, 5.0)
    true = np.diff(batch.edge_offsets[batch.atom_offsets])
    estimate = estimate_edges(structures, 5.0)
    assert np.all(estimate <= 3 * true)
    assert np.all(estimate >= true / 2)


def test_the_estimate_of_what_cannot_be_built_is_zero() -> None:
    nowhere = Atoms("Al", positions=[[np.nan, 0, 0]])
    flat = Atoms("Al", cell=[2.0, 2.0, 0.0], pbc=True)
    assert estimate_edges([Atoms(), nowhere, flat, Atoms("Al")], 5.0).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert estimate_edges([], 5.0).shape == (0,)
    with pytest.raises(StructureError, match="cutoff"):
        estimate_edges([bulk("Al")], -1.0)
