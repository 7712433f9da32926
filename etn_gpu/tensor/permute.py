r"""Permuting and regrouping legs: one gather, one small batched product, one scatter.

For a fixed choice of sectors on all legs the reduced blocks before and after are related by the recoupling matrix U of
:mod:`etn_gpu.symmetry.fusion_trees`, one and the same for all multiplicity indices. Choices whose U only permutes and
scales, all of them for up to three legs, are one gather times a vector of factors. The others are gathered into
arrays [choice, tree, multiplicities], batched by similar shapes (:mod:`etn_gpu.tensor.batches`; padded trees have zero
coefficients), multiplied by their U [choice, new tree, tree], and scattered. Index arrays and coefficients are made
once per structure and permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TensorError
from etn_gpu.plan import Cost, Machine
from etn_gpu.symmetry.fusion_trees import recoupling_matrix
from etn_gpu.tensor.arrays import Array, Constants, namespace, on_host
from etn_gpu.tensor.batches import DEVICE, HOST, Index, Shape, Stacks, form_batches
from etn_gpu.tensor.cache import PlanCache
from etn_gpu.tensor.debug import debugging, require_equal_norms
from etn_gpu.tensor.legs import describe_legs
from etn_gpu.tensor.structure import Structure, structure
from etn_gpu.tensor.tensor import LegIndex, Tensor

Axes = tuple[int, ...]

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
    plan = plan_permutation(tensor.structure, row_axes, col_axes, on_host(tensor.data))
    result = Tensor(plan.result, plan.apply(tensor.data), tuple(tensor.names[i] for i in row_axes + col_axes))
    if debugging():
        require_equal_norms(tensor, result, "permute")
    return result


def adjoint(tensor: Tensor) -> Tensor:
    """The adjoint map: complex conjugate, columns become rows and rows columns, M_c becomes M_c^H."""
    axes = tuple(range(len(tensor.legs)))
    return permute(tensor.conj(), axes[tensor.n_rows :], axes[: tensor.n_rows])


class PermutationPlan:
    """A permutation of the legs of one structure, ready to be applied to buffers."""

    def __init__(
        self,
        result: Structure,
        gather: Index,
        factors: NDArray[np.float64],
        stacks: Stacks,
        matrices: Sequence[NDArray[np.float64]],
        scatter: Index,
    ) -> None:
        self.result = result
        self._scaled = len(factors)
        self._stacks = stacks
        self._has_factors = bool(np.any(factors != 1.0))
        self._is_identity = not stacks.size and not self._has_factors and np.array_equal(gather, np.arange(result.size))
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
        if not matrices:
            return taken
        xp = namespace(data)
        mixed = self._stacks.split(taken[self._scaled :])
        parts = [xp.matmul(matrix, stack).reshape(-1) for matrix, stack in zip(matrices, mixed, strict=True)]
        return xp.concatenate([taken[: self._scaled], *parts]).take(scatter)


class _Choice(NamedTuple):
    """One choice of sectors: positions (trees, multiplicities) before and after, and U or the factors along a row."""

    old: Index
    new: Index
    coefficients: NDArray[np.float64]


def _make_plan(old: Structure, rows: Axes, cols: Axes, host: bool) -> PermutationPlan:
    new = structure(tuple(old.legs[i] for i in rows), tuple(old.legs[i] for i in cols))
    axes = rows + cols
    scaled: list[_Choice] = []
    mixed: list[_Choice] = []
    for sectors, block in old.sector_blocks.items():
        matrix = recoupling_matrix(block.row_degrees, block.col_degrees, rows, cols)
        trees = len(matrix)
        source = block.index().transpose(0, *(i + 1 for i in axes)).reshape(trees, -1)
        target = new.sector_blocks[tuple(sectors[i] for i in axes)].index().reshape(trees, -1)
        if np.count_nonzero(np.abs(matrix) > _ZERO) == trees:
            partner = np.abs(matrix).argmax(axis=1)
            scaled.append(_Choice(source[partner], target, matrix[np.arange(trees), partner]))
        else:
            mixed.append(_Choice(source, target, matrix))
    gather, target = _joined([choice.old for choice in scaled]), _joined([choice.new for choice in scaled])
    factors = np.concatenate([np.empty(0), *(np.repeat(choice.coefficients, choice.new.shape[1]) for choice in scaled)])
    batches = form_batches([choice.old.shape for choice in mixed], partial(_weight, HOST if host else DEVICE))
    stacks = Stacks(batches, [(batch.shape[0], batch.shape[1]) for batch in batches])
    if not batches:
        order = np.argsort(target)
        return PermutationPlan(new, gather[order], _snapped(factors[order]), stacks, (), np.empty(0, np.intp))
    scatter = np.empty(new.size, np.intp)
    scatter[target] = np.arange(len(target))
    gathers, matrices = [gather], []
    for batch in batches:
        matrix = np.zeros((len(batch.members), batch.shape[0], batch.shape[0]))
        for layer, number in zip(matrix, batch.members, strict=True):
            choice = mixed[number]
            trees, width = choice.old.shape
            layer[:trees, :trees] = choice.coefficients
            # Padded with numbers of the choice itself, so that what is not finite stays with it.
            missing = [(0, batch.shape[0] - trees), (0, batch.shape[1] - width)]
            gathers.append(np.pad(choice.old, missing, mode="edge").reshape(-1))
            scatter[choice.new] = len(target) + stacks.of[number][:trees, :width]
        matrices.append(matrix)
    return PermutationPlan(new, np.concatenate(gathers), _snapped(factors), stacks, matrices, scatter)


#: ``plan_permutation(structure, rows, cols, host)``: the plan that makes the legs `rows` the rows and `cols` the
#: columns, for buffers on the host or on a device.
plan_permutation = PlanCache(_make_plan, limit=1 << 28)


def _joined(parts: Sequence[Index]) -> Index:
    return np.concatenate([np.empty(0, np.intp), *(part.reshape(-1) for part in parts)])


def _weight(machine: Machine, count: int, shape: Shape) -> float:
    """Time of a batch: the products U X, and the numbers that go in and out."""
    trees, width = shape
    return Cost(2.0 * count * trees**2 * width, 2.0 * count * trees * width, 1).weight(machine)


def _snapped(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors within rounding of 1 are 1, so that a permutation without signs and weights is a bare gather."""
    return np.where(np.abs(factors - 1.0) < _ZERO, 1.0, factors)
