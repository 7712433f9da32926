"""The headers that kernels share, one function at a time."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.launcher import Module
from tests.emulator import run_in_order

pytestmark = pytest.mark.emulator

TEXT = """
#include "lattice.cuh"
#include "sort.cuh"
#include "warp.cuh"

struct Keys {
    int* all;
    __device__ int4 load(int k) const {
        return make_int4(all[4 * k], all[4 * k + 1], all[4 * k + 2], all[4 * k + 3]);
    }
    __device__ void store(int k, int4 key) const {
        all[4 * k] = key.x;
        all[4 * k + 1] = key.y;
        all[4 * k + 2] = key.z;
        all[4 * k + 3] = key.w;
    }
};

// block b sorts the first b of its keys
extern "C" __global__ void __launch_bounds__(32) sort(int* keys, int stride) {
    warp_sort(Keys{keys + 4 * blockIdx.x * stride}, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(64) segments(
    const long long* offsets, long long n, const long long* values, long long* found, long long n_values) {
    const long long k = global_thread();
    if (k < n_values) found[k] = segment_of(offsets, n, values[k]);
}

extern "C" __global__ void __launch_bounds__(64) groups(const double* x, double* sums, double* least) {
    sums[threadIdx.x] = group_sum<8>(x[threadIdx.x]);
    least[threadIdx.x] = group_min<32>(x[threadIdx.x]);
}

extern "C" __global__ void __launch_bounds__(32) frames(
    const double* cells, const bool* pbc, double* bases, double* duals, long long n) {
    const long long s = global_thread();
    if (s >= n) return;
    Vector basis[3], dual[3];
    frame(cells + 9 * s, pbc + 3 * s, basis);
    reciprocal(basis, dual);
    for (int k = 0; k < 3; k++) {
        const Vector b = basis[k], d = dual[k];
        double* to_basis = bases + 9 * s + 3 * k;
        double* to_dual = duals + 9 * s + 3 * k;
        to_basis[0] = b.x, to_basis[1] = b.y, to_basis[2] = b.z;
        to_dual[0] = d.x, to_dual[1] = d.y, to_dual[2] = d.z;
    }
}
"""


@pytest.fixture(scope="module")
def module(device: Device) -> Module:
    return Module(device, TEXT, "headers.cu")


@pytest.mark.parametrize("order", [0, 2])
def test_sorting_any_number_of_keys(device: Device, module: Module, order: int) -> None:
    run_in_order(device, order)
    most = 140
    keys = np.random.default_rng(0).integers(-3, 4, size=(most + 1, most, 4)).astype(np.int32)
    on_device = device.to_device(keys)
    module["sort"].launch(most + 1, keys=on_device, stride=most)
    for n, (given, result) in enumerate(zip(keys, device.to_host(on_device), strict=True)):
        assert result[:n].tolist() == sorted(given[:n].tolist())
        assert np.array_equal(result[n:], given[n:])


@pytest.mark.parametrize("sizes", [[5], [0, 3, 0, 0, 2, 1, 0], [1] * 33, [0, 100]])
def test_the_segment_of_a_value(device: Device, module: Module, sizes: list[int]) -> None:
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    values = np.arange(offsets[-1])
    found = device.empty(len(values), np.int64)
    module["segments"].over(
        len(values), offsets=device.to_device(offsets), n=len(sizes), values=device.to_device(values), found=found,
        n_values=len(values),
    )  # fmt: skip
    np.testing.assert_array_equal(device.to_host(found), np.repeat(np.arange(len(sizes)), sizes))


def test_sums_and_minima_of_groups(device: Device, module: Module) -> None:
    x = np.random.default_rng(1).normal(size=64)
    total, least = device.empty(64, np.float64), device.empty(64, np.float64)
    module["groups"].launch(1, x=device.to_device(x), sums=total, least=least)
    np.testing.assert_allclose(device.to_host(total), np.repeat(x.reshape(8, 8).sum(axis=1), 8), rtol=1e-14)
    np.testing.assert_array_equal(device.to_host(least), np.repeat(x.reshape(2, 32).min(axis=1), 32))


def test_frames_of_cells(device: Device, module: Module) -> None:
    pbc = np.array(list(np.ndindex(2, 2, 2)), dtype=bool)
    cells = np.random.default_rng(2).normal(size=(8, 3, 3)) * np.array([1.0, 30.0, 0.2])
    bases, duals = device.empty((8, 3, 3), np.float64), device.empty((8, 3, 3), np.float64)
    module["frames"].over(8, cells=device.to_device(cells), pbc=device.to_device(pbc), bases=bases, duals=duals, n=8)
    for cell, periodic, basis, dual in zip(cells, pbc, device.to_host(bases), device.to_host(duals), strict=True):
        assert np.array_equal(basis[periodic], cell[periodic])
        open_, closed = basis[~periodic], basis[periodic]
        np.testing.assert_allclose(open_ @ open_.T, np.eye(len(open_)), atol=1e-14)
        np.testing.assert_allclose(open_ @ closed.T, 0.0, atol=1e-13)
        np.testing.assert_allclose(basis @ dual.T, np.eye(3), atol=1e-13)
