"""Eigenvalues of Hermitian maps and pseudo-inverses: of one small matrix per coupled sector, in stacks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from etn_gpu.errors import TensorError
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.debug import debugging, relative_tolerance, require_finite, require_isometry, require_small
from etn_gpu.tensor.decompose import left_factor, square_core
from etn_gpu.tensor.factors import calls, eigh_factors, inverse_factors
from etn_gpu.tensor.legs import describe_leg, require_equal_legs
from etn_gpu.tensor.permute import adjoint
from etn_gpu.tensor.spectrum import Spectrum
from etn_gpu.tensor.tensor import Tensor


class Eigh(NamedTuple):
    """T = V diag(values) V^H: `values` ascend in every coupled sector, `vectors` (rows | bond) is an isometry."""

    values: Spectrum
    vectors: Tensor


def eigh(tensor: Tensor, *, tolerance: float | None = None, name: str | None = None) -> Eigh:
    """Eigenvalues and eigenvectors of a Hermitian map: columns equal to the rows, M_c = M_c^H.

    The new leg of the eigenvectors is called `name`. Raises :class:`~etn_gpu.errors.TensorError` if rows and columns
    differ, if numbers are not finite, if `tolerance` is no number >= 0, or if the anti-Hermitian part has a norm above
    `tolerance` (default: the square root of the precision) times that of the tensor.
    """
    _require_square(tensor)
    require_finite(tensor)
    allowed = relative_tolerance(tolerance, tensor.dtype)
    skew = Tensor(tensor.structure, (tensor.data - adjoint(tensor).data) / 2).norm()
    norm = tensor.norm()
    if skew > allowed * norm:
        raise TensorError(
            f"eigh needs a Hermitian tensor: the anti-Hermitian part of {tensor.structure} has the relative norm "
            f"{skew / norm:.2g}, the tolerance is {allowed:.2g}"
        )
    plan = eigh_factors(tensor.structure, calls(tensor.data))
    numbers, data = plan.apply(tensor.data)
    values, vectors = Spectrum(plan.bond, numbers), left_factor(tensor, plan.left, data, name)
    if debugging():
        require_isometry(vectors, "eigh")
        scaled = contract(vectors, values.tensor(), [(-1, 0)])
        product = contract(scaled, adjoint(vectors), [(-1, 0)])
        error = Tensor(tensor.structure, product.data - tensor.data).norm()
        require_small(error - skew, norm, tensor, "the factors of eigh do not multiply to the tensor")
    return Eigh(values, vectors)


def pinv(tensor: Tensor, *, cutoff: float | None = None) -> Tensor:
    """The Moore-Penrose pseudo-inverse, a map from the rows to the columns.

    Singular values of at most `cutoff` times the largest of all sectors count as zero; the default is the precision
    times the larger side of the largest matrix. Raises :class:`~etn_gpu.errors.TensorError` for a `cutoff` outside
    [0, 1) or numbers that are not finite.
    """
    require_finite(tensor)
    if cutoff is None:
        largest_side = max((max(block.shape) for block in tensor.structure.blocks), default=1)
        cutoff = largest_side * float(np.finfo(tensor.dtype).eps)
    if not 0.0 <= cutoff < 1.0:
        raise TensorError(f"cutoff is relative to the largest singular value and lies in [0, 1), got {cutoff!r}")
    left, core, right = square_core(tensor)
    inverse = _pinv(core, cutoff)
    if left is not None:
        inverse = contract(inverse, adjoint(left), [(-1, 0)])
    return inverse if right is None else contract(adjoint(right), inverse, [(-1, 0)])


def _pinv(tensor: Tensor, cutoff: float) -> Tensor:
    plan = inverse_factors(tensor.structure, calls(tensor.data))
    data = plan.apply(tensor.data, cutoff) if tensor.structure.blocks else tensor.data
    return Tensor(plan.result, data, tensor.names[tensor.n_rows :] + tensor.names[: tensor.n_rows])


def _require_square(tensor: Tensor) -> None:
    rows, cols = tensor.structure.rows.legs, tensor.structure.cols.legs
    if len(rows) != len(cols):
        raise TensorError(f"eigh needs as many columns as rows, got the tensor {tensor.structure}")
    for i, (row, col) in enumerate(zip(rows, cols, strict=True)):
        require_equal_legs(
            row,
            col,
            describe_leg(tensor.legs, tensor.names, i),
            describe_leg(tensor.legs, tensor.names, i + len(rows)),
        )
