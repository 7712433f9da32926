"""The products of a contraction, one per coupled sector: in place on the host, in a few stacks on a device.

On the host a call costs about a microsecond, and moving numbers much. On a device a call costs a launch, and a small
product next to nothing: there matrices of similar size are gathered into stacks, padded with zeros, which add nothing
to a product. Matrices so large that copying them takes longer than a launch are multiplied in place there, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from etn_gpu.plan import Cost
from etn_gpu.tensor.arrays import Array, Constants, namespace
from etn_gpu.tensor.batches import DEVICE, Gather, Index, Shape, Stacks, form_batches
from etn_gpu.tensor.memory import multiply_into
from etn_gpu.tensor.structure import MatrixBlock


class Operand(NamedTuple):
    """The matrix of one coupled sector: `shape` numbers in the part `where` of a buffer, perhaps transposed."""

    where: slice
    shape: tuple[int, int]
    transposed: bool

    def matrix(self, buffer: Array) -> Array:
        """The matrix as a view."""
        matrix = buffer[self.where].reshape(self.shape)
        return matrix.T if self.transposed else matrix

    def positions(self) -> Index:
        """Positions of the matrix in the buffer, of its shape."""
        return self.matrix(np.arange(self.where.stop, dtype=np.intp))


class Product(NamedTuple):
    """target = left right, for the matrices of one coupled sector."""

    left: Operand
    right: Operand
    target: MatrixBlock

    @property
    def shape(self) -> Shape:
        """Rows, summands and columns."""
        rows, cols = self.target.shape
        return rows, self.left.shape[0 if self.left.transposed else 1], cols


def multiply(products: Sequence[Product], first: Array, second: Array, out: Array) -> None:
    """Write products of matrices of `first` and `second` into `out`, one after the other."""
    for left, right, target in products:
        multiply_into(left.matrix(first), right.matrix(second), out[target.where].reshape(target.shape))


class StackedProducts:
    """Products on a device: the large ones in place, the others and the zeros of `untouched` blocks in stacks."""

    def __init__(self, products: Sequence[Product], untouched: Sequence[MatrixBlock], sizes: tuple[int, int]) -> None:
        batches = form_batches([product.shape for product in products], _weight)
        self._alone = [products[batch.members[0]] for batch in batches if len(batch.members) == 1]
        batches = tuple(batch for batch in batches if len(batch.members) > 1)
        self._lefts = Stacks(batches, [(rows, inner) for rows, inner, _ in (batch.shape for batch in batches)])
        self._rights = Stacks(batches, [(inner, cols) for _, inner, cols in (batch.shape for batch in batches)])
        results = Stacks(batches, [(rows, cols) for rows, _, cols in (batch.shape for batch in batches)])

        stacked = {number: products[number] for batch in batches for number in batch.members}
        to_lefts, to_rights = (
            [(_corner(stacks.of[k], index), index) for k, index in sources.items()]
            for stacks, sources in (
                (self._lefts, {k: product.left.positions() for k, product in stacked.items()}),
                (self._rights, {k: product.right.positions() for k, product in stacked.items()}),
            )
        )
        self._gather_lefts = Gather(self._lefts.size, sizes[:1], to_lefts)
        self._gather_rights = Gather(self._rights.size, sizes[1:], to_rights)

        blocks = [*(product.target for product in stacked.values()), *untouched]
        written = np.sort(np.concatenate([np.empty(0, np.intp), *(block.positions().ravel() for block in blocks)]))
        places = {k: np.searchsorted(written, product.target.positions()) for k, product in stacked.items()}
        pairs = [(place, _corner(results.of[k], place)) for k, place in places.items()]
        self._scatter = Gather(len(written), results.sizes, pairs)
        self._written = Constants((written,))
        self.nbytes = self._written.nbytes
        self.nbytes += sum(gather.nbytes for gather in (self._gather_lefts, self._gather_rights, self._scatter))

    def apply(self, first: Array, second: Array, out: Array) -> None:
        """Write all products, and zeros, into `out`."""
        multiply(self._alone, first, second, out)
        if not self._scatter.size:
            return
        xp = namespace(out)
        lefts = self._lefts.split(self._gather_lefts.apply([first], first))
        rights = self._rights.split(self._gather_rights.apply([second], second))
        results = [xp.matmul(left, right) for left, right in zip(lefts, rights, strict=True)]
        if self._alone:
            out[self._written.beside(out)[0]] = self._scatter.apply(results, out)
        else:
            self._scatter.apply(results, out, out=out)


def _weight(count: int, shape: Shape) -> float:
    """Time of a batch on a device; numbers are moved once, and twice more to get into a stack and out of it."""
    rows, inner, cols = shape
    numbers = rows * inner + inner * cols + rows * cols
    copies = 1 if count == 1 else 3
    return Cost(2.0 * count * rows * inner * cols, float(count * copies * numbers), 1).weight(DEVICE)


def _corner(grid: Index, matrix: Index) -> Index:
    rows, cols = matrix.shape
    return grid[:rows, :cols]
