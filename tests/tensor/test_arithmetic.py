"""What acts on numbers alone: sums, multiples, inner products, norms, conjugates, names, precision."""

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


def partner(tensor: tn.Tensor, seed: int = 5) -> tn.Tensor:
    """Another tensor over the same legs."""
    numbers = np.random.default_rng(seed).standard_normal(tensor.structure.size)
    return tn.Tensor(tensor.structure, numbers.astype(tensor.dtype))


@pytest.fixture
def bond() -> tn.Tensor:
    return tn.random(["2x0e+1x1o"], ["2x0e+1x1o"], rng=np.random.default_rng(0), names=("left", "right"))


@given(st.data())
def test_linear_combination(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    first = data.draw(tensors())
    second = partner(first)
    combined = 2.0 * first - second / 4 + (-first) * 0.5
    assert combined.dtype == first.dtype
    assert_close(tn.to_dense(combined), 1.5 * tn.to_dense(first) - 0.25 * tn.to_dense(second))


@given(st.data())
def test_inner_product_and_norm(tensors: Tensors, data: st.DataObject) -> None:
    first = data.draw(tensors())
    second = partner(first)
    x, y = tn.to_dense(first).reshape(-1), tn.to_dense(second).reshape(-1)
    assert first.inner(second) == pytest.approx(np.vdot(x, y), abs=1e-10)
    assert first.norm() == pytest.approx(np.linalg.norm(x), abs=1e-10)
    assert first.squared_norm() == pytest.approx(first.inner(first).real, abs=1e-10)


@given(st.data())
def test_conj(tensors: Tensors, assert_close: Any, data: st.DataObject) -> None:
    tensor = data.draw(tensors(dtypes=["complex128"]))
    assert_close(tn.to_dense(tensor.conj()), tn.to_dense(tensor).conj())
    assert tensor.conj().conj().inner(tensor) == pytest.approx(tensor.squared_norm())


def test_a_real_tensor_is_its_own_conjugate(bond: tn.Tensor) -> None:
    assert bond.conj() is bond


def test_precision_is_kept(bond: tn.Tensor) -> None:
    single = bond.astype("float32")
    assert (single * np.float64(2)).dtype == np.float32
    assert (single / np.float64(2)).dtype == np.float32
    assert single.astype(np.float32) is single
    assert (single * 1j).dtype == np.complex64


def test_other_factors(bond: tn.Tensor) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        bond * None  # type: ignore[operator]
    with pytest.raises(TypeError, match="unsupported operand"):
        bond / bond  # type: ignore[operator]
    with pytest.raises(TypeError, match="unsupported operand"):
        bond + 1  # type: ignore[operator]
    with pytest.raises(TypeError, match="unsupported operand"):
        bond - 1  # type: ignore[operator]
    with pytest.raises(TensorError, match="cannot divide a tensor by zero"):
        bond / 0


def test_item() -> None:
    assert tn.from_dense(3.0, [], []).item() == 3.0
    with pytest.raises(
        TensorError, match=r"only a tensor without legs is a number, this one has the legs \(1x0e \| \)"
    ):
        tn.zeros(["1x0e"]).item()


def test_names(bond: tn.Tensor) -> None:
    assert bond.names == ("left", "right")
    assert bond.axis("right") == bond.axis(-1) == bond.axis(np.int64(1)) == 1
    assert bond.rename(("a", None)).names == ("a", None)
    assert bond.rename({"left": "x", 1: None}).names == ("x", None)
    assert (bond * 2).names == (bond + bond).names == bond.names


def test_unknown_legs_are_answered_with_the_legs_there_are(bond: tn.Tensor) -> None:
    message = r"there is no leg 'up'; the legs are: leg 0 'left' \(2x0e\+1x1o\), leg 1 'right' \(2x0e\+1x1o\)"
    with pytest.raises(TensorError, match=message):
        bond.axis("up")
    with pytest.raises(TensorError, match="there is no leg 2"):
        bond.axis(2)
    with pytest.raises(TensorError, match=r"there is no leg 0\.5"):
        bond.axis(0.5)  # type: ignore[arg-type]
    with pytest.raises(TensorError, match="there is no leg 0; the legs are: none"):
        tn.from_dense(1.0, [], []).axis(0)


def test_names_that_do_not_fit(bond: tn.Tensor) -> None:
    with pytest.raises(TensorError, match=r"got the names \('a',\) for 2 legs"):
        bond.rename(("a",))


def test_buffers_that_do_not_fit(bond: tn.Tensor) -> None:
    with pytest.raises(TensorError, match=r"holds 5 numbers in one dimension, got an array of shape \(4,\)"):
        tn.Tensor(bond.structure, bond.data[:4])
    with pytest.raises(TensorError, match="holds one of float32, float64, complex64, complex128, got int64"):
        tn.Tensor(bond.structure, np.zeros(5, int))


def test_blocks_are_views(bond: tn.Tensor) -> None:
    blocks = bond.blocks
    assert {str(ir): block.shape for ir, block in blocks.items()} == {"0e": (2, 2), "1o": (1, 1)}
    assert np.shares_memory(blocks[Irrep(1, -1)], bond.data)


def test_sector_mismatch_names_both_legs_and_sectors(bond: tn.Tensor) -> None:
    other = tn.zeros(["2x0e+1x1o"], ["3x0e+1x2e"])
    message = (
        r"leg 1 'right' \(2x0e\+1x1o\) of the first tensor and leg 1 \(3x0e\+1x2e\) of the second do not match: "
        r"sector 0e has multiplicity 2 on the first and 3 on the second, sector 1o has multiplicity 1 on the first and "
        r"0 on the second, sector 2e has multiplicity 0 on the first and 1 on the second"
    )
    for combine in (bond.__add__, bond.__sub__, bond.inner):
        with pytest.raises(TensorError, match=message):
            combine(other)


def test_sectors_in_another_order(bond: tn.Tensor) -> None:
    with pytest.raises(TensorError, match="their sectors come in another order"):
        bond + tn.zeros(["2x0e+1x1o"], ["1x1o+2x0e"])


def test_other_divisions_and_numbers_of_legs(bond: tn.Tensor) -> None:
    with pytest.raises(TensorError, match="1 and 2 of them are rows: regroup one of them with permute"):
        bond + tn.zeros(["2x0e+1x1o", "2x0e+1x1o"])
    with pytest.raises(TensorError, match="have different numbers of legs"):
        bond + tn.zeros(["2x0e+1x1o"])


def test_repr(bond: tn.Tensor) -> None:
    assert repr(bond) == "Tensor((2x0e+1x1o | 2x0e+1x1o), names=('left', 'right'), float64, 5 numbers)"
