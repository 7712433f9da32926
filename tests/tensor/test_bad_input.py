"""Empty and deficient sectors, legs that cannot fuse, numbers that are not finite or far from 1."""

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

LEG = "2x0e+1x1o"
#: Two sectors, of which the second has the larger weight.
DIAGONAL = {"0e": np.diag([3.0, 1.0]), "1o": np.diag([2.0])}
#: Scales at which a square overflows or underflows in the precision.
EXTREMES = [("float64", 1e200), ("float64", 1e-200), ("complex128", 1e-310), ("float32", 1e30), ("float32", 1e-30)]


def product(result: Any) -> tn.Tensor:
    """The product of all factors of a decomposition; a spectrum stands for its diagonal tensor."""
    first, *rest = [f.tensor() if isinstance(f, tn.Spectrum) else f for f in result if not isinstance(f, float)]
    for factor in rest:
        first = tn.contract(first, factor, [(-1, 0)])
    return first


def eigh_product(tensor: tn.Tensor) -> tn.Tensor:
    values, vectors = tn.eigh(tensor)
    return product((vectors, values, tn.adjoint(vectors)))


DECOMPOSITIONS: dict[str, Callable[[tn.Tensor], tn.Tensor]] = {
    "qr": lambda tensor: product(tn.qr(tensor)),
    "lq": lambda tensor: product(tn.lq(tensor)),
    "svd": lambda tensor: product(tn.svd(tensor)),
    "truncated_svd": lambda tensor: product(tn.truncated_svd(tensor)),
    "cutoff": lambda tensor: product(tn.truncated_svd(tensor, cutoff=1e-12)),
    "eigh": eigh_product,
    "pinv": lambda tensor: tn.pinv(tn.pinv(tensor)),
}


@pytest.fixture(params=DECOMPOSITIONS)
def rebuild(request: pytest.FixtureRequest) -> Callable[[tn.Tensor], tn.Tensor]:
    """Decompose a tensor and multiply the factors."""
    return DECOMPOSITIONS[request.param]


class TestDeficientAndEmptySectors:
    @pytest.mark.parametrize(
        "tensor",
        [
            tn.from_blocks(["3x0e+2x1o+1x2e"], ["3x0e+2x1o+1x2e"], {"0e": np.ones((3, 3)), "2e": -np.eye(1)}),
            tn.zeros([LEG], [LEG]),
            tn.zeros([""], [""]),
            tn.zeros(["", LEG], ["", LEG]),
            tn.zeros([], []),
        ],
        ids=["one sector of rank 1 and one zero", "zero", "empty legs", "an empty leg beside another", "no legs"],
    )
    def test_the_factors_multiply_to_the_tensor(
        self, rebuild: Callable[[tn.Tensor], tn.Tensor], tensor: tn.Tensor, assert_close: Any
    ) -> None:
        with tn.debug():
            result = rebuild(tensor)
        assert result.structure == tensor.structure
        assert_close(result.data, tensor.data)

    @pytest.mark.parametrize("decompose", [tn.qr, tn.lq, tn.svd, tn.truncated_svd, tn.pinv])
    def test_rows_and_columns_that_cannot_fuse(self, decompose: Callable[[tn.Tensor], Any]) -> None:
        """The only such map is zero: factors with an empty bond."""
        result = decompose(tn.zeros(["2x0e"], ["3x1o"]))
        if isinstance(result, tn.Tensor):
            assert (result.legs, result.data.size) == ((Irreps("3x1o"), Irreps("2x0e")), 0)
        else:
            assert tn.to_dense(product(result)).shape == (2, 9)
            assert result[0].legs[-1] == Irreps()

    def test_a_total_of_a_zero_tensor_keeps_a_bond(self) -> None:
        """Nothing is more important than anything else; without a cutoff as many are kept as were asked for."""
        assert tn.truncated_svd(tn.zeros([LEG], [LEG]), max_bond=2).s.leg.num_irreps == 2


class TestLegsThatCannotFuse:
    """Their tensors have no numbers, and operations on them give the zero that they stand for."""

    def test_contraction_over_them(self) -> None:
        result = tn.contract(tn.zeros(["2x0e"], ["3x1o"]), tn.zeros(["3x1o"]), [(1, 0)])
        np.testing.assert_array_equal(tn.to_dense(result), [0.0, 0.0])
        result = tn.einsum("ab,b->a", tn.zeros(["2x0e"], ["3x1o"]), tn.zeros(["3x1o"]))
        np.testing.assert_array_equal(tn.to_dense(result), [0.0, 0.0])

    def test_regrouping(self) -> None:
        tensor = tn.zeros(["2x0e"], ["3x1o", "1x2e"])
        assert tn.permute(tensor, [1, 2], [0]).structure.dense_shape == (9, 5, 2)
        assert str(tn.fuse(tensor, [0, 1, 2]).legs[0]) == "6x1o+6x2o+6x3o"

    def test_arithmetic(self) -> None:
        tensor = tn.zeros(["2x0e"], ["3x1o"])
        assert ((2.0 * tensor + tensor).norm(), tensor.inner(tensor)) == (0.0, 0.0)


