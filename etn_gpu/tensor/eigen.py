"""Eigenvalues of Hermitian maps and pseudo-inverses, one small matrix per coupled sector."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor.arrays import Array, join, namespace
from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.debug import debugging, relative_tolerance, require_finite, require_isometry, require_small
from etn_gpu.tensor.legs import describe_leg, require_equal_legs
from etn_gpu.tensor.permute import adjoint
from etn_gpu.tensor.spectrum import Spectrum
from etn_gpu.tensor.structure import structure
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
    xp = namespace(tensor.data)
    pairs = [xp.linalg.eigh(matrix) for matrix in tensor.blocks.values()]
    bond = Irreps((block.shape[0], block.ir) for block in tensor.structure.blocks)
    values = Spectrum(bond, join([values for values, _ in pairs], tensor.data.real))
    data = join([vectors.reshape(-1) for _, vectors in pairs], tensor.data)
    vectors = Tensor(structure(tensor.structure.rows.legs, (bond,)), data, (*tensor.names[: tensor.n_rows], name))
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
    xp = namespace(tensor.data)
    factors = [xp.linalg.svd(matrix, full_matrices=False) for matrix in tensor.blocks.values()]
    largest = max((float(s[0]) for _, s, _ in factors), default=0.0)
    inverses = {
        block.ir: _inverse(u, s, v, cutoff * largest)
        for block, (u, s, v) in zip(tensor.structure.blocks, factors, strict=True)
    }
    result = structure(tensor.structure.cols.legs, tensor.structure.rows.legs)
    data = join([inverses[block.ir].reshape(-1) for block in result.blocks], tensor.data)
    names = tensor.names[tensor.n_rows :] + tensor.names[: tensor.n_rows]
    return Tensor(result, data, names)


def _inverse(u: Array, s: Array, v: Array, threshold: float) -> Array:
    xp = namespace(s)
    used = s > threshold
    inverse = xp.where(used, 1 / xp.where(used, s, 1), 0)
    return (v.conj().T * inverse) @ u.conj().T


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
