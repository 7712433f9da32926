r"""QR, LQ and singular value decomposition of a tensor as a map from its columns to its rows.

With isometric fusion trees these are the decompositions of one small matrix M_c per coupled sector, and the new leg
between the factors, the *bond*, has the sectors c. Divide the legs with :func:`~etn_gpu.tensor.permute` first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from etn_gpu.symmetry import Irreps
from etn_gpu.tensor.arrays import Array, join, namespace
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.debug import debugging, require_finite, require_isometry, require_small
from etn_gpu.tensor.permute import adjoint
from etn_gpu.tensor.spectrum import Spectrum
from etn_gpu.tensor.structure import structure
from etn_gpu.tensor.tensor import Tensor


class QR(NamedTuple):
    """T = Q R: `q` (rows | bond) is an isometry, `r` (bond | columns) upper triangular in every coupled sector."""

    q: Tensor
    r: Tensor


class LQ(NamedTuple):
    """T = L Q: `l` (rows | bond) is lower triangular in every coupled sector, the adjoint of `q` (bond | columns) an
    isometry."""

    l: Tensor
    q: Tensor


class SVD(NamedTuple):
    """T = U S V: `u` (rows | bond) and the adjoint of `v` (bond | columns) are isometries, `s` the singular values."""

    u: Tensor
    s: Spectrum
    v: Tensor


def qr(tensor: Tensor, *, name: str | None = None) -> QR:
    """QR decomposition with a real diagonal of R that is not negative, hence unique where T has full rank.

    The bond, called `name`, has the smaller of the two multiplicities in every coupled sector. Raises
    :class:`~etn_gpu.errors.TensorError` if numbers are not finite.
    """
    q, r = _factorise(tensor, _positive_qr, name)
    if debugging():
        require_isometry(q, "qr")
        _require_product(q, r, tensor, "qr")
    return QR(q, r)


def lq(tensor: Tensor, *, name: str | None = None) -> LQ:
    """LQ decomposition: the adjoint of :func:`qr` of the adjoint."""
    l, q = _factorise(tensor, _positive_lq, name)
    if debugging():
        require_isometry(adjoint(q), "lq")
        _require_product(l, q, tensor, "lq")
    return LQ(l, q)


def svd(tensor: Tensor, *, name: str | None = None) -> SVD:
    """Singular value decomposition, values descending in every coupled sector c, each of them 2l_c + 1 fold.

    The sum of (2l+1) s^2 is the squared norm. The bond, called `name`, has the smaller of the two multiplicities in
    every coupled sector. Raises :class:`~etn_gpu.errors.TensorError` if numbers are not finite.
    """
    require_finite(tensor)
    xp = namespace(tensor.data)
    factors = [xp.linalg.svd(matrix, full_matrices=False) for matrix in tensor.blocks.values()]
    result = assemble_svd(tensor, factors, name)
    if debugging():
        require_isometry(result.u, "svd")
        require_isometry(adjoint(result.v), "svd")
        _require_product(contract(result.u, result.s.tensor(), [(-1, 0)]), result.v, tensor, "svd")
    return result


def assemble_svd(tensor: Tensor, factors: Sequence[tuple[Array, Array, Array]], name: str | None) -> SVD:
    """The tensors of the matrices U_c, s_c, V_c of the coupled sectors of `tensor`; empty ones are left out."""
    bond = _bond(tensor, [len(s) for _, s, _ in factors])
    u = _left(tensor, bond, [u for u, _, _ in factors], name)
    v = _right(tensor, bond, [v for _, _, v in factors], name)
    return SVD(u, Spectrum(bond, join([s for _, s, _ in factors], tensor.data.real)), v)


def _factorise(
    tensor: Tensor, factorise: Callable[[Array], tuple[Array, Array]], name: str | None
) -> tuple[Tensor, Tensor]:
    require_finite(tensor)
    factors = [factorise(matrix) for matrix in tensor.blocks.values()]
    bond = _bond(tensor, [len(right) for _, right in factors])
    left = _left(tensor, bond, [left for left, _ in factors], name)
    return left, _right(tensor, bond, [right for _, right in factors], name)


def _positive_qr(matrix: Array) -> tuple[Array, Array]:
    xp = namespace(matrix)
    q, r = xp.linalg.qr(matrix)
    diagonal = xp.diagonal(r)
    size = xp.abs(diagonal)
    phase = xp.where(size > 0, diagonal / xp.where(size > 0, size, 1), 1)
    return q * phase, r * phase.conj()[:, None]


def _positive_lq(matrix: Array) -> tuple[Array, Array]:
    q, r = _positive_qr(matrix.conj().T)
    return r.conj().T, q.conj().T


def _bond(tensor: Tensor, ranks: Sequence[int]) -> Irreps:
    pairs = [(rank, block.ir) for rank, block in zip(ranks, tensor.structure.blocks, strict=True)]
    return Irreps(pairs).simplify()


def _left(tensor: Tensor, bond: Irreps, matrices: Sequence[Array], name: str | None) -> Tensor:
    layout = structure(tensor.structure.rows.legs, (bond,))
    data = join([matrix.reshape(-1) for matrix in matrices], tensor.data)
    return Tensor(layout, data, (*tensor.names[: tensor.n_rows], name))


def _right(tensor: Tensor, bond: Irreps, matrices: Sequence[Array], name: str | None) -> Tensor:
    layout = structure((bond,), tensor.structure.cols.legs)
    data = join([matrix.reshape(-1) for matrix in matrices], tensor.data)
    return Tensor(layout, data, (name, *tensor.names[tensor.n_rows :]))


def _require_product(left: Tensor, right: Tensor, tensor: Tensor, operation: str) -> None:
    difference = contract(left, right, [(-1, 0)]).data - tensor.data
    error = Tensor(tensor.structure, difference).norm()
    require_small(error, tensor.norm(), tensor, f"the factors of {operation} do not multiply to the tensor")
