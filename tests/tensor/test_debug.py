"""Debug mode: silent where all is well, and an error at the first operation that breaks an invariant."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import TensorError
from etn_gpu.tensor import memory
from etn_gpu.tensor.debug import debugging
from etn_gpu.tensor.permute import PermutationPlan


@pytest.fixture
def square() -> tn.Tensor:
    tensor = tn.random(["2x0e+2x1o"], ["2x0e+2x1o"], rng=np.random.default_rng(0))
    return tensor + tn.adjoint(tensor)


@given(st.data())
def test_silent_where_all_is_well(tensors: Callable[..., st.SearchStrategy[tn.Tensor]], data: st.DataObject) -> None:
    tensor = data.draw(tensors(dtypes=["float32", "float64", "complex64", "complex128"]))
    with tn.debug():
        for decompose in (tn.qr, tn.lq, tn.svd, tn.pinv):
            decompose(tensor)
        tn.truncated_svd(tensor, max_bond=2, cutoff=1e-3)
        axes = range(len(tensor.legs))
        gram = tn.contract(
            tensor, tn.adjoint(tensor), [(i, (i - tensor.n_rows) % len(axes)) for i in axes][tensor.n_rows :]
        )
        tn.eigh(gram)
        if tensor.legs:
            tn.fuse(tensor, axes)


def test_switch() -> None:
    assert not debugging()
    with tn.debug():
        assert debugging()
        with tn.debug(False):
            assert not debugging()
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(debugging()))
        thread.start()
        thread.join()
        assert seen == [False]
        assert debugging()
    assert not debugging()


def test_a_tensor_with_numbers_that_are_not_finite(square: tn.Tensor) -> None:
    assert np.isnan((square * np.nan).norm())
    with tn.debug(), pytest.raises(TensorError, match="not finite in the coupled sectors 0e, 1o"):
        square * np.nan


def test_a_layout_with_a_gap(square: tn.Tensor) -> None:
    layout = tn.Structure(square.structure.rows, square.structure.cols)
    layout.blocks = layout.blocks[1:]
    with tn.debug(), pytest.raises(TensorError, match=r"block 1o .* has shape \(2, 2\) at .*, expected \(2, 2\) at 0"):
        tn.Tensor(layout, square.data)


def test_a_layout_that_ends_early(square: tn.Tensor) -> None:
    layout = tn.Structure(square.structure.rows, square.structure.cols)
    layout.blocks = layout.blocks[:1]
    with tn.debug(), pytest.raises(TensorError, match="cover 4 numbers, its size is 8"):
        tn.Tensor(layout, square.data)


def test_a_permutation_that_changes_the_norm(square: tn.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PermutationPlan, "apply", lambda self, data: 2 * data)
    tn.permute(square, [1], [0])
    with tn.debug(), pytest.raises(TensorError, match="permute changed the norm"):
        tn.permute(square, [1], [0])


def test_a_contraction_above_the_bound(square: tn.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(a: Any, b: Any, out: Any) -> None:
        memory.multiply_into(a, b, out)
        out *= 100.0

    # The module, which the function of its name hides in the package.
    monkeypatch.setattr(import_module("etn_gpu.tensor.products"), "multiply_into", wrong)
    with tn.debug(), pytest.raises(TensorError, match="contract gave more than the product of the norms"):
        tn.contract(square, square, [(1, 0)])


def broken(function: Callable[..., Any], factors: list[float]) -> Callable[..., Any]:
    """A decomposition whose factors are multiplied with wrong numbers."""

    def wrong(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(x * factor for x, factor in zip(function(*args, **kwargs), factors, strict=True))

    return wrong


@pytest.mark.parametrize(
    ("name", "function", "factors", "message"),
    [
        ("qr", tn.qr, [2, 0.5], "qr gave a factor that is no isometry in the sector 0e"),
        ("qr", tn.qr, [1, 2], "the factors of qr do not multiply to the tensor"),
        ("qr", tn.lq, [2, 0.5], "lq gave a factor that is no isometry in the sector 0e"),
        ("svd", tn.svd, [2, 0.5, 1], "svd gave a factor that is no isometry"),
        ("svd", tn.svd, [1, 2, 1], "the factors of svd do not multiply to the tensor"),
        ("svd", tn.truncated_svd, [1, 2, 1], "truncated_svd misses its discarded weight"),
        ("svd", tn.truncated_svd, [1, 1, 2], "truncated_svd gave a factor that is no isometry"),
        ("eigh", tn.eigh, [1, 2], "eigh gave a factor that is no isometry"),
        ("eigh", tn.eigh, [2, 1], "the factors of eigh do not multiply to the tensor"),
    ],
)
def test_a_decomposition_that_is_wrong(
    name: str,
    function: Callable[[tn.Tensor], Any],
    factors: list[float],
    message: str,
    square: tn.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(np.linalg, name, broken(getattr(np.linalg, name), factors))
    with tn.debug(), pytest.raises(TensorError, match=message):
        function(square)
