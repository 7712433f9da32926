"""Tiles of atoms and sums of rows on the device."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.launcher import Module
from tests.emulator import run_in_order

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def module(device: Device) -> Module:
    return Module.of_source(device, "tiles.cu")


def slots_of(n_atoms: int, n_tiles: int) -> NDArray[np.int64]:
    """The atoms in random slots; padding elsewhere."""
    rng = np.random.default_rng(n_atoms)
    atoms = np.full(32 * n_tiles, -1, np.int64)
    atoms[rng.permutation(len(atoms))[:n_atoms]] = rng.permutation(n_atoms)
    return atoms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_atoms", "n_tiles", "size"), [(70, 3, 5), (32, 1, 1), (1, 2, 33), (0, 1, 3), (0, 0, 4)])
def test_tiles_and_back(device: Device, module: Module, n_atoms: int, n_tiles: int, size: int, dtype: str) -> None:
    run_in_order(device, 4)
    values = np.random.default_rng(0).normal(size=(n_atoms, size))
    atoms = slots_of(n_atoms, n_tiles)
    on_device = device.to_device(atoms)
    tiles = device.empty((n_tiles, size, 32), dtype)
    module[f"gather_tiles_{dtype}"].over(
        tiles.size, values=device.to_device(values), atoms=on_device, tiles=tiles, size=size, n_slots=len(atoms)
    )
    rows = device.to_host(tiles).swapaxes(1, 2).reshape(-1, size)
    np.testing.assert_array_equal(rows[atoms >= 0], values[atoms[atoms >= 0]].astype(dtype))
    assert not rows[atoms < 0].any()

    back = device.empty(values.shape, dtype)
    module[f"scatter_tiles_{dtype}"].over(
        tiles.size, tiles=tiles, atoms=on_device, values=back, size=size, n_slots=len(atoms)
    )
    np.testing.assert_array_equal(device.to_host(back), values.astype(dtype))


@pytest.mark.parametrize("columns", [1, 3, 130])
@pytest.mark.parametrize("rows", [[17], [0, 1, 8, 9, 0, 40], [0], []])
def test_sums_of_columns(device: Device, module: Module, rows: list[int], columns: int) -> None:
    offsets = np.concatenate(([0], np.cumsum(rows))).astype(np.int64)
    values = np.random.default_rng(1).normal(size=(offsets[-1], columns)) + 100.0
    found = []
    for order in (0, 5):
        run_in_order(device, order)
        results = device.empty((len(rows), columns), np.float64)
        module["column_sums"].over(
            results.size, values=device.to_device(values), offsets=device.to_device(offsets), results=results,
            columns=columns, n_samples=len(rows),
        )  # fmt: skip
        found.append(device.to_host(results))
    expected = [values[a:b].sum(axis=0) for a, b in pairwise(offsets)]
    np.testing.assert_allclose(found[0], np.reshape(expected, found[0].shape), rtol=1e-14)
    np.testing.assert_array_equal(found[0], found[1])
