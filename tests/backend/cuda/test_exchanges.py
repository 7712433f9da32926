"""Values of neighbours on edges and sums over reverse edges on the device: bit for bit those of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.backend.cpu import exchanges
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.exchanges import Exchanges
from etn_gpu.errors import BackendError
from tests.backend.cuda.linked import linked
from tests.emulator import run_in_order

pytestmark = pytest.mark.emulator

#: Atoms of samples, and pairs in each.
CASES = {"few": ([1, 0, 4], 3), "many": ([40, 3], 150), "no edges": ([2], 0), "no atoms": ([], 0)}


@pytest.fixture(scope="module")
def kernels(device: Device) -> Exchanges:
    return Exchanges(device)


@pytest.mark.parametrize("order", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 3, 70])
@pytest.mark.parametrize("case", CASES)
def test_exchanges(device: Device, kernels: Exchanges, case: str, size: int, dtype: str, order: int) -> None:
    geometry, _ = linked(*CASES[case], 2)
    neighbour, reverse = geometry.neighbours()
    rng = np.random.default_rng(size)
    atoms, edges = (rng.normal(size=(n, size)).astype(dtype) for n in (geometry.n_atoms, geometry.n_edges))
    run_in_order(device, order)
    put = device.to_device
    gathered = kernels.gather(put(atoms), put(neighbour))
    summed = kernels.sum_reverse(put(edges), put(reverse), put(geometry.edge_offsets))
    assert gathered.dtype == summed.dtype == dtype
    np.testing.assert_array_equal(device.to_host(gathered), atoms[neighbour])
    found, compiled = device.to_host(summed), np.empty_like(atoms)
    exchanges.sum_reverse(edges, reverse, geometry.edge_offsets, compiled)
    np.testing.assert_array_equal(found, compiled)
    exact = np.zeros(atoms.shape)
    np.add.at(exact, neighbour, edges.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12 if dtype == "float64" else 2e-6)


def test_sums_are_in_double_precision(device: Device, kernels: Exchanges) -> None:
    """Numbers that float32 would lose beside the first, which goes again."""
    values = np.array([[2.0**30], [1.0], [-(2.0**30)], [1.0]], np.float32)
    put = device.to_device
    found = kernels.sum_reverse(put(values), put(np.arange(4)), put(np.array([0, 4])))
    assert device.to_host(found).tolist() == [[2.0]]


def test_arrays_that_do_not_fit(device: Device, kernels: Exchanges) -> None:
    given = (device.zeros((4, 2), np.float64), device.zeros(5, np.int64), device.zeros(3, np.int64))
    with pytest.raises(BackendError, match=r"values \(4, 2\) of edges and reverse edges \(5,\) do not fit together"):
        kernels.sum_reverse(*given)
