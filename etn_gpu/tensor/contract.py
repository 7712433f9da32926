r"""Contraction of two tensors: per coupled sector one product of matrices.

With the contracted legs as the columns of the first and the rows of the second tensor, in one order, the isometries of
the trees cancel and M_c = M'_c M''_c. A tensor whose legs lie like that, or the other way round, is used in place (its
matrices transposed); any other is permuted first (:mod:`etn_gpu.tensor.permute`). How the matrices are multiplied is
the matter of :mod:`etn_gpu.tensor.products`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irrep
from etn_gpu.tensor.arrays import Array, namespace, on_host, require_one_namespace
from etn_gpu.tensor.cache import PlanCache
from etn_gpu.tensor.debug import debugging, require_small
from etn_gpu.tensor.legs import describe_leg, require_equal_legs
from etn_gpu.tensor.memory import empty
from etn_gpu.tensor.permute import Axes, plan_permutation
from etn_gpu.tensor.products import Operand, Product, StackedProducts, multiply
from etn_gpu.tensor.structure import MatrixBlock, Structure, structure
from etn_gpu.tensor.tensor import LegIndex, Tensor
from etn_gpu.tensor.weighted import weighted_inner


def contract(
    first: Tensor,
    second: Tensor,
    legs: Iterable[tuple[LegIndex, LegIndex]] | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Sum over pairs of legs (leg of `first`, leg of `second`), given by number or name; nothing is conjugated.

    Without `legs` the legs of equal names are contracted; there has to be one. No pairs, ``legs=()``, give the outer
    product. The remaining legs of `first` become the rows of the result, those of `second` its columns, each in
    order. `out`, a tensor of that structure and precision, receives the numbers of the result and is returned.

    Raises :class:`~etn_gpu.errors.TensorError` if two paired legs differ (naming both and the sectors that differ),
    if a leg is unknown or used twice, if a name is that of several legs, if `out` does not fit, or if the tensors live
    in different libraries.
    """
    require_one_namespace(first.data, second.data)
    axes_first, axes_second = _paired_axes(first, second, legs)
    plan = plan_contraction(first.structure, second.structure, axes_first, axes_second)
    dtype = namespace(first.data).result_type(first.data, second.data)
    if out is None:
        names = tuple(first.names[i] for i in plan.free_first) + tuple(second.names[i] for i in plan.free_second)
        out = Tensor(plan.result, plan.apply(first.data, second.data, dtype), names)
    else:
        _require_fitting(out, plan.result, dtype, (first, second))
        plan.apply(first.data, second.data, dtype, out.data)
    if debugging():
        bound = first.norm() * second.norm()
        require_small(max(out.norm() - bound, 0.0), bound, out, "contract gave more than the product of the norms")
    return out


@dataclass(frozen=True)
class _Operand:
    """How to get at the matrices of an operand: in place, in place and transposed, or permuted to `axes` first."""

    layout: Structure
    transposed: bool = False
    axes: tuple[Structure, Axes, Axes] | None = None

    @classmethod
    def make(cls, given: Structure, rows: Axes, cols: Axes) -> _Operand:
        """The operand as a map from the legs `cols` to the legs `rows`."""
        numbers = tuple(range(given.n_legs))
        lying = numbers[: given.n_rows], numbers[given.n_rows :]
        if lying in ((rows, cols), (cols, rows)):
            return cls(given, transposed=lying != (rows, cols))
        layout = structure(tuple(given.legs[i] for i in rows), tuple(given.legs[i] for i in cols))
        return cls(layout, axes=(given, rows, cols))

    @property
    def moved(self) -> int:
        """Numbers that a permutation has to move."""
        return 0 if self.axes is None else self.layout.size

    def buffer(self, data: Array) -> Array:
        """The buffer in the layout of the operand."""
        return data if self.axes is None else plan_permutation(*self.axes, on_host(data)).apply(data)

    def at(self, ir: Irrep) -> Operand:
        """The matrix of a coupled sector."""
        block = self.layout.block_of[ir]
        return Operand(block.where, block.shape, self.transposed)


@dataclass(frozen=True, eq=False)
class ContractionPlan:
    """A contraction of two structures over given legs, ready to be applied to buffers."""

    result: Structure
    free_first: Axes
    free_second: Axes
    first: _Operand
    second: _Operand
    products: tuple[Product, ...]
    untouched: tuple[MatrixBlock, ...]

    def apply(self, first: Array, second: Array, dtype: Any, out: Array | None = None) -> Array:
        """The buffer of the result: `out`, or a new one of type `dtype`."""
        first, second = self.first.buffer(first), self.second.buffer(second)
        if out is None:
            out = empty(self.result.size, dtype, first)
        if not on_host(out):
            _stacked_products(self).apply(first, second, out)
            return out
        for block in self.untouched:
            out[block.where] = 0.0
        multiply(self.products, first, second, out)
        return out


