"""Arrays of another library: no operation touches them with NumPy behind the caller's back.

The look-alike of :mod:`tests.tensor.lookalike` stands for CuPy where there is no GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.tensor.arrays import Constants
from tests.tensor.lookalike import DeviceArray

LEG = "2x0e+2x1o"


def on_both(xp: Any, *legs: list[str], dtype: str = "float64", seed: int = 0) -> tuple[tn.Tensor, tn.Tensor]:
    """The same random tensor on the device and on the host."""
    device, host = (tn.random(*legs, rng=np.random.default_rng(seed), dtype=dtype, xp=lib) for lib in (xp, np))
    assert isinstance(device.data, DeviceArray)
    return device, host


def assert_same(device: tn.Tensor, host: tn.Tensor) -> None:
    assert isinstance(device.data, DeviceArray)
    assert device.structure == host.structure
    assert device.dtype == host.dtype
    np.testing.assert_allclose(
        device.data.get(), host.data, rtol=1e-5 if host.dtype.itemsize == 4 else 1e-12, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_operations(lookalike: Any, dtype: str) -> None:
    pairs = on_both(lookalike, [LEG, LEG], [LEG, LEG], dtype=dtype), on_both(lookalike, [LEG, LEG], [LEG], dtype=dtype)
    for operation in (
        lambda a, b: tn.permute(a, [3, 1], [0, 2]),
        lambda a, b: tn.adjoint(b),
        lambda a, b: tn.contract(a, b, [(2, 1), (3, 0)]),
        lambda a, b: tn.contract(a, b, [(0, 2)], out=tn.contract(a, b, [(0, 2)])),
        lambda a, b: tn.contract(b, b, [(0, 1), (1, 0), (2, 2)]),
        lambda a, b: tn.einsum("abcd,cbe,ffa->de", a, b, b),
        lambda a, b: tn.fuse(a, [3, 1]),
        lambda a, b: tn.split(tn.fuse(a, [3, 1]), 0, [LEG, LEG]),
        lambda a, b: tn.pinv(b),
        lambda a, b: 2.0 * a - a / 3 + (-a).conj(),
        lambda a, b: tn.qr(b).r,
        lambda a, b: tn.lq(b).l,
        lambda a, b: tn.svd(b).s.tensor(),
        lambda a, b: tn.truncated_svd(a, max_bond=5, cutoff=1e-3).s.tensor(),
        lambda a, b: tn.eigh(a + tn.adjoint(a)).values.tensor(),
    ):
        device, host = (operation(pairs[0][i], pairs[1][i]) for i in range(2))
        assert_same(device, host)


def test_numbers(lookalike: Any) -> None:
    device, host = on_both(lookalike, [LEG, LEG], [LEG])
    assert device.norm() == pytest.approx(host.norm())
    assert device.inner(device) == pytest.approx(host.inner(host))
    assert tn.contract(device, device, [(0, 0), (1, 1), (2, 2)]).item() == pytest.approx(host.squared_norm())
    np.testing.assert_allclose(tn.to_dense(device), tn.to_dense(host))
    assert tn.truncated_svd(device, max_bond=2).discarded_weight == pytest.approx(
        tn.truncated_svd(host, max_bond=2).discarded_weight
    )


def test_creation(lookalike: Any) -> None:
    assert_same(tn.identity([LEG], xp=lookalike), tn.identity([LEG]))
    assert_same(tn.zeros([LEG], [LEG], xp=lookalike), tn.zeros([LEG], [LEG]))
    matrix = lookalike.asarray(np.ones((2, 2)))
    assert_same(tn.from_blocks([LEG], [LEG], {"1o": matrix}), tn.from_blocks([LEG], [LEG], {"1o": np.ones((2, 2))}))


def test_from_host_to_device_and_back(lookalike: Any) -> None:
    device, host = on_both(lookalike, [LEG], [LEG])
    assert device.to(lookalike) is device
    assert_same(host.to(lookalike), host)
    np.testing.assert_array_equal(device.to(np).data, host.data)


def test_libraries_are_not_mixed(lookalike: Any) -> None:
    device, host = on_both(lookalike, [LEG], [LEG])
    for mix in (lambda: tn.contract(device, host, [(1, 0)]), lambda: device.inner(host), lambda: device + host):
        with pytest.raises(
            TensorError, match=r"hold arrays of lookalike and numpy: bring one to the other with tensor\.to"
        ):
            mix()


def test_debug_mode(lookalike: Any) -> None:
    device, _ = on_both(lookalike, [LEG, LEG], [LEG])
    with tn.debug():
        tn.svd(tn.permute(device, [2], [1, 0]))
        tn.qr(device)
        tn.truncated_svd(device, max_bond=3)
        tn.contract(device, device, [(2, 0)])


def test_constants_are_copied_once_per_device_and_precision(lookalike: Any) -> None:
    constants = Constants([np.arange(3), np.array([0.5, 1.0])])
    data = lookalike.asarray(np.zeros(2, np.float32))
    index, factors = constants.beside(data)
    assert isinstance(index, DeviceArray)
    assert (index.dtype, factors.dtype) == (np.int64, np.float32)
    assert constants.beside(lookalike.asarray(np.ones(1, np.complex64)))[0] is index
    assert constants.beside(np.zeros(1))[1].dtype == np.float64


def test_the_look_alike_refuses_numpy(lookalike: Any) -> None:
    array = lookalike.asarray(np.zeros(2))
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(array)
    with pytest.raises(TypeError, match="Unsupported type"):
        lookalike.matmul(array, np.zeros(2))
    with pytest.raises(TypeError, match="Unsupported type"):
        array + np.zeros(2)
