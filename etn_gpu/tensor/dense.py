r"""From and to dense arrays: the change of basis between components and reduced blocks.

For a choice of sectors the dense block [a_1 m_1, ..., a_N m_N] is the sum over tree pairs of X[pair, a] I[pair, m] with
the invariant tensors I = sum over m of W W' of :mod:`etn_gpu.symmetry.fusion_trees`, orthogonal with squared norm 2c+1.
Done on the host, choice by choice: this is for input, output and tests, not for hot loops.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.errors import TensorError
from etn_gpu.symmetry.fusion_trees import Degrees, tree_pairs, tree_tensor
from etn_gpu.tensor.arrays import to_host
from etn_gpu.tensor.create import layout
from etn_gpu.tensor.debug import relative_tolerance
from etn_gpu.tensor.legs import LegLike
from etn_gpu.tensor.structure import SectorBlock, Sectors, Structure
from etn_gpu.tensor.tensor import Names, Tensor


def to_dense(tensor: Tensor) -> NDArray[Any]:
    """All components as a NumPy array of shape (dimension of each leg); a leg is laid out as its irreps say."""
    data = to_host(tensor.data)
    dense = np.zeros(tensor.structure.dense_shape, dtype=tensor.dtype)
    for sectors, block in tensor.structure.sector_blocks.items():
        invariants, _ = _invariants(block.row_degrees, block.col_degrees)
        values = np.tensordot(data[block.index()], invariants.astype(data.real.dtype, copy=False), axes=(0, 0))
        order = [axis for i in range(len(sectors)) for axis in (i, i + len(sectors))]
        where = _where(tensor.structure, sectors)
        dense[where] = values.transpose(order).reshape(dense[where].shape)
    return dense


def from_dense(
    dense: ArrayLike,
    rows: Iterable[LegLike],
    cols: Iterable[LegLike] = (),
    *,
    names: Names = (),
    tolerance: float | None = None,
) -> Tensor:
    """The tensor whose components are `dense`, an array of shape (dimension of each leg, rows first).

    Raises :class:`~etn_gpu.errors.TensorError` for a wrong shape, numbers that are not finite, a `tolerance` that is no
    number >= 0, or an array that is not equivariant: the norm of the part outside the equivariant tensors may be at
    most `tolerance` (default: the square root of the precision) times the norm of the array.
    """
    shape = layout(rows, cols)
    array = np.asarray(dense)
    if array.dtype.kind in "biu":
        array = array.astype(np.float64)
    if array.dtype not in (np.float32, np.float64, np.complex64, np.complex128):
        raise TensorError(f"from_dense takes an array of real or complex numbers, got {array.dtype}")
    if array.shape != shape.dense_shape:
        raise TensorError(f"the legs of {shape} have the dimensions {shape.dense_shape}, got an array {array.shape}")
    if not np.isfinite(array).all():
        raise TensorError(f"the dense array has {np.count_nonzero(~np.isfinite(array))} numbers that are not finite")
    allowed = relative_tolerance(tolerance, array.dtype)
    data = np.zeros(shape.size, dtype=array.dtype)
    for sectors, block in shape.sector_blocks.items():
        data[block.index()] = _project(array[_where(shape, sectors)], block)
    tensor = Tensor(shape, data, names)
    # The squares of numbers far from 1 are infinite, or zero.
    scale = max(float(np.abs(array).max(initial=0.0)), float(np.finfo(array.dtype).tiny))
    norm, residual = (float(np.linalg.norm(part / scale)) for part in (array, array - to_dense(tensor)))
    if residual > allowed * norm:
        raise TensorError(
            f"the dense array is not equivariant: on the legs {shape} a part of relative norm {residual / norm:.2g} "
            f"lies outside the equivariant tensors, the tolerance is {allowed:.2g}. Check the irreps, their order and "
            "the order of components (see etn_gpu.symmetry)"
        )
    return tensor


def _project(values: NDArray[Any], block: SectorBlock) -> NDArray[Any]:
    """Reduced blocks (pairs, multiplicities) of the dense block of one choice of sectors."""
    invariants, squared_norms = _invariants(block.row_degrees, block.col_degrees)
    shape = block.row_shape + block.col_shape
    degrees = block.row_degrees + block.col_degrees
    n = len(shape)
    split = values.reshape([size for mul, l in zip(shape, degrees, strict=True) for size in (mul, 2 * l + 1)])
    axes = (tuple(range(1, n + 1)), tuple(range(1, 2 * n, 2)))
    weights = (1.0 / squared_norms).reshape(-1, *(1,) * n)
    return weights * np.tensordot(invariants, split, axes=axes)


@lru_cache(maxsize=4096)
def _invariants(rows: Degrees, cols: Degrees) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The invariant tensors (pairs, 2 l + 1 of each leg) of all tree pairs and their squared norms 2c + 1."""
    tensors, norms = [], []
    for left, right in tree_pairs(rows, cols):
        first, second = tree_tensor(rows, left), tree_tensor(cols, right)
        tensors.append(np.tensordot(first, second, axes=(-1, -1)))
        norms.append(float(first.shape[-1]))
    return np.stack(tensors), np.array(norms)


def _where(shape: Structure, sectors: Sectors) -> tuple[slice, ...]:
    return tuple(leg.slices()[k] for leg, k in zip(shape.legs, sectors, strict=True))
