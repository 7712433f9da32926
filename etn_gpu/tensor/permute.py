r"""Permuting and regrouping legs: one gather, one small batched product, one scatter.

For a fixed choice of sectors on all legs the reduced blocks before and after are related by the recoupling matrix U of
:mod:`etn_gpu.symmetry.fusion_trees`, one and the same for all multiplicity indices. Choices whose U only permutes and
scales, all of them for up to three legs, are one gather times a vector of factors. The others are gathered into
arrays [choice, tree, multiplicities], batched by equal shapes, multiplied by their U [choice, new tree, tree], and
scattered. Index arrays and coefficients are made once per structure and permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TensorError
from etn_gpu.symmetry.fusion_trees import recoupling_matrix
from etn_gpu.tensor.arrays import Array, Constants, namespace
from etn_gpu.tensor.cache import PlanCache
from etn_gpu.tensor.debug import debugging, require_equal_norms
from etn_gpu.tensor.legs import describe_legs
from etn_gpu.tensor.structure import Structure, structure
from etn_gpu.tensor.tensor import LegIndex, Tensor

Axes = tuple[int, ...]
Index = NDArray[np.intp]

# Coefficients are of order one, so what is below this is the rounding of a product of exact zeros.
_ZERO = 1e-12


def permute(tensor: Tensor, rows: Sequence[LegIndex], cols: Sequence[LegIndex] = ()) -> Tensor:
    """The tensor with its legs in the order `rows`, `cols`, of which `rows` become the row legs.

    Legs are given by number or name, each exactly once. The dense array is transposed accordingly; the division into
    rows and columns changes the basis (6j moves), never the tensor.

    Raises :class:`~etn_gpu.errors.TensorError` for legs that are missing, repeated or unknown.
    """
    row_axes, col_axes = tuple(map(tensor.axis, rows)), tuple(map(tensor.axis, cols))
    if sorted(row_axes + col_axes) != list(range(len(tensor.legs))):
        raise TensorError(
            f"permute needs every leg once, got rows {tuple(rows)} and cols {tuple(cols)} for: "
            f"{describe_legs(tensor.legs, tensor.names)}"
        )
    plan = plan_permutation(tensor.structure, row_axes, col_axes)
    result = Tensor(plan.result, plan.apply(tensor.data), tuple(tensor.names[i] for i in row_axes + col_axes))
    if debugging():
        require_equal_norms(tensor, result, "permute")
    return result


def adjoint(tensor: Tensor) -> Tensor:
    """The adjoint map: complex conjugate, columns become rows and rows columns, M_c becomes M_c^H."""
    axes = tuple(range(len(tensor.legs)))
    return permute(tensor.conj(), axes[tensor.n_rows :], axes[: tensor.n_rows])


@dataclass(frozen=True)
class _Batch:
    """Choices of sectors with equally many trees and multiplicities: how many, trees each, multiplicities each."""

    count: int
    trees: int
    width: int

    @property
    def size(self) -> int:
        return self.count * self.trees * self.width


class PermutationPlan:
    """A permutation of the legs of one structure, ready to be applied to buffers."""

    def __init__(
        self,
        result: Structure,
        gather: Index,
        factors: NDArray[np.float64],
        batches: Sequence[_Batch],
        matrices: Sequence[NDArray[np.float64]],
        scatter: Index,
    ) -> None:
        self.result = result
        self._scaled = len(factors)
        self._batches = tuple(batches)
        self._has_factors = bool(np.any(factors != 1.0))
        self._is_identity = not batches and not self._has_factors and np.array_equal(gather, np.arange(result.size))
        self._constants = Constants((gather, factors, scatter, *matrices))
        self.nbytes = self._constants.nbytes

    def apply(self, data: Array) -> Array:
        """The buffer of the permuted tensor; the same array if nothing moves."""
        if self._is_identity:
            return data
        gather, factors, scatter, *matrices = self._constants.beside(data)
        taken = data.take(gather)
        if self._has_factors:
            taken[: self._scaled] *= factors
        if not self._batches:
            return taken
        xp = namespace(data)
        parts = [taken[: self._scaled]]
        start = self._scaled
        for batch, matrix in zip(self._batches, matrices, strict=True):
            blocks = taken[start : start + batch.size].reshape(batch.count, batch.trees, batch.width)
            parts.append(xp.matmul(matrix, blocks).reshape(-1))
            start += batch.size
        return xp.concatenate(parts).take(scatter)


@dataclass
class _Parts:
    """Positions in the old and the new buffer, and the coefficients between them, while a plan is made."""

    old: list[Index] = field(default_factory=list)
    new: list[Index] = field(default_factory=list)
    coefficients: list[NDArray[np.float64]] = field(default_factory=list)


def _make_plan(old: Structure, rows: Axes, cols: Axes) -> PermutationPlan:
    new = structure(tuple(old.legs[i] for i in rows), tuple(old.legs[i] for i in cols))
    axes = rows + cols
    scaled = _Parts()
    batches: dict[tuple[int, int], _Parts] = {}
    for sectors, block in old.sector_blocks.items():
        matrix = recoupling_matrix(block.row_degrees, block.col_degrees, rows, cols)
        trees = len(matrix)
        source = block.index().transpose(0, *(i + 1 for i in axes)).reshape(trees, -1)
        target = new.sector_blocks[tuple(sectors[i] for i in axes)].index().reshape(trees, -1)
        if np.count_nonzero(np.abs(matrix) > _ZERO) == trees:
            partner = np.abs(matrix).argmax(axis=1)
            scaled.old.append(source[partner].reshape(-1))
            scaled.new.append(target.reshape(-1))
            scaled.coefficients.append(np.repeat(matrix[np.arange(trees), partner], target.shape[1]))
        else:
            parts = batches.setdefault(target.shape, _Parts())
            parts.old.append(source.reshape(-1))
            parts.new.append(target.reshape(-1))
            parts.coefficients.append(matrix)
    gather, target = _joined(scaled.old), _joined(scaled.new)
    factors = np.concatenate([np.empty(0), *scaled.coefficients])
    if not batches:
        order = np.argsort(target)
        return PermutationPlan(new, gather[order], _snapped(factors[order]), (), (), np.empty(0, np.intp))
    for parts in batches.values():
        gather, target = _joined([gather, *parts.old]), _joined([target, *parts.new])
    shapes = [_Batch(len(parts.old), *shape) for shape, parts in batches.items()]
    matrices = [np.stack(parts.coefficients) for parts in batches.values()]
    return PermutationPlan(new, gather, _snapped(factors), shapes, matrices, np.argsort(target))


#: ``plan_permutation(structure, rows, cols)``: the plan that makes the legs `rows` the rows and `cols` the columns.
plan_permutation = PlanCache(_make_plan, limit=1 << 28)


def _joined(parts: Sequence[Index]) -> Index:
    return np.concatenate([np.empty(0, np.intp), *parts])


def _snapped(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors within rounding of 1 are 1, so that a permutation without signs and weights is a bare gather."""
    return np.where(np.abs(factors - 1.0) < _ZERO, 1.0, factors)