def _stack_products(plan: ContractionPlan) -> StackedProducts:
    return StackedProducts(plan.products, plan.untouched, (plan.first.layout.size, plan.second.layout.size))


_stacked_products = PlanCache(_stack_products, limit=1 << 28)


@dataclass(frozen=True)
class FullContractionPlan:
    """A contraction over all legs: the weighted inner product, the second operand laid out as the first."""

    result: Structure
    second: _Operand
    free_first: Axes = ()
    free_second: Axes = ()

    def apply(self, first: Array, second: Array, dtype: Any, out: Array | None = None) -> Array:
        """The buffer of the result, one number: `out`, or a new one of type `dtype`."""
        second = self.second.buffer(second)
        if out is None:
            out = empty(1, dtype, first)
        out[0] = weighted_inner(self.second.layout.weighted_parts, first, second)
        return out


@lru_cache(maxsize=4096)
def plan_contraction(
    first: Structure, second: Structure, axes_first: Axes, axes_second: Axes
) -> ContractionPlan | FullContractionPlan:
    """The plan that contracts leg ``axes_first[k]`` of `first` with ``axes_second[k]`` of `second`. Cached.

    The order of the contracted legs is free: the one that moves fewer numbers is taken.
    """
    free_first = tuple(i for i in range(first.n_legs) if i not in axes_first)
    free_second = tuple(i for i in range(second.n_legs) if i not in axes_second)
    by_first = sorted(zip(axes_first, axes_second, strict=True))
    if not free_first and not free_second:
        partners = tuple(b for _, b in by_first)
        operand = _Operand.make(second, partners[: first.n_rows], partners[first.n_rows :])
        if operand.transposed:
            operand = _Operand(first, axes=(second, partners[: first.n_rows], partners[first.n_rows :]))
        return FullContractionPlan(structure((), ()), operand)
    orders = (by_first, sorted(by_first, key=lambda pair: pair[1]))
    operands = [
        (
            _Operand.make(first, free_first, tuple(a for a, _ in pairs)),
            _Operand.make(second, tuple(b for _, b in pairs), free_second),
        )
        for pairs in orders
    ]
    left, right = min(operands, key=lambda pair: pair[0].moved + pair[1].moved)
    result = structure(tuple(first.legs[i] for i in free_first), tuple(second.legs[i] for i in free_second))
    left_blocks, right_blocks = left.layout.block_of, right.layout.block_of
    reached = [block for block in result.blocks if block.ir in left_blocks and block.ir in right_blocks]
    products = tuple(Product(left.at(block.ir), right.at(block.ir), block) for block in reached)
    untouched = tuple(block for block in result.blocks if block not in reached)
    return ContractionPlan(result, free_first, free_second, left, right, products, untouched)


def _paired_axes(first: Tensor, second: Tensor, legs: Iterable[tuple[LegIndex, LegIndex]] | None) -> tuple[Axes, Axes]:
    if legs is None:
        shared = [name for name in first.names if name is not None and name in second.names]
        if not shared:
            raise TensorError(
                f"no leg name is shared by {first.names} and {second.names}; pass legs=[(leg of the first, leg of the "
                "second), ...], or legs=() for an outer product"
            )
        legs = [(name, name) for name in shared]
    pairs = [(first.axis(a), second.axis(b)) for a, b in legs]
    axes_first, axes_second = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    for axes, which, tensor in ((axes_first, "first", first), (axes_second, "second", second)):
        if len(set(axes)) < len(axes):
            repeated = next(i for i in axes if axes.count(i) > 1)
            raise TensorError(
                f"{describe_leg(tensor.legs, tensor.names, repeated)} of the {which} tensor is contracted twice"
            )
    for a, b in pairs:
        if first.legs[a] is not second.legs[b]:
            require_equal_legs(
                first.legs[a],
                second.legs[b],
                f"{describe_leg(first.legs, first.names, a)} of the first tensor",
                f"{describe_leg(second.legs, second.names, b)} of the second",
            )
    return axes_first, axes_second


def _require_fitting(out: Tensor, result: Structure, dtype: Any, operands: tuple[Tensor, Tensor]) -> None:
    if out.structure != result or out.dtype != dtype:
        raise TensorError(f"out is a {out.structure} of {out.dtype.name}, the result is a {result} of {dtype}")
    xp = namespace(out.data)
    if any(xp.may_share_memory(out.data, operand.data) for operand in operands):
        raise TensorError("out shares its buffer with an operand; give it a buffer of its own")
