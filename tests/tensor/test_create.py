"""Zeros, random tensors, identities, and tensors from the matrices of their coupled sectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep, Irreps


@given(st.data())
def test_zeros(legs: Callable[..., st.SearchStrategy[Irreps]], data: st.DataObject) -> None:
    rows, cols = data.draw(st.lists(legs(2), max_size=2)), data.draw(st.lists(legs(2), max_size=1))
    tensor = tn.zeros(rows, cols)
    assert tensor.n_rows == len(rows)
    assert tensor.norm() == 0.0
    assert not tn.to_dense(tensor).any()


@given(st.data())
def test_identity(legs: Callable[..., st.SearchStrategy[Irreps]], assert_close: Any, data: st.DataObject) -> None:
    several = data.draw(st.lists(legs(2), max_size=2))
    tensor = tn.identity(several)
    dim = int(np.prod([leg.dim for leg in several]))
    assert_close(tn.to_dense(tensor).reshape(dim, dim), np.eye(dim))
    assert tensor.squared_norm() == pytest.approx(dim)


def test_random_is_standard_normal_in_an_orthonormal_basis() -> None:
    rng = np.random.default_rng(0)
    for rows, cols in ((["4x1o+3x2e"], ["4x1o+3x2e", "2x0e+1x2e"]), (["4x1o+3x2e", "2x0e+1x2e"], ["4x1o+3x2e"])):
        norms = [tn.random(rows, cols, rng=rng).squared_norm() for _ in range(200)]
        size = tn.zeros(rows, cols).structure.size
        assert np.mean(norms) == pytest.approx(size, rel=4 * np.sqrt(2 / size / 200))
    norms = [tn.random(["3x1o"], ["3x1o"], rng=rng, dtype=complex).squared_norm() for _ in range(300)]
    assert np.mean(norms) == pytest.approx(9, rel=0.1)


def test_random_is_reproducible_and_drawn_in_double_precision() -> None:
    first, second = (tn.random(["2x1o"], ["2x1o"], rng=np.random.default_rng(3), dtype=t) for t in ("f8", "f4"))
    np.testing.assert_array_equal(second.data, first.data.astype("f4"))


def test_random_over_legs_that_cannot_fuse() -> None:
    message = r"\(1x0e \| 1x1o, 2x0o\) cannot fuse to 0e.*rows fuse to 1x0e, columns to 2x1e, with no irrep in common"
    with pytest.raises(TensorError, match=message):
        tn.random(["1x0e"], ["1x1o", "2x0o"], rng=np.random.default_rng(0))
    with pytest.raises(TensorError, match=r"\(empty \| 1x0e\) cannot fuse to 0e.*rows fuse to nothing"):
        tn.random([""], ["1x0e"], rng=np.random.default_rng(0))


def test_from_blocks() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    tensor = tn.from_blocks(["2x1o+1x0e"], ["1x0e+3x1o"], {"1o": matrix}, names=("a", "b"))
    np.testing.assert_array_equal(tensor.blocks[Irrep(1, -1)], matrix)
    np.testing.assert_array_equal(tensor.blocks[Irrep(0, 1)], [[0.0]])
    assert tensor.names == ("a", "b")


def test_from_blocks_of_a_sector_that_is_not_there() -> None:
    with pytest.raises(TensorError, match=r"\(2x1o \| 3x1o\) has no coupled sector 0e; its sectors are: 1o"):
        tn.from_blocks(["2x1o"], ["3x1o"], {"0e": np.ones((1, 1))})
    with pytest.raises(TensorError, match="its sectors are: none"):
        tn.from_blocks(["2x1o"], ["3x0e"], {"0e": np.ones((1, 1))})


def test_from_blocks_of_a_wrong_shape() -> None:
    with pytest.raises(TensorError, match=r"the matrix of sector 1o of .* has shape \(2, 3\), got \(3, 2\)"):
        tn.from_blocks(["2x1o"], ["3x1o"], {"1o": np.ones((3, 2))})


def test_from_blocks_that_are_not_finite() -> None:
    blocks = {"1o": np.full((1, 1), np.inf), "0e": np.ones((1, 1))}
    with pytest.raises(TensorError, match="not finite in the coupled sectors 1o"):
        tn.from_blocks(["1x0e+1x1o"], ["1x0e+1x1o"], blocks)


def test_from_no_blocks() -> None:
    with pytest.raises(TensorError, match="needs at least one matrix"):
        tn.from_blocks(["1x0e"], ["1x0e"], {})
