"""Fusing and splitting legs: an isometry, exactly undone, and the product of the two legs densely."""

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


def fusion_isometry(legs: list[Irreps]) -> np.ndarray:
    """The dense map from a product of legs to the fused leg."""
    layout = tn.identity([tn.fused_leg(legs)]).data
    return tn.to_dense(tn.Tensor(tn.zeros([tn.fused_leg(legs)], legs).structure, layout))


@given(st.data())
def test_against_the_dense_isometry(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors(min_legs=1, max_legs=3))
    order = data.draw(st.permutations(range(len(tensor.legs))))
    count = data.draw(st.integers(1, len(tensor.legs)))
    chosen, rest = list(order[:count]), sorted(order[count:])
    fused = tn.fuse(tensor, chosen)
    isometry = fusion_isometry([tensor.legs[i] for i in chosen])
    expected = np.tensordot(isometry, tn.to_dense(tensor), axes=(range(1, count + 1), chosen))
    assert fused.n_rows == 1
    assert_close(tn.to_dense(fused), expected)
    assert fused.norm() == pytest.approx(tensor.norm(), rel=1e-12)
    assert [fused.legs[i] for i in range(1, len(fused.legs))] == [tensor.legs[i] for i in rest]


@given(st.data())
def test_splitting_undoes_fusing(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors(min_legs=1))
    order = data.draw(st.permutations(range(len(tensor.legs))))
    chosen = list(order[: data.draw(st.integers(1, len(order)))])
    back = tn.split(tn.fuse(tensor, chosen), 0, [tensor.legs[i] for i in chosen])
    grouped = tn.permute(tensor, chosen, [i for i in range(len(order)) if i not in chosen])
    assert back.structure == grouped.structure
    assert_close(back.data, grouped.data)


@given(st.data())
def test_fusing_undoes_splitting(
    tensors: Tensors, legs: Callable[..., st.SearchStrategy[Irreps]], assert_close: Any, data: st.DataObject
) -> None:
    parts = [data.draw(legs(2)), data.draw(legs(1))]
    tensor = data.draw(tensors([data.draw(legs(1)), tn.fused_leg(parts)]))
    back = tn.permute(tn.fuse(tn.split(tensor, 1, parts), [0, 1]), [1], [0])
    assert_close(back.data, tn.permute(tensor, [0], [1]).data)


def test_names() -> None:
    tensor = tn.random(["1x0e", "1x1o"], ["2x0e+1x1o"], rng=np.random.default_rng(0), names=("a", "b", "c"))
    fused = tn.fuse(tensor, ["c", "b"], name="cb")
    assert fused.names == ("cb", "a")
    assert tn.split(fused, "cb", ["2x0e+1x1o", "1x1o"], names=("c", "b")).names == ("c", "b", "a")
    assert tn.split(fused, "cb", ["2x0e+1x1o", "1x1o"]).names == (None, None, "a")


def test_a_trivial_leg_is_split_off() -> None:
    tensor = tn.random(["2x0e+1x1o"], ["2x0e+1x1o"], rng=np.random.default_rng(0))
    result = tn.split(tensor, 1, ["2x0e+1x1o", "1x0e"])
    np.testing.assert_allclose(tn.to_dense(result)[:, 0, :], tn.to_dense(tensor).T, atol=1e-14)


def test_no_legs_to_fuse() -> None:
    with pytest.raises(TensorError, match="fuse needs at least one leg"):
        tn.fuse(tn.zeros(["1x0e"]), [])


def test_legs_that_are_unknown_or_repeated() -> None:
    with pytest.raises(TensorError, match="there is no leg 'x'"):
        tn.fuse(tn.zeros(["1x0e"]), ["x"])
    with pytest.raises(TensorError, match="permute needs every leg once"):
        tn.fuse(tn.zeros(["1x0e"]), [0, 0])


def test_a_product_that_is_not_the_leg() -> None:
    tensor = tn.zeros(["2x0e+1x1o"], names=("wide",))
    message = (
        r"leg 0 'wide' \(2x0e\+1x1o\) and the product of \(1x1o, 1x1o\) do not match: sector 0e has multiplicity 2 on "
        r"the first and 1 on the second, sector 1o has multiplicity 1 on the first and 0 on the second, sector 1e"
    )
    with pytest.raises(TensorError, match=message):
        tn.split(tensor, "wide", ["1x1o", "1x1o"])


def test_names_that_do_not_fit() -> None:
    with pytest.raises(TensorError, match=r"got the names \('a',\) for 2 new legs"):
        tn.split(tn.zeros(["2x0e"]), 0, ["2x0e", "1x0e"], names=("a",))