class TestNotFinite:
    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_no_decomposition_takes_them(self, rebuild: Callable[[tn.Tensor], tn.Tensor], wrong: float) -> None:
        tensor = tn.identity(["1x0e+1x1o+1x2e"])
        tensor.data[1] = wrong
        with pytest.raises(TensorError, match="numbers that are not finite in the coupled sectors 1o"):
            rebuild(tensor)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_they_stay_visible_elsewhere(self, wrong: float) -> None:
        tensor = tn.identity([LEG])
        tensor.data[0] = wrong
        for result in (tensor.norm(), tensor.squared_norm(), tn.permute(tensor, [], [0, 1]).norm()):
            np.testing.assert_equal(result, wrong)
        with np.errstate(invalid="ignore"):
            assert not np.isfinite(tn.contract(tensor, tensor, [(1, 0)]).data).all()


class TestFarFromOne:
    """Squares overflow and underflow long before the numbers do."""

    @given(st.data(), st.sampled_from(EXTREMES))
    def test_norm(self, tensors: Any, data: st.DataObject, extreme: tuple[str, float]) -> None:
        dtype, scale = extreme
        tensor = data.draw(tensors(max_legs=3, dtypes=(dtype,)))
        assert (tensor * scale).norm() == pytest.approx(tensor.norm() * scale, rel=1e-5, abs=0.0)

    @pytest.mark.parametrize(("dtype", "scale"), EXTREMES)
    def test_a_total_keeps_the_same_values(self, dtype: str, scale: float) -> None:
        tensor = tn.from_blocks([LEG], [LEG], DIAGONAL).astype(dtype) * scale
        with np.errstate(over="ignore"):  # in the weight that is discarded
            assert str(tn.truncated_svd(tensor, max_bond=1).s.leg) == "1x1o"
            assert str(tn.truncated_svd(tensor, max_bond=2).s.leg) == "1x0e+1x1o"

    @pytest.mark.parametrize(("dtype", "scale"), EXTREMES)
    def test_what_is_not_hermitian_is_noticed(self, dtype: str, scale: float) -> None:
        tensor = tn.from_blocks(["2x0e"], ["2x0e"], {"0e": np.triu(np.ones((2, 2)))}).astype(dtype) * scale
        with pytest.raises(TensorError, match=r"anti-Hermitian part .* has the relative norm 0\.41"):
            tn.eigh(tensor)

    @pytest.mark.parametrize(("dtype", "scale"), EXTREMES)
    def test_what_is_not_equivariant_is_noticed(self, dtype: str, scale: float) -> None:
        dense = (np.diag([1.0, 2.0, 3.0]) * scale).astype(dtype)
        with pytest.raises(TensorError, match=r"a part of relative norm 0\.38 lies outside"):
            tn.from_dense(dense, ["1x1o"], ["1x1o"])
        assert tn.from_dense(dense, ["3x0e"], ["3x0e"]).dtype == dtype


@pytest.mark.parametrize("tolerance", [-1e-3, np.nan])
def test_a_tolerance_that_is_none(tolerance: float) -> None:
    """A comparison with nan is false: everything would pass."""
    message = "tolerance is relative to the norm and must be a number >= 0, got"
    with pytest.raises(TensorError, match=message):
        tn.eigh(tn.from_blocks(["2x0e"], ["2x0e"], {"0e": np.triu(np.ones((2, 2)))}), tolerance=tolerance)
    with pytest.raises(TensorError, match=message):
        tn.from_dense(np.ones((1, 3)), ["1x0e"], ["1x1o"], tolerance=tolerance)


class TestBlocks:
    def test_lists_are_no_matrices(self) -> None:
        with pytest.raises(TensorError, match=r"the matrix of sector 0e must be an array, got \[\[1\.0\]\]"):
            tn.from_blocks(["1x0e"], ["1x0e"], {"0e": [[1.0]]})

    @pytest.mark.parametrize(
        ("first", "second", "result"),
        [("float32", "float64", "float64"), ("float64", "complex64", "complex128"), ("float32", "float32", "float32")],
    )
    def test_nothing_is_lost_of_matrices_of_different_precision(self, first: str, second: str, result: str) -> None:
        wide = np.array([[1 / 3 + (1j if second.startswith("c") else 0)]]).astype(second)
        tensor = tn.from_blocks(["1x0e+1x1o"], ["1x0e+1x1o"], {"0e": np.ones((1, 1), first), "1o": wide})
        assert tensor.dtype == result
        assert tensor.data[1] == wide[0, 0]
