r"""Truncated singular value decomposition: the best approximation with a smaller bond, and its exact error.

A singular value s of the coupled sector l is a singular value of the full tensor 2l+1 times. Dropping some of them
costs, in the squared Frobenius norm, the *discarded weight*: the sum of (2l+1) s^2 over those dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor.arrays import root, to_device, to_host
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.debug import debugging, require_close, require_finite, require_isometry
from etn_gpu.tensor.decompose import left_factor, right_factor, square_core
from etn_gpu.tensor.factors import Components, calls, svd_factors
from etn_gpu.tensor.permute import adjoint
from etn_gpu.tensor.spectrum import Spectrum
from etn_gpu.tensor.structure import structure
from etn_gpu.tensor.tensor import Tensor


class TruncatedSVD(NamedTuple):
    """T ~ U S V with the factors of :class:`~etn_gpu.tensor.SVD` and |T - U S V|^2 = `discarded_weight`."""

    u: Tensor
    s: Spectrum
    v: Tensor
    discarded_weight: float


def truncated_svd(
    tensor: Tensor,
    *,
    max_bond: int | Irreps | str | None = None,
    cutoff: float = 0.0,
    name: str | None = None,
) -> TruncatedSVD:
    """Singular value decomposition that keeps only the most important part of the bond.

    Parameters: `max_bond`, an integer, is the largest total multiplicity of the bond; irreps such as ``"8x0e+4x1o"``
    hold the largest multiplicity of each sector, and sectors that are not among them are dropped. `cutoff` drops the
    singular values that are at most `cutoff` times the largest of all. With a total, those of the largest weight
    (2l+1) s^2 are kept, which gives the least error. A tensor that is zero keeps no value if `cutoff` is above 0, and
    its bond is empty.

    Raises :class:`~etn_gpu.errors.TensorError` for a `max_bond` below 1, a `cutoff` outside [0, 1), or numbers that
    are not finite.
    """
    require_finite(tensor)
    _check(max_bond, cutoff)
    parts = square_core(tensor)
    inner = _truncated(parts.core, max_bond, cutoff, name)
    u, v = parts.expand(inner.u, inner.v)
    result = TruncatedSVD(u, inner.s, v, inner.discarded_weight)
    if debugging():
        _require_exact_error(tensor, result)
    return result


def _truncated(tensor: Tensor, max_bond: int | Irreps | str | None, cutoff: float, name: str | None) -> TruncatedSVD:
    plan = svd_factors(tensor.structure, calls(tensor.data))
    factors = plan.apply(tensor.data)
    numbers = plan.values(factors, tensor.data)
    values = to_host(numbers).astype(np.float64)
    ranks = _ranks(values, plan.bond, plan.components, max_bond, cutoff)
    kept = plan.components.order < ranks[plan.components.sector]
    dropped = ~kept
    discarded = float((plan.components.dim * values)[dropped] @ values[dropped])
    if dropped.any():
        bond = Irreps([(int(rank), ir) for rank, (_, ir) in zip(ranks, plan.bond, strict=True)]).simplify()
        left = structure(tensor.structure.rows.legs, (bond,))
        right = structure((bond,), tensor.structure.cols.legs)
        numbers = numbers.take(to_device(np.flatnonzero(kept), numbers))
        u, v = plan.truncated(factors, tensor.data, ranks.tolist())
    else:
        bond, left, right = plan.bond, plan.left, plan.right
        u, v = plan.buffers(factors, tensor.data)
    spectrum = Spectrum(bond, numbers)
    return TruncatedSVD(left_factor(tensor, left, u, name), spectrum, right_factor(tensor, right, v, name), discarded)


def _ranks(
    values: NDArray[np.float64],
    bond: Irreps,
    components: Components,
    max_bond: int | Irreps | str | None,
    cutoff: float,
) -> NDArray[np.intp]:
    """How many singular values, which descend, each sector keeps."""
    largest = values.max(initial=0.0)
    kept = values > cutoff * largest if cutoff > 0 else np.ones(len(values), bool)
    if isinstance(max_bond, (Irreps, str)):
        limits = Irreps(max_bond)
        kept &= components.order < np.array([limits.count(ir) for _, ir in bond], np.intp)[components.sector]
    elif max_bond is not None and np.count_nonzero(kept) > max_bond:
        # On the scale of the largest: the square of a value far from 1 may be infinite, or zero.
        weights = np.where(kept, components.dim * (values / (largest or 1.0)) ** 2, -1.0)
        kept = np.zeros(len(values), bool)
        kept[np.argsort(-weights, kind="stable")[:max_bond]] = True
    return np.bincount(components.sector[kept], minlength=len(bond))


def _check(max_bond: int | Irreps | str | None, cutoff: float) -> None:
    if not 0.0 <= cutoff < 1.0:
        raise TensorError(f"cutoff is relative to the largest singular value and lies in [0, 1), got {cutoff!r}")
    if max_bond is None or isinstance(max_bond, (Irreps, str)):
        return
    if isinstance(max_bond, bool) or not isinstance(max_bond, (int, np.integer)) or max_bond < 1:
        raise TensorError(
            f"max_bond must be an integer >= 1 (the total) or irreps such as '8x0e+4x1o' (per sector), got {max_bond!r}"
        )


def _require_exact_error(tensor: Tensor, result: TruncatedSVD) -> None:
    require_isometry(result.u, "truncated_svd")
    require_isometry(adjoint(result.v), "truncated_svd")
    product = contract(contract(result.u, result.s.tensor(), [(-1, 0)]), result.v, [(-1, 0)])
    # Compared on the scale of the tensor: an error far below it drowns in the rounding of the product.
    error = Tensor(tensor.structure, product.data - tensor.data).norm()
    norm = tensor.norm()
    require_close(
        norm + error, norm + root(result.discarded_weight), tensor, "truncated_svd misses its discarded weight"
    )
