"""From and to dense arrays: against explicit couplings, and equivariance under rotation and inversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep, clebsch_gordan, random_orthogonal

Tensors = Callable[..., st.SearchStrategy[tn.Tensor]]


@given(st.data())
def test_dense_array_is_equivariant(tensors: Tensors, rotate: Any, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    dense = tn.to_dense(tensor)
    rotation = random_orthogonal(np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))))
    for matrix in (rotation, -rotation):
        assert_close(rotate(dense, tensor.legs, matrix), dense)


@given(st.data())
def test_round_trip(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    n = tensor.n_rows
    back = tn.from_dense(tn.to_dense(tensor), tensor.legs[:n], tensor.legs[n:])
    assert back.structure == tensor.structure
    assert back.dtype == tensor.dtype
    assert_close(back.data, tensor.data)


def test_three_legs_against_the_wigner_eckart_formula(assert_close: Any) -> None:
    rows, cols = ["2x1o+3x0e"], ["2x0e+2x1o+1x2e", "1x1o+2x1e"]
    tensor = tn.random(rows, cols, rng=np.random.default_rng(1))
    expected = np.zeros(tensor.structure.dense_shape)
    for (out, left, feature), reduced in tensor.sector_blocks():
        where = [
            leg.slices()[[block.ir for block in leg].index(ir)]
            for leg, ir in zip(tensor.legs, (out, left, feature), strict=True)
        ]
        values = np.einsum("cab,mnp->cpambn", reduced[0], clebsch_gordan(left.l, feature.l, out.l))
        shape = expected[tuple(where)].shape
        expected[tuple(where)] = values.reshape(shape)
    assert_close(tn.to_dense(tensor), expected, atol=1e-14)


def test_maps_between_single_irreps() -> None:
    tensor = tn.from_blocks(["2x1o"], ["3x1o"], {"1o": np.arange(6.0).reshape(2, 3)})
    np.testing.assert_allclose(tn.to_dense(tensor), np.kron(np.arange(6.0).reshape(2, 3), np.eye(3)), atol=1e-15)


def test_a_number() -> None:
    number = tn.from_dense(2.5, [], [])
    assert number.item() == 2.5
    assert tn.to_dense(number).shape == ()


def test_integers_and_lists_are_taken() -> None:
    tensor = tn.from_dense([[1, 0], [0, 2]], ["2x0e"], ["2x0e"])
    assert tensor.dtype == np.float64
    np.testing.assert_array_equal(tensor.blocks[Irrep(0, 1)], [[1, 0], [0, 2]])


def test_single_precision_has_its_own_tolerance() -> None:
    dense = tn.to_dense(tn.random(["2x1o"], ["2x1o+1x0e"], rng=np.random.default_rng(0), dtype="float32"))
    assert dense.dtype == np.float32
    assert tn.from_dense(dense, ["2x1o"], ["2x1o+1x0e"]).dtype == np.float32


def test_an_array_that_is_not_equivariant() -> None:
    dense = tn.to_dense(tn.identity(["1x0e+1x1o"]))
    dense[1, 2] += 0.5
    message = r"not equivariant: on the legs \(1x0e\+1x1o \| 1x0e\+1x1o\) a part of relative norm 0\.2\d lies outside"
    with pytest.raises(TensorError, match=message):
        tn.from_dense(dense, ["1x0e+1x1o"], ["1x0e+1x1o"])
    projected = tn.from_dense(dense, ["1x0e+1x1o"], ["1x0e+1x1o"], tolerance=1.0)
    np.testing.assert_allclose(tn.to_dense(projected), np.eye(4), atol=1e-14)


def test_components_in_another_order_are_noticed() -> None:
    cross_product = tn.to_dense(tn.random(["1x1o"], ["1x1o", "1x1e"], rng=np.random.default_rng(0)))
    with pytest.raises(TensorError, match="the order of components"):
        tn.from_dense(cross_product[[1, 0, 2]], ["1x1o"], ["1x1o", "1x1e"])


def test_legs_without_an_invariant_hold_only_zero() -> None:
    assert tn.from_dense(np.zeros((1, 3)), ["1x0e"], ["1x1o"]).structure.size == 0
    with pytest.raises(TensorError, match="a part of relative norm 1 lies outside"):
        tn.from_dense(np.ones((1, 3)), ["1x0e"], ["1x1o"])


def test_a_wrong_shape() -> None:
    with pytest.raises(TensorError, match=r"\(1x0e \| 1x1o\) have the dimensions \(1, 3\), got an array \(3, 1\)"):
        tn.from_dense(np.zeros((3, 1)), ["1x0e"], ["1x1o"])


def test_numbers_that_are_not_finite() -> None:
    dense = np.eye(3)
    dense[0, 0] = np.nan
    with pytest.raises(TensorError, match="the dense array has 1 numbers that are not finite"):
        tn.from_dense(dense, ["1x1o"], ["1x1o"])


def test_what_is_no_number() -> None:
    with pytest.raises(TensorError, match="from_dense takes an array of real or complex numbers, got <U1"):
        tn.from_dense(["a"], ["1x0e"])
