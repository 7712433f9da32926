"""Fusing several legs into one and splitting it again.

A coupled sector of some legs, with its trees and multiplicities as one index, is a sector of the fused leg. So once the
legs to be fused are the rows, fusing changes the labels and no number, and splitting is its exact inverse.
"""

from __future__ import annotations

from collections.abc import Sequence

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor.legs import LegLike, as_legs, describe_leg, require_equal_legs
from etn_gpu.tensor.permute import permute
from etn_gpu.tensor.structure import fuse_legs, structure
from etn_gpu.tensor.tensor import LegIndex, Names, Tensor


def fused_leg(legs: Sequence[LegLike]) -> Irreps:
    """The leg that holds the product of `legs`: coupled irreps ascending (those of a single leg in its order)."""
    return fuse_legs(as_legs(legs, "legs")).leg


def fuse(tensor: Tensor, legs: Sequence[LegIndex], *, name: str | None = None) -> Tensor:
    """Fuse `legs`, given by number or name, into one leg called `name`.

    The fused leg becomes the only row of the result; the other legs, in their order, its columns. The norm is kept.

    Raises :class:`~etn_gpu.errors.TensorError` for no legs, or legs that are unknown or repeated.
    """
    rows = [tensor.axis(leg) for leg in legs]
    if not rows:
        raise TensorError("fuse needs at least one leg; to add a leg 1x0e use split with legs (leg, '1x0e')")
    cols = [i for i in range(len(tensor.legs)) if i not in rows]
    grouped = permute(tensor, rows, cols)
    result = structure((grouped.structure.rows.leg,), grouped.structure.cols.legs)
    return Tensor(result, grouped.data, (name, *grouped.names[len(rows) :]))


def split(tensor: Tensor, leg: LegIndex, legs: Sequence[LegLike], *, names: Names = ()) -> Tensor:
    """Split `leg` into `legs`, whose product it has to be: the inverse of :func:`fuse`.

    The new legs become the rows of the result, the other legs, in their order, its columns.

    Raises :class:`~etn_gpu.errors.TensorError` if the product of `legs` is not the leg (naming the sectors that
    differ), or if `names` are not as many as `legs`.
    """
    axis = tensor.axis(leg)
    parts = fuse_legs(as_legs(legs, "legs"))
    require_equal_legs(
        tensor.legs[axis],
        parts.leg,
        describe_leg(tensor.legs, tensor.names, axis),
        f"the product of ({', '.join(map(str, parts.legs))})",
    )
    if names and len(names) != len(parts.legs):
        raise TensorError(f"got the names {names} for {len(parts.legs)} new legs; give one name, or None, each")
    grouped = permute(tensor, [axis], [i for i in range(len(tensor.legs)) if i != axis])
    new_names = names or (None,) * len(parts.legs)
    return Tensor(structure(parts.legs, grouped.structure.cols.legs), grouped.data, new_names + grouped.names[1:])
