"""Truncated singular value decomposition: its exact error, and which values it keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import IrrepsError, TensorError
from etn_gpu.symmetry import Irrep, Irreps

Tensors = Callable[..., st.SearchStrategy[tn.Tensor]]


def diagonal(**values: list[float]) -> tn.Tensor:
    """A map with given singular values: ``diagonal(s0e=[3, 1], s1o=[2])``."""
    sectors = {name[1:]: np.array(numbers, dtype=float) for name, numbers in values.items()}
    leg = Irreps((len(numbers), ir) for ir, numbers in sectors.items())
    return tn.from_blocks([leg], [leg], {ir: np.diag(numbers) for ir, numbers in sectors.items()})


def product(result: tn.TruncatedSVD) -> tn.Tensor:
    return tn.contract(tn.contract(result.u, result.s.tensor(), [(-1, 0)]), result.v, [(-1, 0)])


def kept(result: tn.TruncatedSVD) -> dict[str, list[float]]:
    return {str(ir): [round(float(x), 10) for x in values] for ir, values in result.s.items()}


@given(st.data())
def test_squared_error_is_the_discarded_weight(tensors: Tensors, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    max_bond = data.draw(st.none() | st.integers(1, 5) | st.sampled_from(["1x0e", "2x0e+1x1o+1x1e", ""]))
    cutoff = data.draw(st.sampled_from([0.0, 0.3]))
    result = tn.truncated_svd(tensor, max_bond=max_bond, cutoff=cutoff, name="bond")
    error = np.linalg.norm(tn.to_dense(product(result)) - tn.to_dense(tensor))
    assert error**2 == pytest.approx(result.discarded_weight, abs=1e-11 * (1 + tensor.squared_norm()))
    assert result.s.squared_norm() + result.discarded_weight == pytest.approx(tensor.squared_norm(), rel=1e-12)
    assert result.u.names[-1] == result.v.names[0] == "bond"


@given(st.data())
def test_a_total_keeps_the_values_of_largest_weight(tensors: Tensors, data: st.DataObject) -> None:
    tensor = data.draw(tensors())
    total = data.draw(st.integers(1, 6))
    result = tn.truncated_svd(tensor, max_bond=total)
    weights = np.sort(np.concatenate([np.empty(0), *(ir.dim * s**2 for ir, s in tn.svd(tensor).s.items())]))[::-1]
    assert result.s.leg.num_irreps == min(total, len(weights))
    assert result.discarded_weight == pytest.approx(weights[total:].sum(), abs=1e-12)


def test_total() -> None:
    # Weights (2l+1) s^2: 9, 6.25 and 4 for 0e; 12 and 3 for 1o.
    tensor = diagonal(s0e=[3.0, 2.5, 2.0], s1o=[2.0, 1.0])
    result = tn.truncated_svd(tensor, max_bond=3)
    assert kept(result) == {"0e": [3.0, 2.5], "1o": [2.0]}
    assert result.discarded_weight == pytest.approx(4.0 + 3.0)


def test_per_sector() -> None:
    tensor = diagonal(s0e=[3.0, 2.0], s1o=[2.0, 1.0], s2e=[5.0])
    result = tn.truncated_svd(tensor, max_bond="1x0e+7x1o")
    assert kept(result) == {"0e": [3.0], "1o": [2.0, 1.0]}
    assert result.discarded_weight == pytest.approx(4.0 + 5 * 25.0)


def test_cutoff_is_relative_to_the_largest_value_of_all_sectors() -> None:
    tensor = diagonal(s0e=[10.0, 1.0], s1o=[0.999, 0.5])
    result = tn.truncated_svd(tensor, cutoff=0.09)
    assert kept(result) == {"0e": [10.0, 1.0], "1o": [0.999]}
    assert kept(tn.truncated_svd(tensor, cutoff=0.1)) == {"0e": [10.0]}
    assert kept(tn.truncated_svd(tensor, cutoff=0.09, max_bond=1)) == {"0e": [10.0]}


def test_nothing_is_dropped_without_being_asked() -> None:
    tensor = diagonal(s0e=[1.0, 0.0])
    result = tn.truncated_svd(tensor)
    assert kept(result) == {"0e": [1.0, 0.0]}
    assert result.discarded_weight == 0.0


def test_deficient_sectors_vanish_with_a_cutoff() -> None:
    tensor = tn.from_blocks(["3x0e+2x1o"], ["3x0e+2x1o"], {"0e": np.ones((3, 3))})
    assert str(tn.truncated_svd(tensor, cutoff=1e-12).s.leg) == "1x0e"


def test_a_zero_tensor_with_a_cutoff_has_an_empty_bond(assert_close: Any) -> None:
    result = tn.truncated_svd(tn.zeros(["2x0e+1x1o"], ["2x0e+1x1o"]), cutoff=1e-12)
    assert result.u.legs[-1].dim == 0
    assert_close(tn.to_dense(product(result)), np.zeros((5, 5)))


@pytest.mark.parametrize("max_bond", [0, -1, 2.0, True])
def test_a_total_that_is_none(max_bond: Any) -> None:
    message = (
        f"max_bond must be an integer >= 1 (the total) or irreps such as '8x0e+4x1o' (per sector), got {max_bond!r}"
    )
    with pytest.raises(TensorError, match=re.escape(message)):
        tn.truncated_svd(tn.identity(["1x0e"]), max_bond=max_bond)


def test_irreps_that_cannot_be_read() -> None:
    with pytest.raises(IrrepsError, match="cannot read"):
        tn.truncated_svd(tn.identity(["1x0e"]), max_bond="eight")


@pytest.mark.parametrize("cutoff", [-0.1, 1.0, np.nan])
def test_a_cutoff_outside_its_range(cutoff: float) -> None:
    with pytest.raises(TensorError, match=r"cutoff is relative to the largest singular value and lies in \[0, 1\)"):
        tn.truncated_svd(tn.identity(["1x0e"]), cutoff=cutoff)


def test_numbers_that_are_not_finite() -> None:
    with pytest.raises(TensorError, match="not finite in the coupled sectors 1o"):
        tn.truncated_svd(tn.identity(["1x1o"]) * np.inf)


def test_a_bond_that_the_irreps_leave_empty() -> None:
    result = tn.truncated_svd(tn.identity(["1x1o"]), max_bond="4x0e")
    assert result.s.leg == Irreps()
    assert result.discarded_weight == pytest.approx(3.0)
    assert Irrep(1, -1) not in result.s
