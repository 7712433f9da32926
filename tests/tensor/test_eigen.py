"""Eigenvalues of Hermitian maps and pseudo-inverses, against those of the dense matrices."""

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
Legs = Callable[..., st.SearchStrategy[Irreps]]


@st.composite
def hermitian(draw: st.DrawFn, legs: Legs) -> tn.Tensor:
    rows = draw(st.lists(legs(1), max_size=2))
    tensor = tn.zeros(rows, rows, dtype=draw(st.sampled_from(["float64", "complex128"])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if tensor.structure.size:
        tensor = tn.random(rows, rows, rng=rng, dtype=tensor.dtype)
    return tensor + tn.adjoint(tensor)


@given(st.data())
def test_eigh(legs: Legs, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(hermitian(legs))
    values, vectors = tn.eigh(tensor, name="bond")
    dim = int(np.prod(tensor.structure.dense_shape[: tensor.n_rows]))
    expected = np.linalg.eigvalsh(tn.to_dense(tensor).reshape(dim, dim))
    found = np.sort(np.concatenate([np.empty(0), *(np.repeat(x, ir.dim) for ir, x in values.items())]))
    assert_close(found, expected)
    scaled = tn.contract(vectors, values.tensor(), [(-1, 0)])
    assert_close(tn.contract(scaled, tn.adjoint(vectors), [(-1, 0)]).data, tensor.data)
    assert vectors.names[-1] == "bond"


def test_eigh_of_a_map_that_is_not_hermitian() -> None:
    tensor = tn.from_blocks(["2x0e"], ["2x0e"], {"0e": np.array([[0.0, 1.0], [0.0, 0.0]])})
    with pytest.raises(TensorError, match=r"anti-Hermitian part of \(2x0e \| 2x0e\) has the relative norm 0\.71"):
        tn.eigh(tensor)
    assert tn.eigh(tensor, tolerance=1.0).values.data.shape == (2,)


def test_eigh_of_a_map_between_different_legs() -> None:
    with pytest.raises(TensorError, match=r"leg 0 \(2x0e\) and leg 1 \(3x0e\) do not match: sector 0e"):
        tn.eigh(tn.zeros(["2x0e"], ["3x0e"]))
    with pytest.raises(TensorError, match=r"eigh needs as many columns as rows, got the tensor \(2x0e \| \)"):
        tn.eigh(tn.zeros(["2x0e"]))


def test_eigh_of_numbers_that_are_not_finite() -> None:
    with pytest.raises(TensorError, match="not finite in the coupled sectors 0e"):
        tn.eigh(tn.identity(["1x0e"]) * np.nan)


@given(st.data())
def test_pinv(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors(max_legs=3))
    result = tn.pinv(tensor, cutoff=1e-10)
    shape = tensor.structure.dense_shape
    rows, cols = int(np.prod(shape[: tensor.n_rows])), int(np.prod(shape[tensor.n_rows :]))
    expected = np.linalg.pinv(tn.to_dense(tensor).reshape(rows, cols), rcond=1e-10)
    assert_close(tn.to_dense(result).reshape(cols, rows), expected, atol=1e-9 * (1 + np.abs(expected).max(initial=0)))


def test_pinv_of_deficient_sectors(assert_close: Any) -> None:
    tensor = tn.from_blocks(["2x0e+2x1o"], ["2x0e+2x1o"], {"0e": np.ones((2, 2))})
    assert_close(tn.pinv(tensor).data, tensor.data / 4)
    assert tn.pinv(tn.zeros(["1x0e"], ["1x0e+1x1o"])).norm() == 0.0


def test_pinv_keeps_names_and_precision() -> None:
    tensor = tn.identity(["1x1o"], names=("out", "in"), dtype="float32")
    assert tn.pinv(tensor).names == ("in", "out")
    assert tn.pinv(tensor).dtype == np.float32


def test_pinv_of_bad_input() -> None:
    with pytest.raises(TensorError, match=r"lies in \[0, 1\), got 2"):
        tn.pinv(tn.identity(["1x0e"]), cutoff=2)
    with pytest.raises(TensorError, match="not finite in the coupled sectors 0e"):
        tn.pinv(tn.identity(["1x0e"]) * np.nan)
