"""Tensors from nothing: zeros, random, identity, or from the matrices of the coupled sectors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep
from etn_gpu.tensor.arrays import Array, join, namespace
from etn_gpu.tensor.debug import require_finite
from etn_gpu.tensor.legs import LegLike, as_legs
from etn_gpu.tensor.structure import Structure, structure
from etn_gpu.tensor.tensor import Names, Tensor


def layout(rows: Iterable[LegLike], cols: Iterable[LegLike]) -> Structure:
    """The structure of tensors with the given row and column legs, each as irreps or their string."""
    return structure(as_legs(rows, "rows"), as_legs(cols, "cols"))


def zeros(
    rows: Iterable[LegLike],
    cols: Iterable[LegLike] = (),
    *,
    names: Names = (),
    dtype: DTypeLike = np.float64,
    xp: Any = np,
) -> Tensor:
    """The zero tensor. Legs that cannot fuse to 0e are allowed: their only equivariant tensor is zero."""
    shape = layout(rows, cols)
    return Tensor(shape, xp.zeros(shape.size, dtype=dtype), names)


def random(
    rows: Iterable[LegLike],
    cols: Iterable[LegLike] = (),
    *,
    rng: np.random.Generator,
    names: Names = (),
    dtype: DTypeLike = np.float64,
    xp: Any = np,
) -> Tensor:
    """A Gaussian random tensor: its components in an orthonormal basis of the equivariant tensors are standard normal.

    The distribution does not depend on the division into rows and columns, and the expected squared norm is the number
    of parameters. Drawn on the host in float64, so that one `rng` gives one tensor everywhere.

    Raises :class:`~etn_gpu.errors.TensorError` if the legs cannot fuse to 0e.
    """
    shape = layout(rows, cols)
    if not shape.blocks:
        raise TensorError(
            f"the legs of {shape} cannot fuse to 0e, so zero is their only equivariant tensor: rows fuse to "
            f"{shape.rows.leg or 'nothing'}, columns to {shape.cols.leg or 'nothing'}, with no irrep in common"
        )
    host = rng.standard_normal(shape.size)
    if np.dtype(dtype).kind == "c":
        host = (host + 1j * rng.standard_normal(shape.size)) * math.sqrt(0.5)
    for block in shape.blocks:
        host[block.where] /= math.sqrt(block.ir.dim)
    return Tensor(shape, xp.asarray(host.astype(dtype)), names)


def identity(legs: Iterable[LegLike], *, names: Names = (), dtype: DTypeLike = np.float64, xp: Any = np) -> Tensor:
    """The identity map on a product of legs: rows `legs`, columns `legs`, every M_c an identity matrix."""
    legs = as_legs(legs, "legs")
    shape = structure(legs, legs)
    host = np.zeros(shape.size, dtype=dtype)
    for block in shape.blocks:
        host[block.where][:: block.shape[1] + 1] = 1.0
    return Tensor(shape, xp.asarray(host), names)


def from_blocks(
    rows: Iterable[LegLike],
    cols: Iterable[LegLike],
    blocks: Mapping[Irrep, Array] | Mapping[str, Array],
    *,
    names: Names = (),
) -> Tensor:
    """The tensor with given matrices M_c; coupled sectors without one are zero.

    The precision is that which holds all of them.

    Raises :class:`~etn_gpu.errors.TensorError` for a sector that does not exist, a matrix that is no array or has a
    wrong shape, numbers that are not finite, or no matrices at all (there would be no precision to take).
    """
    shape = layout(rows, cols)
    given = {Irrep.parse(ir): matrix for ir, matrix in blocks.items()}
    if not given:
        raise TensorError("from_blocks needs at least one matrix; for a tensor without any call zeros")
    for ir, matrix in given.items():
        if not hasattr(matrix, "dtype"):
            raise TensorError(f"the matrix of sector {ir} must be an array, got {matrix!r}; make it one with np.array")
    first = next(iter(given.values()))
    dtype = np.result_type(*(matrix.dtype for matrix in given.values()))
    nothing = namespace(first).zeros(shape.size, dtype=dtype)
    for ir, matrix in given.items():
        if ir not in shape.block_of:
            known = ", ".join(str(block.ir) for block in shape.blocks) or "none"
            raise TensorError(f"{shape} has no coupled sector {ir}; its sectors are: {known}")
        block = shape.block_of[ir]
        if tuple(matrix.shape) != block.shape:
            raise TensorError(
                f"the matrix of sector {ir} of {shape} has shape {block.shape}, got {tuple(matrix.shape)}"
            )
    parts = [given[block.ir].reshape(-1) if block.ir in given else nothing[block.where] for block in shape.blocks]
    data = join(parts, nothing).astype(dtype, copy=False)
    tensor = Tensor(shape, data, names)
    require_finite(tensor)
    return tensor
