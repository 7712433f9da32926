r"""Truncated singular value decomposition: the best approximation with a smaller bond, and its exact error.

A singular value s of the coupled sector l is a singular value of the full tensor 2l+1 times. Dropping some of them
costs, in the squared Frobenius norm, the *discarded weight*: the sum of (2l+1) s^2 over those dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor.arrays import namespace, root, to_host
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.debug import debugging, require_close, require_finite, require_isometry
from etn_gpu.tensor.decompose import assemble_svd
from etn_gpu.tensor.permute import adjoint
from etn_gpu.tensor.spectrum import Spectrum
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
    xp = namespace(tensor.data)
    factors = {ir: xp.linalg.svd(matrix, full_matrices=False) for ir, matrix in tensor.blocks.items()}
    values = {ir: to_host(s).astype(np.float64) for ir, (_, s, _) in factors.items()}
    ranks = _ranks(values, max_bond, cutoff)
    discarded = sum((ir.dim * float(s[ranks[ir] :] @ s[ranks[ir] :]) for ir, s in values.items()), 0.0)
    kept = [(u[:, : ranks[ir]], s[: ranks[ir]], v[: ranks[ir]]) for ir, (u, s, v) in factors.items()]
    result = TruncatedSVD(*assemble_svd(tensor, kept, name), discarded)
    if debugging():
        _require_exact_error(tensor, result)
    return result


def _ranks(
    values: Mapping[Irrep, NDArray[np.float64]], max_bond: int | Irreps | str | None, cutoff: float
) -> dict[Irrep, int]:
    """How many singular values, which descend, each sector keeps."""
    largest = max((s[0] for s in values.values()), default=0.0)
    ranks = {ir: int(np.count_nonzero(s > cutoff * largest)) if cutoff > 0 else len(s) for ir, s in values.items()}
    if isinstance(max_bond, (Irreps, str)):
        limits = Irreps(max_bond)
        return {ir: min(rank, limits.count(ir)) for ir, rank in ranks.items()}
    if max_bond is None or sum(ranks.values()) <= max_bond:
        return ranks
    # On the scale of the largest: the square of a value far from 1 may be infinite, or zero.
    weights = np.concatenate([ir.dim * (values[ir][:rank] / (largest or 1.0)) ** 2 for ir, rank in ranks.items()])
    owners = np.repeat(np.arange(len(ranks)), list(ranks.values()))
    chosen = np.argsort(-weights, kind="stable")[:max_bond]
    counts = np.bincount(owners[chosen], minlength=len(ranks))
    return {ir: int(count) for ir, count in zip(ranks, counts, strict=True)}


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
