"""Permuting and regrouping legs: the dense array is transposed, nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irreps

Tensors = Callable[..., st.SearchStrategy[tn.Tensor]]


def divided(data: st.DataObject, n_legs: int) -> tuple[list[int], list[int]]:
    """All legs in random order, divided at random."""
    order = data.draw(st.permutations(range(n_legs)))
    n_rows = data.draw(st.integers(0, n_legs))
    return list(order[:n_rows]), list(order[n_rows:])


@given(st.data())
def test_dense_array_is_transposed(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    rows, cols = divided(data, len(tensor.legs))
    result = tn.permute(tensor, rows, cols)
    assert result.n_rows == len(rows)
    assert result.dtype == tensor.dtype
    assert_close(tn.to_dense(result), tn.to_dense(tensor).transpose(rows + cols))


@given(st.data())
def test_norm_is_kept_and_the_way_back_leads_home(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    rows, cols = divided(data, len(tensor.legs))
    there = tn.permute(tensor, rows, cols)
    assert there.norm() == pytest.approx(tensor.norm(), rel=1e-12)
    home = [(rows + cols).index(i) for i in range(len(tensor.legs))]
    back = tn.permute(there, home[: tensor.n_rows], home[tensor.n_rows :])
    assert back.structure == tensor.structure
    assert_close(back.data, tensor.data)


@given(st.data())
def test_two_permutations_are_one(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors(max_legs=5))
    first, second = divided(data, len(tensor.legs)), divided(data, len(tensor.legs))
    axes = first[0] + first[1]
    twice = tn.permute(tn.permute(tensor, *first), *second)
    once = tn.permute(tensor, [axes[i] for i in second[0]], [axes[i] for i in second[1]])
    assert_close(twice.data, once.data)


def test_six_legs(assert_close: Any) -> None:
    leg = Irreps("1x0e+1x1o")
    tensor = tn.random([leg] * 2, [leg] * 4, rng=np.random.default_rng(0))
    result = tn.permute(tensor, [5, 0, 3], [1, 4, 2])
    assert_close(tn.to_dense(result), tn.to_dense(tensor).transpose(5, 0, 3, 1, 4, 2))


@given(st.data())
def test_adjoint(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    result = tn.adjoint(tensor)
    for ir, matrix in tensor.blocks.items():
        assert_close(result.blocks[ir], matrix.conj().T)
    n = tensor.n_rows
    axes = [*range(n, len(tensor.legs)), *range(n)]
    assert_close(tn.to_dense(result), tn.to_dense(tensor).conj().transpose(axes))


def test_legs_by_name() -> None:
    tensor = tn.random(["2x0e"], ["1x0e+1x1o", "2x0e+1x1o"], rng=np.random.default_rng(0), names=("a", "b", None))
    result = tn.permute(tensor, ["b"], [-1, "a"])
    assert result.names == ("b", None, "a")
    assert [str(leg) for leg in result.legs] == ["1x0e+1x1o", "2x0e+1x1o", "2x0e"]


def test_nothing_moves_where_nothing_has_to() -> None:
    tensor = tn.random(["2x0e+1x1o"], ["1x0e+1x1o", "2x0e+1x1o"], rng=np.random.default_rng(0))
    assert tn.permute(tensor, [0], [1, 2]).data is tensor.data


def test_single_precision_stays_single() -> None:
    leg = "1x0e+1x1o"
    tensor = tn.random([leg, leg], [leg, leg], rng=np.random.default_rng(0), dtype="float32")
    result = tn.permute(tensor, [2, 0], [3, 1])
    assert result.dtype == np.float32
    np.testing.assert_allclose(tn.to_dense(result), tn.to_dense(tensor).transpose(2, 0, 3, 1), atol=1e-6)


def test_legs_that_are_missing_or_repeated() -> None:
    tensor = tn.zeros(["2x0e", "1x1o"], names=("a", "b"))
    message = (
        r"permute needs every leg once, got rows \('a',\) and cols \(\) for: leg 0 'a' \(2x0e\), leg 1 'b' \(1x1o\)"
    )
    with pytest.raises(TensorError, match=message):
        tn.permute(tensor, ["a"])
    with pytest.raises(TensorError, match="permute needs every leg once"):
        tn.permute(tensor, ["a", "b"], [0])
    with pytest.raises(TensorError, match="there is no leg 'c'"):
        tn.permute(tensor, ["a", "c"])
