"""Contraction of two tensors: tensordot as the oracle, every division into rows and columns, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irreps

Tensors = Callable[..., st.SearchStrategy[tn.Tensor]]
Legs = Callable[..., st.SearchStrategy[Irreps]]


@st.composite
def pairs_of_tensors(
    draw: st.DrawFn, tensors: Tensors, legs: Legs
) -> tuple[tn.Tensor, tn.Tensor, list[tuple[int, int]]]:
    """Two tensors with some equal legs, in any places, and the pairs of those."""
    first = draw(tensors(max_legs=3))
    count = draw(st.integers(0, len(first.legs)))
    contracted = draw(st.permutations(range(len(first.legs))))[:count]
    others = draw(st.lists(legs(1), max_size=3 - count))
    all_legs = [first.legs[i] for i in contracted] + others
    places = draw(st.permutations(range(len(all_legs))))
    second = draw(tensors([all_legs[i] for i in places], dtypes=[first.dtype.name]))
    return first, second, [(axis, places.index(k)) for k, axis in enumerate(contracted)]


@settings(max_examples=100)
@given(st.data())
def test_against_tensordot(tensors: Tensors, legs: Legs, assert_close: Any, data: st.DataObject) -> None:
    first, second, pairs = data.draw(pairs_of_tensors(tensors, legs))
    result = tn.contract(first, second, pairs)
    axes = [a for a, _ in pairs], [b for _, b in pairs]
    expected = np.tensordot(tn.to_dense(first), tn.to_dense(second), axes=axes)
    assert result.n_rows == len(first.legs) - len(pairs)
    assert result.dtype == first.dtype
    assert_close(tn.to_dense(result), expected, atol=1e-11 * max(1.0, np.abs(expected).max(initial=0)))


@given(st.data())
def test_into_a_given_tensor(tensors: Tensors, legs: Legs, assert_close: Any, data: st.DataObject) -> None:
    first, second, pairs = data.draw(pairs_of_tensors(tensors, legs))
    expected = tn.contract(first, second, pairs)
    out = tn.Tensor(expected.structure, np.full_like(expected.data, np.nan))
    assert tn.contract(first, second, pairs, out=out) is out
    assert_close(out.data, expected.data)


def test_large_thin_products(assert_close: Any) -> None:
    # Above a megabyte and up to 32 summands a product is written in tiles of 32 x 128, here with borders.
    rng = np.random.default_rng(0)
    first = tn.random(["20x0e+10x1o", "20x0e+12x1o"], ["3x0e+2x1o"], rng=rng)
    second = tn.random(["25x0e+10x1o", "18x0e+11x1o"], ["3x0e+2x1o"], rng=rng)
    result = tn.contract(first, second, [(2, 2)])
    assert result.data.nbytes > 1 << 20
    for ir, matrix in first.blocks.items():
        expected = matrix @ second.blocks[ir].T if ir in second.blocks else 0.0
        assert_close(result.blocks[ir], expected)


def test_shared_names_are_contracted() -> None:
    rng = np.random.default_rng(0)
    first = tn.random(["2x0e+1x1o"], ["1x0e+1x1o", "3x0e"], rng=rng, names=("a", "x", "y"))
    second = tn.random(["3x0e", "1x0e+1x1o"], ["2x0e"], rng=rng, names=("y", "x", "b"))
    result = tn.contract(first, second)
    assert result.names == ("a", "b")
    np.testing.assert_allclose(
        tn.to_dense(result), np.einsum("axy,yxb->ab", tn.to_dense(first), tn.to_dense(second)), atol=1e-13
    )
    by_name = tn.contract(first, second, [("y", 0), (1, "x")])
    np.testing.assert_allclose(by_name.data, result.data, atol=1e-13)


def test_full_contraction_conjugates_nothing() -> None:
    leg = "2x0e+1x1o"
    tensor = tn.random([leg], [leg], rng=np.random.default_rng(0), dtype=complex)
    value = tn.contract(tensor, tensor, [(0, 0), (1, 1)]).item()
    assert value == pytest.approx(np.sum(tn.to_dense(tensor) ** 2))
    transposed = tn.contract(tensor, tensor, [(0, 1), (1, 0)]).item()
    assert transposed == pytest.approx(np.trace(tn.to_dense(tensor) @ tn.to_dense(tensor)))


def test_precisions_are_promoted() -> None:
    single = tn.identity(["1x1o"], dtype="float32")
    assert tn.contract(single, tn.identity(["1x1o"]), [(1, 0)]).dtype == np.float64
    assert tn.contract(single, tn.identity(["1x1o"], dtype="complex64"), [(1, 0)]).dtype == np.complex64


def test_legs_that_differ_name_both_and_the_sectors() -> None:
    first = tn.zeros(["2x0e+1x1o"], names=("bond",))
    message = (
        r"leg 0 'bond' \(2x0e\+1x1o\) of the first tensor and leg 1 \(2x0e\+2x1o\) of the second do not match: "
        "sector 1o has multiplicity 1 on the first and 2 on the second"
    )
    with pytest.raises(TensorError, match=message):
        tn.contract(first, tn.zeros(["1x0e", "2x0e+2x1o"]), [("bond", 1)])


def test_a_leg_contracted_twice() -> None:
    tensor = tn.zeros(["1x0e"], ["1x0e"], names=("a", None))
    with pytest.raises(TensorError, match=r"leg 0 'a' \(1x0e\) of the first tensor is contracted twice"):
        tn.contract(tensor, tensor, [(0, 0), ("a", 1)])
    with pytest.raises(TensorError, match=r"leg 1 \(1x0e\) of the second tensor is contracted twice"):
        tn.contract(tensor, tensor, [(0, 1), (1, 1)])


def test_no_name_shared() -> None:
    with pytest.raises(TensorError, match=r"no leg name is shared by \('a',\) and \(None,\); pass legs="):
        tn.contract(tn.zeros(["1x0e"], names=("a",)), tn.zeros(["1x0e"]))


def test_names_of_remaining_legs_may_clash_but_then_name_no_leg() -> None:
    tensor = tn.identity(["1x0e"], names=("a", "b"))
    result = tn.contract(tensor, tensor, [("b", "b")])
    assert result.names == ("a", "a")
    with pytest.raises(
        TensorError, match=r"the name 'a' is that of several legs; the legs are: leg 0 'a' \(1x0e\), leg"
    ):
        tn.contract(result, tensor)


def test_out_that_does_not_fit() -> None:
    tensor = tn.identity(["1x1o"])
    with pytest.raises(TensorError, match=r"out is a \(1x0e \| 1x0e\) of float64, the result is a \(1x1o \| 1x1o\)"):
        tn.contract(tensor, tensor, [(1, 0)], out=tn.identity(["1x0e"]))
    with pytest.raises(TensorError, match=r"out is a .* of float32, the result is a .* of float64"):
        tn.contract(tensor, tensor, [(1, 0)], out=tensor.astype("float32"))
    with pytest.raises(TensorError, match="out shares its buffer with an operand"):
        tn.contract(tensor, tensor, [(1, 0)], out=tensor)
