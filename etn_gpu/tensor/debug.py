"""Debug mode: inside ``with debug():`` every tensor that is made and every result is checked against its invariants.

Off, it costs one look-up per tensor. The switch is local to the thread (and to an asyncio task).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.errors import TensorError
from etn_gpu.tensor.arrays import is_finite, namespace

if TYPE_CHECKING:
    from etn_gpu.tensor.tensor import Tensor

_DEBUGGING: ContextVar[bool] = ContextVar("etn_gpu_tensor_debug", default=False)

# Rounding errors that operations add up, in units of the precision.
_SLACK = 1e3


@contextmanager
def debug(enabled: bool = True) -> Iterator[None]:
    """Check every invariant inside the block: finite numbers, layout, kept norms, isometries, products that give back.

    Raises :class:`~etn_gpu.errors.TensorError` at the first operation whose result breaks one.
    """
    token = _DEBUGGING.set(enabled)
    try:
        yield
    finally:
        _DEBUGGING.reset(token)


def debugging() -> bool:
    """Whether debug mode is on."""
    return _DEBUGGING.get()


def require_valid(tensor: Tensor) -> None:
    """The layout covers the buffer without gaps, matrices fit the fused legs, and all numbers are finite."""
    layout = tensor.structure
    end = 0
    for block in layout.blocks:
        expected = (layout.rows.leg.count(block.ir), layout.cols.leg.count(block.ir))
        size = expected[0] * expected[1]
        if block.shape != expected or (block.where.start, block.where.stop) != (end, end + size) or size == 0:
            raise TensorError(
                f"block {block.ir} of {layout} has shape {block.shape} at {block.where}, expected {expected} at {end}"
            )
        end += size
    if end != layout.size:
        raise TensorError(f"the blocks of {layout} cover {end} numbers, its size is {layout.size}")
    require_finite(tensor)


def require_finite(tensor: Tensor) -> None:
    """TensorError that names the sectors with numbers that are not finite."""
    if is_finite(tensor.data):
        return
    bad = [str(ir) for ir, matrix in tensor.blocks.items() if not is_finite(matrix)]
    raise TensorError(
        f"the tensor {tensor.structure} has numbers that are not finite in the coupled sectors {', '.join(bad)}"
    )


def relative_tolerance(tolerance: float | None, dtype: np.dtype[Any]) -> float:
    """`tolerance`, by default the square root of the precision. TensorError unless it is a number >= 0."""
    if tolerance is None:
        return float(np.sqrt(np.finfo(dtype).eps))
    if not tolerance >= 0.0:
        raise TensorError(f"tolerance is relative to the norm and must be a number >= 0, got {tolerance!r}")
    return tolerance


def require_equal_norms(before: Tensor, after: Tensor, operation: str) -> None:
    """TensorError unless an operation that only rearranges a tensor has kept its norm."""
    require_close(before.norm(), after.norm(), before, f"{operation} changed the norm")


def require_close(first: float, second: float, of: Tensor, what: str) -> None:
    """TensorError unless two norms agree to rounding."""
    scale = max(abs(first), abs(second))
    if abs(first - second) > _SLACK * np.finfo(of.dtype).eps * scale:
        raise TensorError(f"{what}: {first!r} and {second!r}, tensor {of.structure}")


def require_small(difference: float, scale: float, of: Tensor, what: str) -> None:
    """TensorError unless a norm vanishes to rounding."""
    if difference > _SLACK * np.finfo(of.dtype).eps * scale:
        raise TensorError(f"{what}: deviation {difference!r} at the scale {scale!r}, tensor {of.structure}")


def require_isometry(tensor: Tensor, operation: str) -> None:
    """TensorError unless M_c^H M_c is the identity in every coupled sector: columns to rows is an isometry."""
    xp = namespace(tensor.data)
    for ir, matrix in tensor.blocks.items():
        gram = matrix.conj().T @ matrix
        deviation = float(xp.abs(gram - xp.eye(len(gram), dtype=gram.dtype)).max())
        require_small(deviation, 1.0, tensor, f"{operation} gave a factor that is no isometry in the sector {ir}")
