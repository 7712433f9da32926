"""Where atoms lie in tiles, and which tiles a block goes through."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.slots import MOST_GROUPS, TILE, SlotFiller, Slots
from tests.emulator import EmulatedDevice, require_compiler

pytestmark = pytest.mark.emulator


def check(device: Device, slots: Slots, species: np.ndarray, samples: np.ndarray) -> list[int]:
    """Every atom is in one slot of its sample, every tile in one group of it; returns the groups of each sample."""
    atoms, of_slots = device.to_host(slots.atoms), device.to_host(slots.species)
    groups, firsts = device.to_host(slots.group_offsets), device.to_host(slots.sample_groups)
    assert len(atoms) == len(of_slots) == TILE * slots.n_tiles
    assert groups[0] == 0
    assert groups[-1] == slots.n_tiles
    assert (np.diff(groups) >= 0).all()
    assert (len(firsts), firsts[0], firsts[-1]) == (len(samples), 0, slots.n_groups)
    for s, (first, end) in enumerate(pairwise(samples)):
        own = atoms[TILE * groups[firsts[s]] : TILE * groups[firsts[s + 1]]]
        there = own[own >= 0]
        assert sorted(there) == list(range(first, end))
        assert len(own) == TILE * -(-(end - first) // TILE)
        assert (np.diff(species[there]) >= 0).all()
    np.testing.assert_array_equal(of_slots[atoms >= 0], species[atoms[atoms >= 0]])
    assert set(of_slots) <= set(species)
    return np.diff(firsts).tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=6), st.integers(0, 2**32 - 1))
def test_every_atom_has_a_slot_in_its_sample(sizes: list[int], seed: int) -> None:
    require_compiler()
    samples = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64)
    species = np.random.default_rng(seed).integers(0, 3, samples[-1]).astype(np.int32)
    device = EmulatedDevice()
    check(device, Slots.of_samples(device, species, samples), species, samples)


def test_one_sample_is_shared_by_many_blocks(device: Device) -> None:
    species = np.zeros(100 * TILE + 3, np.int32)
    assert check(device, Slots.of_samples(device, species, whole := np.array([0, len(species)])), species, whole) == [
        101
    ]
    filled = SlotFiller(device).fill(device.to_device(species))
    assert check(device, filled, species, whole) == [101]


def test_many_samples_do_not_take_more_memory_than_one(device: Device) -> None:
    samples = np.arange(1001, dtype=np.int64) * 5 * TILE
    species = np.zeros(samples[-1], np.int32)
    found = check(device, Slots.of_samples(device, species, samples), species, samples)
    assert set(found) == {MOST_GROUPS // 1000}
    few = np.arange(6, dtype=np.int64) * 5 * TILE
    assert check(device, Slots.of_samples(device, species[: few[-1]], few), species[: few[-1]], few) == [5] * 5
