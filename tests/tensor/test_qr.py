"""QR and LQ: isometry, triangular factors, product, and deficient or empty sectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep

Tensors = Callable[..., st.SearchStrategy[tn.Tensor]]


def as_matrix(tensor: tn.Tensor) -> np.ndarray:
    """The dense map from columns to rows."""
    shape = tensor.structure.dense_shape
    n = tensor.n_rows
    return tn.to_dense(tensor).reshape(int(np.prod(shape[:n])), int(np.prod(shape[n:])))


@given(st.data())
def test_qr(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    q, r = tn.qr(tensor, name="bond")
    dense_q, dense_r = as_matrix(q), as_matrix(r)
    assert_close(dense_q @ dense_r, as_matrix(tensor))
    assert_close(dense_q.conj().T @ dense_q, np.eye(dense_q.shape[1]))
    for matrix in r.blocks.values():
        assert_close(np.tril(matrix, -1), 0.0)
        assert np.all(np.diagonal(matrix).real >= 0)
        assert_close(np.diagonal(matrix).imag, 0.0)
    assert q.names[-1] == r.names[0] == "bond"
    assert q.legs[-1] == r.legs[0]
    assert r.norm() == pytest.approx(tensor.norm(), rel=1e-12)


@given(st.data())
def test_lq(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    l, q = tn.lq(tensor, name="bond")
    dense_l, dense_q = as_matrix(l), as_matrix(q)
    assert_close(dense_l @ dense_q, as_matrix(tensor))
    assert_close(dense_q @ dense_q.conj().T, np.eye(dense_q.shape[0]))
    for matrix in l.blocks.values():
        assert_close(np.triu(matrix, 1), 0.0)
    assert l.names[-1] == q.names[0] == "bond"


def test_bond_has_the_smaller_multiplicity_of_every_coupled_sector() -> None:
    tensor = tn.random(["5x0e+2x1o+1x2e"], ["3x0e+4x1o"], rng=np.random.default_rng(0))
    assert str(tn.qr(tensor).q.legs[-1]) == "3x0e+2x1o"


def test_unique_at_full_rank(assert_close: Any) -> None:
    rng = np.random.default_rng(0)
    isometry = tn.qr(tn.random(["4x0e+3x1o"], ["3x0e+2x1o"], rng=rng)).q
    upper = tn.from_blocks(["3x0e+2x1o"], ["3x0e+2x1o"], {"0e": np.triu(np.ones((3, 3))), "1o": np.eye(2)})
    q, r = tn.qr(tn.contract(isometry, upper, [(1, 0)]))
    assert_close(q.data, isometry.data)
    assert_close(r.data, upper.data)


def test_deficient_sectors_give_an_isometry_all_the_same(assert_close: Any) -> None:
    tensor = tn.from_blocks(["3x0e+2x1o"], ["2x0e+2x1o"], {"0e": np.ones((3, 2))})
    q, r = tn.qr(tensor)
    dense = as_matrix(q)
    assert_close(dense.T @ dense, np.eye(2 + 6))
    assert_close(r.blocks[Irrep(1, -1)], 0.0)
    assert_close(tn.contract(q, r, [(1, 0)]).data, tensor.data)


def test_legs_without_a_common_sector_give_an_empty_bond() -> None:
    q, r = tn.qr(tn.zeros(["2x0e"], ["3x1o"]))
    assert q.legs[-1].dim == r.legs[0].dim == 0
    assert tn.to_dense(tn.contract(q, r, [(1, 0)])).shape == (2, 9)


@pytest.mark.parametrize("decompose", [tn.qr, tn.lq, tn.svd])
def test_numbers_that_are_not_finite(decompose: Callable[[tn.Tensor], object]) -> None:
    tensor = tn.identity(["1x0e+1x1o+1x2e"])
    tensor.data[1:] = np.nan
    with pytest.raises(TensorError, match="has numbers that are not finite in the coupled sectors 1o, 2e"):
        decompose(tensor)
