"""Singular value decomposition: the values of the dense matrix, each as often as its irrep has components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.symmetry import Irrep

Tensors = Callable[..., st.SearchStrategy[tn.Tensor]]


@given(st.data())
def test_values_are_those_of_the_dense_matrix(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors(max_legs=3))
    shape = tensor.structure.dense_shape
    rows = int(np.prod(shape[: tensor.n_rows]))
    cols = int(np.prod(shape[tensor.n_rows :]))
    expected = np.linalg.svd(tn.to_dense(tensor).reshape(rows, cols), compute_uv=False) if rows * cols else np.empty(0)
    values = tn.svd(tensor).s
    found = np.sort(np.concatenate([np.empty(0), *(np.repeat(s, ir.dim) for ir, s in values.items())]))[::-1]
    assert_close(found, expected[: len(found)])
    assert_close(expected[len(found) :], 0.0)
    assert values.squared_norm() == pytest.approx(tensor.squared_norm(), rel=1e-12)


@given(st.data())
def test_factors(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    u, s, v = tn.svd(tensor, name="bond")
    product = tn.contract(tn.contract(u, s.tensor(), [(-1, 0)]), v, [(-1, 0)])
    assert_close(product.data, tensor.data)
    identity = tn.identity([s.leg])
    assert_close(tn.contract(tn.adjoint(u), u, [(1 + i, i) for i in range(u.n_rows)]).data, identity.data)
    columns = [(i, i) for i in range(1, len(v.legs))]
    assert_close(tn.contract(v, v.conj(), columns).data, identity.data)
    assert u.names[-1] == v.names[0] == "bond"
    assert all(np.all(np.diff(values) <= 0) for values in s.values())


def test_spectrum_is_a_mapping_in_the_order_of_its_leg() -> None:
    s = tn.svd(tn.identity(["2x1o+1x0e"])).s
    assert list(s) == [Irrep(1, -1), Irrep(0, 1)]
    assert len(s) == 2
    np.testing.assert_allclose(s["1o"], [1.0, 1.0])
    assert Irrep(2, 1) not in s
    with pytest.raises(KeyError, match="2e"):
        s["2e"]
    np.testing.assert_allclose(tn.to_dense(s.tensor(names=("a", "b"))), np.eye(7), atol=1e-14)


def test_no_legs_and_no_sectors() -> None:
    u, s, v = tn.svd(tn.from_dense(-3.0, [], []))
    assert s["0e"] == pytest.approx(3.0)
    assert (u.item() if not u.legs else u.norm() * v.norm()) == pytest.approx(1.0)
    assert len(tn.svd(tn.zeros(["1x0e"], ["1x1o"])).s) == 0


def test_single_precision_stays_single() -> None:
    u, s, v = tn.svd(tn.random(["2x1o"], ["3x1o"], rng=np.random.default_rng(0), dtype="float32"))
    assert u.dtype == v.dtype == s.data.dtype == np.float32
    values = tn.svd(tn.random(["2x1o"], ["3x1o"], rng=np.random.default_rng(0), dtype="complex64")).s
    assert values.data.dtype == np.float32
