"""Forces, virials and sums over structures on the device."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase.build import bulk, molecule
from numpy.typing import NDArray

from etn_gpu.backend.cpu.edge_sums import sum_edges
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.sums import CHUNK, Segments, Sums
from etn_gpu.errors import BackendError
from etn_gpu.structures import StructureBatch
from tests.emulator import run_in_order

pytestmark = pytest.mark.emulator


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forces_and_virials_are_those_of_the_cpu(device: Device, sums: Sums, dtype: str, order: int) -> None:
    crystal = bulk("Al", cubic=True) * (2, 2, 1)
    crystal.rattle(0.2, seed=1)
    batch = StructureBatch.build([crystal, molecule("H2O"), molecule("O")], ("Al", "H", "O"), 5.0)
    gradient = np.random.default_rng(0).normal(size=batch.vectors.shape).astype(dtype)
    forces, virials = np.empty((batch.n_atoms, 3)), np.empty((batch.n_atoms, 6))
    sum_edges(gradient, batch.vectors, batch.reverse, batch.edge_offsets, forces, virials)

    run_in_order(device, order)
    given = [device.to_device(a) for a in (gradient, batch.vectors, batch.reverse, batch.edge_offsets)]
    on_device = [device.to_host(a) for a in sums.forces_and_virials(*given)]
    np.testing.assert_allclose(on_device[0], forces, rtol=0, atol=1e-12)
    np.testing.assert_allclose(on_device[1], virials, rtol=0, atol=1e-11)
    assert not on_device[0][-1].any()  # an atom alone

    run_in_order(device, 0)
    again = [device.to_host(a) for a in sums.forces_and_virials(*given)]
    assert all(np.array_equal(a, b) for a, b in zip(on_device, again, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_references_are_added_in_float64(device: Device, sums: Sums, dtype: str) -> None:
    rng = np.random.default_rng(0)
    values, species = rng.normal(size=300).astype(dtype), rng.integers(0, 3, 300).astype(np.int32)
    references = np.array([-4.4e5, 0.0, -1e5 / 3])
    found = device.to_host(sums.energies(*map(device.to_device, (values, references, species))))
    np.testing.assert_array_equal(found, references[species] + values.astype(np.float64))


def segments_of(sizes: list[int]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


SIZES = {
    "ragged": [3, 0, 1, 200, 191, 192, 193, 0],
    "over several chunks": [CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7],
    "one row": [1],
    "no rows": [0, 0],
    "no segments": [],
}


@pytest.mark.parametrize("columns", [None, 1, 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SIZES)
def test_sums_of_segments(device: Device, sums: Sums, case: str, dtype: str, columns: int | None) -> None:
    offsets = segments_of(SIZES[case])
    shape = (offsets[-1],) if columns is None else (offsets[-1], columns)
    values = np.random.default_rng(1).normal(size=shape).astype(dtype) * 1e3 + 1e3
    segments = Segments.upload(device, offsets)
    result = device.to_host(sums.sum(device.to_device(values), segments))
    assert result.dtype == np.float64
    expected = [values[a:b].astype(np.float64).sum(axis=0) for a, b in pairwise(offsets)]
    np.testing.assert_allclose(result, np.reshape(expected, result.shape), rtol=1e-13, atol=1e-9)
    run_in_order(device, 2)
    assert np.array_equal(result, device.to_host(sums.sum(device.to_device(values), segments)))


@pytest.mark.parametrize("case", SIZES)
def test_minima_of_segments(device: Device, sums: Sums, case: str) -> None:
    offsets = segments_of(SIZES[case])
    values = np.random.default_rng(2).normal(size=offsets[-1])
    least = sums.minimum(device.to_device(values), Segments.upload(device, offsets))
    expected = [values[a:b].min(initial=np.inf) for a, b in pairwise(offsets)]
    np.testing.assert_array_equal(device.to_host(least), expected)


def test_two_launches_for_any_segments(device: Device, sums: Sums) -> None:
    for sizes in ([5], [5000, 1, 7]):
        segments, before = Segments.upload(device, segments_of(sizes)), sums.launches
        sums.sum(device.zeros(sum(sizes), np.float64), segments)
        assert sums.launches - before == 2


def test_arrays_that_do_not_fit(device: Device, sums: Sums) -> None:
    segments = Segments.upload(device, segments_of([2, 2]))
    with pytest.raises(BackendError, match=r"shape \(3,\) cannot be reduced over segments of 4 rows"):
        sums.sum(device.zeros(3, np.float64), segments)
    with pytest.raises(BackendError, match="a number of columns that divides 192"):
        sums.sum(device.zeros((4, 5), np.float64), segments)
    with pytest.raises(BackendError, match="an array of int64 was given, expected float32 or float64"):
        sums.sum(device.zeros(4, np.int64), segments)
    with pytest.raises(BackendError, match=r"energies \(4,\) and species \(3,\) of atoms do not fit"):
        sums.energies(*(device.zeros(n, kind) for n, kind in ((4, np.float32), (2, np.float64), (3, np.int32))))
    with pytest.raises(BackendError, match=r"gradients \(4, 3\), vectors \(5, 3\).*: expected \[E, 3\]"):
        sums.forces_and_virials(
            device.zeros((4, 3), np.float64), device.zeros((5, 3), np.float64), device.zeros(5, np.int64),
            device.zeros(2, np.int64),
        )  # fmt: skip
