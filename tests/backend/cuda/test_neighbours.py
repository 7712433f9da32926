"""Neighbour lists of the device are those of the CPU, to the last bit and in the same order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.neighbours import DeviceEdges, NeighbourSearch, search_bytes
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.errors import BackendError
from etn_gpu.structures import StructureBatch
from tests.emulator import EmulatedDevice, EmulatorError, run_in_order

pytestmark = pytest.mark.emulator

SPECIES = ("H", "O", "Al", "Cu", "Ni")
FIELDS = {
    "offsets": "edge_offsets",
    "neighbour": "neighbour",
    "shifts": "shifts",
    "reverse": "reverse",
    "vectors": "vectors",
}


def upload(device: Device, batch: StructureBatch) -> DeviceStructures:
    return DeviceStructures.upload(
        device,
        batch.atom_offsets,
        batch.species_index,
        batch.positions,
        batch.cells,
        batch.pbc,
        len(batch.species),
    )


def assert_same(device: Device, edges: DeviceEdges, batch: StructureBatch) -> None:
    for name, of_batch in FIELDS.items():
        given, expected = device.to_host(getattr(edges, name)), getattr(batch, of_batch)
        assert given.dtype == expected.dtype, name
        np.testing.assert_array_equal(given, expected, err_msg=name)
    np.testing.assert_array_equal(device.to_host(edges.species), batch.species_index[batch.neighbour])
    lengths = np.einsum("ex,ex->e", batch.vectors, batch.vectors)
    nearest = device.to_host(edges.nearest)
    for i in range(batch.n_atoms):
        least = lengths[batch.edge_offsets[i] : batch.edge_offsets[i + 1]].min(initial=np.inf)
        assert nearest[i] == pytest.approx(least, rel=1e-15)


def check(device: Device, search: NeighbourSearch, structures: Sequence[Atoms], cutoff: float) -> StructureBatch:
    batch = StructureBatch.build(structures, SPECIES, cutoff)
    assert_same(device, search.find(upload(device, batch), cutoff), batch)
    return batch


def mixed(atoms: Atoms, seed: int = 0, amplitude: float = 0.1) -> Atoms:
    """Other elements here and there, and atoms off their places."""
    rng = np.random.default_rng(seed)
    atoms.symbols[:] = rng.choice(["Al", "Cu", "Ni"], len(atoms))
    atoms.positions += amplitude * rng.normal(size=(len(atoms), 3))
    return atoms


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    cutoff=st.floats(0.5, 4.0),
    spread=st.sampled_from([0.5, 3.0]),
    bare=st.booleans(),
)
def test_random_batches_of_any_cell_and_periodicity(
    device: Device,
    search: NeighbourSearch,
    seed: int,
    n_atoms: list[int],
    cutoff: float,
    spread: float,
    bare: bool,
) -> None:
    rng = np.random.default_rng(seed)
    structures = []
    for n in n_atoms:
        pbc = rng.random(3) < 0.6
        cell = rng.normal(size=(3, 3)) * rng.uniform(1.0, 4.0)
        unit = cell / np.linalg.norm(cell, axis=1, keepdims=True)
        assume(abs(np.linalg.det(unit)) > 0.1 and abs(np.linalg.det(cell)) > 2.0)
        positions = rng.uniform(-spread, spread, size=(n, 3)) @ cell
        if bare:
            cell[~pbc] = 0.0
        structures.append(Atoms(rng.choice(SPECIES, n), positions=positions, cell=cell, pbc=pbc))
    batch = StructureBatch.build(structures, SPECIES, cutoff, on_error="collect")
    assume(not batch.failures)
    run_in_order(device, seed % 4)
    assert_same(device, search.find(upload(device, batch), cutoff), batch)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 120),
    lengths=st.tuples(*[st.floats(3.0, 30.0)] * 3),
    skew=st.floats(0.0, 0.5),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_cells_of_many_bins(
    device: Device,
    search: NeighbourSearch,
    seed: int,
    n_atoms: int,
    lengths: tuple[float, float, float],
    skew: float,
    pbc: tuple[bool, bool, bool],
) -> None:
    rng = np.random.default_rng(seed)
    cell = np.diag(lengths) @ (np.eye(3) + skew * np.tril(rng.uniform(-1.0, 1.0, (3, 3)), -1))
    positions = (rng.uniform(size=(n_atoms, 3)) + rng.integers(-2, 3, (n_atoms, 3))) @ cell
    atoms = Atoms(rng.choice(SPECIES, n_atoms), positions, cell=cell, pbc=pbc)
    batch = StructureBatch.build([atoms], SPECIES, 3.5, on_error="collect")
    assume(not batch.failures)
    assert_same(device, search.find(upload(device, batch), 3.5), batch)


def everything() -> list[Atoms]:
    """A ragged batch of all that a screening may meet."""
    skewed = mixed(bulk("Al", cubic=True) * (2, 2, 2), 1)
    skewed.set_cell(skewed.cell.array @ np.array([[1, 0, 0], [1.3, 1, 0], [-0.4, 2.2, 1]]), scale_atoms=False)
    unwrapped = mixed(bulk("Cu", cubic=True) * (2, 1, 1), 2)
    unwrapped.positions += np.random.default_rng(3).integers(-3, 4, (8, 3)) @ unwrapped.cell.array
    slab = mixed(fcc111("Al", (2, 2, 3), vacuum=6.0), 4)
    slab.pbc = (True, True, False)
    return [
        bulk("Al"),
        molecule("H2O"),
        Atoms("O"),
        mixed(bulk("Al", cubic=True) * (3, 3, 3), 5),
        slab,
        skewed,
        Atoms("Cu", cell=[30.0] * 3, pbc=True),
        unwrapped,
        Atoms(
            "AlNi", positions=[[0, 0, 0], [0.3, 0.1, 1.1]], cell=[[0, 0, 0], [0, 0, 0], [0.4, 0.3, 2.2]], pbc=(0, 0, 1)
        ),
    ]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_ragged_batch_in_any_order_of_threads(device: Device, search: NeighbourSearch, order: int) -> None:
    run_in_order(device, order)
    check(device, search, everything(), 4.5)


TINY = {
    "one atom, cutoff of four cells": ([[1.3, 0, 0], [0, 1.3, 0], [0, 0, 1.3]], 5.2, (True, True, True)),
    "skewed by ten cells": ([[2.0, 0, 0], [20.0, 2.0, 0], [0, 20.0, 2.0]], 3.1, (True, True, True)),
    "left-handed": ([[0, 0, 2.0], [0, 2.5, 0], [3.0, 0, 0]], 4.1, (True, True, True)),
    "a wire": ([[0, 0, 0], [0, 0, 0], [0.4, 0.3, 1.2]], 4.0, (False, False, True)),
    "a wire along the first vector": ([[0.4, 0.3, 1.2], [0, 0, 0], [0, 0, 0]], 4.0, (True, False, False)),
    "a sheet without a third vector": ([[1.4, 0, 0], [0.7, 1.3, 0], [0, 0, 0]], 3.3, (True, True, False)),
    "a sheet without a first vector": ([[0, 0, 0], [0.7, 1.3, 0], [1.4, 0, 0.2]], 3.3, (False, True, True)),
    "a third vector in the plane of a sheet": ([[1.4, 0, 0], [0.7, 1.3, 0], [2.1, 1.3, 0]], 3.3, (True, True, False)),
}


@pytest.mark.parametrize("case", TINY)
def test_tiny_and_skewed_cells(device: Device, search: NeighbourSearch, case: str) -> None:
    cell, cutoff, pbc = TINY[case]
    atoms = Atoms("AlCu", positions=[[0.1, -7.3, 0.2], [0.6, 0.5, 0.7]], cell=cell, pbc=pbc)
    assert check(device, search, [atoms], cutoff).n_edges > 0


@pytest.mark.parametrize("cells", [1, 2, 5])
def test_crystals_whose_atoms_lie_on_the_planes_between_bins(
    device: Device, search: NeighbourSearch, cells: int
) -> None:
    crystal = bulk("Al", cubic=True, a=4.0) * (cells, 1, 2)
    for cutoff, expected in ((3.9999, 12), (4.0001, 18), (4.9, 42)):
        batch = check(device, search, [crystal], cutoff)
        assert np.all(np.diff(batch.edge_offsets) == expected)


def test_more_neighbours_than_are_sorted_in_shared_memory(device: Device, search: NeighbourSearch) -> None:
    batch = check(device, search, [mixed(bulk("Al", cubic=True, a=4.0)), bulk("Al", a=3.0), Atoms("O")], 9.0)
    per_atom = np.diff(batch.edge_offsets)
    assert per_atom.max() > 300
    assert per_atom.min() == 0


SORTED_IN_SHARED_MEMORY = "SHARED_EDGES = 128, CELLS = 512, CELL_BITS = 10"


@pytest.mark.parametrize(
    "limits", ["SHARED_EDGES = 2, CELLS = 512, CELL_BITS = 10", "SHARED_EDGES = 128, CELLS = 1, CELL_BITS = 1"]
)
def test_edges_of_few_and_near_cells_and_all_others_are_the_same(
    emulated: EmulatedDevice, monkeypatch: pytest.MonkeyPatch, limits: str
) -> None:
    read = sources.read
    assert SORTED_IN_SHARED_MEMORY in read("neighbours.cu")
    monkeypatch.setattr(sources, "read", lambda name: read(name).replace(SORTED_IN_SHARED_MEMORY, limits))
    structures = [mixed(bulk("Al", cubic=True) * (3, 2, 2)), bulk("Al", a=3.0), mixed(molecule("H2O"))]
    check(emulated, NeighbourSearch(emulated), structures, 4.0)


def test_an_edge_whose_reverse_is_lost_is_noticed(emulated: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    read, margin = sources.read, "MARGIN = 1.0 + 1e-6"
    assert margin in read("bins.cuh")
    # bins for a shorter cutoff than that of the edges: as if round-off were that large
    monkeypatch.setattr(sources, "read", lambda name: read(name).replace(margin, "MARGIN = 0.5"))
    batch = StructureBatch.build([mixed(bulk("Al", cubic=True) * 4), bulk("Al", a=4.0)], SPECIES, 3.5)
    edges = NeighbourSearch(emulated).find(upload(emulated, batch), 3.5)
    nearest, reverse = emulated.to_host(edges.nearest), emulated.to_host(edges.reverse)
    neighbour, offsets = emulated.to_host(edges.neighbour), emulated.to_host(edges.offsets)
    centre = np.repeat(np.arange(batch.n_atoms), np.diff(offsets))
    lost = reverse == np.arange(edges.n_edges)
    assert 0 < lost.sum() < len(lost)
    assert set(np.flatnonzero(nearest == -1.0)) == set(centre[lost])
    np.testing.assert_array_equal(neighbour[reverse[~lost]], centre[~lost])


#: What is taken out of the search -> what the emulator finds.
SPOILED = {
    "edges sorted before all are found": (
        "keys[n] = ~0ull;  // n is below SHARED_EDGES, which is even\n        __syncwarp();",
        "keys[n] = ~0ull;",
        "race|uninit",
    ),
    "edges written before they are sorted": (
        "        }\n        __syncwarp();\n    }\n};",
        "        }\n    }\n};",
        "race|uninit",
    ),
    "the last key forgotten": ("if (lane == 0 && n % 2 == 1) keys[n] = ~0ull;", "", "race|uninit"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_bugs_put_into_the_search_are_caught(
    emulated: EmulatedDevice, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    read, (good, bad, message) = sources.read, SPOILED[case]
    assert good in read("neighbours.cu")
    monkeypatch.setattr(sources, "read", lambda name: read(name).replace(good, bad))
    # an atom with an odd number of neighbours, here three
    square = Atoms("Al4", [[0, 0, 0], [2, 0, 0], [0, 2, 0], [2, 2, 0]])
    with pytest.raises(EmulatorError, match=message):
        check(emulated, NeighbourSearch(emulated), [square], 3.0)


@pytest.mark.parametrize("cells_away", [10**3, 10**6])
def test_atoms_far_outside_of_the_cell(device: Device, search: NeighbourSearch, cells_away: int) -> None:
    atoms = mixed(bulk("Al", cubic=True) * (2, 1, 1))
    atoms.positions[[1, 4]] += cells_away * atoms.cell.array.sum(axis=0)
    atoms.positions[6] -= cells_away * atoms.cell.array[1]
    assert np.abs(check(device, search, [atoms], 5.0).shifts).max() >= cells_away


@pytest.mark.parametrize("distance", [150.0, 9e6])
@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (False, False, False)])
def test_an_atom_that_left(
    device: Device, search: NeighbourSearch, pbc: tuple[bool, bool, bool], distance: float
) -> None:
    slab = fcc111("Al", (2, 2, 3), vacuum=0.0, orthogonal=True)
    slab.pbc = pbc
    slab += Atoms("Cu2", positions=[[1.0, 2.0, distance], [2.0, 1.0, distance + 2.0]])
    check(device, search, [slab], 5.0)


def test_gas_scattered_over_a_huge_box(device: Device, search: NeighbourSearch) -> None:
    pairs = np.random.default_rng(3).uniform(-1e6, 1e6, size=(20, 3))
    gas = Atoms("Al40", positions=np.concatenate([pairs, pairs + np.array([0.0, 1.5, 2.0])]))
    assert check(device, search, [gas], 5.0).n_edges == 40


def test_structures_without_atoms_and_batches_of_none(device: Device, search: NeighbourSearch) -> None:
    batch = StructureBatch.build([bulk("Al"), molecule("H2O")], SPECIES, 5.0)
    cells, pbc = np.tile(np.eye(3), (4, 1, 1)), np.ones((4, 3), dtype=bool)
    cells[[1, 2]], pbc[[1, 2]] = batch.cells, batch.pbc
    with_gaps = DeviceStructures.upload(
        device, np.array([0, 0, 1, 4, 4]), batch.species_index, batch.positions, cells, pbc, len(SPECIES)
    )
    assert_same(device, search.find(with_gaps, 5.0), batch)
    nothing = DeviceStructures.upload(
        device, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, 3)), np.zeros((0, 3, 3)),
        np.zeros((0, 3), bool), 1,
    )  # fmt: skip
    edges = search.find(nothing, 5.0)
    assert edges.n_edges == 0
    assert device.to_host(edges.offsets).tolist() == [0]


def test_the_number_of_launches_does_not_depend_on_the_batch(device: Device, search: NeighbourSearch) -> None:
    counts = []
    for structures in ([bulk("Al")], everything()):
        batch = StructureBatch.build(structures, SPECIES, 4.0)
        before = search.launches
        search.find(upload(device, batch), 4.0)
        counts.append(search.launches - before)
    assert counts == [8, 8]


def test_memory_is_known_beforehand(emulated: EmulatedDevice) -> None:
    batch = StructureBatch.build(everything(), SPECIES, 4.0)
    structures, before = upload(emulated, batch), emulated.allocated
    NeighbourSearch(emulated).find(structures, 4.0)
    assert emulated.allocated - before == search_bytes(batch.n_structures, batch.n_atoms, batch.n_edges)


def test_structures_that_do_not_fit_together(device: Device) -> None:
    offsets, species, positions = np.array([0, 2]), np.zeros(2, np.int32), np.zeros((2, 3))
    cells, pbc = np.zeros((1, 3, 3)), np.zeros((1, 3), bool)
    with pytest.raises(BackendError, match=r"shapes \(\(2,\), \(2,\), \(2, 3\).* were given, expected \(\(3,\)"):
        DeviceStructures.upload(device, offsets, species, positions, np.zeros((2, 3, 3)), pbc, 1)
    with pytest.raises(BackendError, match="species from 0 to 3 were given, there are 3"):
        DeviceStructures.upload(device, offsets, np.array([0, 3], np.int32), positions, cells, pbc, 3)
