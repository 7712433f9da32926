r"""QR, LQ and singular value decomposition of a tensor as a map from its columns to its rows.

With isometric fusion trees these are the decompositions of one small matrix M_c per coupled sector, and the new leg
between the factors, the *bond*, has the sectors c. Divide the legs with :func:`~etn_gpu.tensor.permute` first. The
matrices are decomposed in stacks (:mod:`etn_gpu.tensor.factors`).
"""

from __future__ import annotations

from typing import NamedTuple

from etn_gpu.tensor.arrays import Array, on_host
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.debug import debugging, require_finite, require_isometry, require_small
from etn_gpu.tensor.factors import calls, qr_factors, svd_factors
from etn_gpu.tensor.permute import adjoint
from etn_gpu.tensor.spectrum import Spectrum
from etn_gpu.tensor.structure import Structure
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
    require_finite(tensor)
    q, r = _factorise(tensor, False, name)
    if debugging():
        require_isometry(q, "qr")
        _require_product(q, r, tensor, "qr")
    return QR(q, r)


def lq(tensor: Tensor, *, name: str | None = None) -> LQ:
    """LQ decomposition: the adjoint of :func:`qr` of the adjoint."""
    require_finite(tensor)
    l, q = _factorise(tensor, True, name)
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
    parts = square_core(tensor)
    inner = _svd(parts.core, name)
    u, v = parts.expand(inner.u, inner.v)
    result = SVD(u, inner.s, v)
    if debugging():
        require_isometry(result.u, "svd")
        require_isometry(adjoint(result.v), "svd")
        _require_product(contract(result.u, result.s.tensor(), [(-1, 0)]), result.v, tensor, "svd")
    return result


def left_factor(tensor: Tensor, layout: Structure, data: Array, name: str | None) -> Tensor:
    """The tensor (rows of `tensor` | bond) of a buffer."""
    return Tensor(layout, data, (*tensor.names[: tensor.n_rows], name))


def right_factor(tensor: Tensor, layout: Structure, data: Array, name: str | None) -> Tensor:
    """The tensor (bond | columns of `tensor`) of a buffer."""
    return Tensor(layout, data, (name, *tensor.names[tensor.n_rows :]))


class SquareCore(NamedTuple):
    """T = Q L P with square matrices of L and isometries Q and P^H, each None where L has the rows or columns of T."""

    left: Tensor | None
    core: Tensor
    right: Tensor | None

    def expand(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Q u and v P, for factors of L those of T."""
        return (
            u if self.left is None else contract(self.left, u, [(-1, 0)]),
            v if self.right is None else contract(v, self.right, [(-1, 0)]),
        )


def square_core(tensor: Tensor) -> SquareCore:
    """A tensor on a device by square matrices, as far as its own are not; on the host it is left alone.

    Square matrices of any sizes can be in one stack of a singular value decomposition, and those of one bond are
    small and often of one size.
    """
    left, core, right = None, tensor, None
    if not on_host(tensor.data):
        if any(rows > cols for rows, cols in _shapes(core)):
            left, core = _factorise(core, False, None)
        if any(rows < cols for rows, cols in _shapes(core)):
            core, right = _factorise(core, True, None)
    return SquareCore(left, core, right)


def _shapes(tensor: Tensor) -> list[tuple[int, int]]:
    return [block.shape for block in tensor.structure.blocks]


def _svd(tensor: Tensor, name: str | None) -> SVD:
    plan = svd_factors(tensor.structure, calls(tensor.data))
    factors = plan.apply(tensor.data)
    u, v = plan.buffers(factors, tensor.data)
    values = Spectrum(plan.bond, plan.values(factors, tensor.data))
    return SVD(left_factor(tensor, plan.left, u, name), values, right_factor(tensor, plan.right, v, name))


def _factorise(tensor: Tensor, adjoint: bool, name: str | None) -> tuple[Tensor, Tensor]:
    plan = qr_factors(tensor.structure, adjoint, calls(tensor.data))
    left, right = plan.apply(tensor.data)
    return left_factor(tensor, plan.left, left, name), right_factor(tensor, plan.right, right, name)


def _require_product(left: Tensor, right: Tensor, tensor: Tensor, operation: str) -> None:
    difference = contract(left, right, [(-1, 0)]).data - tensor.data
    error = Tensor(tensor.structure, difference).norm()
    require_small(error, tensor.norm(), tensor, f"the factors of {operation} do not multiply to the tensor")
