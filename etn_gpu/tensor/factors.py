r"""QR, singular values and eigenvectors of the matrices of all coupled sectors, stack by stack.

The sectors are divided into batches of similar shape (:mod:`etn_gpu.tensor.batches`), gathered, decomposed by one call
of ``linalg`` per batch and scattered into the buffers of the factors. Padding is exact:

- QR: zero rows and columns below and to the right leave the leading columns of Q and rows of R as they are;
- singular values: those of diag(M, d 1) with d above the norm of M are d, then those of M. This takes matrices with
  equally many rows more than columns; the wide ones of a batch that has tall ones too are transposed;
- eigenvalues: those of diag(M, d 1) are those of M, then d.

What such a call is on a device is up to CuPy. Eigenvalues (``syevjBatched``) and singular values of matrices of up to
32 x 32 (``gesvdjBatched``) are one launch per stack; for QR and larger singular values cuSOLVER has no batched routine,
and CuPy calls the one for a single matrix from a compiled loop.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.symmetry import Irreps
from etn_gpu.tensor.arrays import Array, Constants, join, namespace, on_host, to_device
from etn_gpu.tensor.batches import Batch, Gather, Index, Shape, Stacks, form_batches
from etn_gpu.tensor.cache import PlanCache
from etn_gpu.tensor.structure import Structure, structure


class Calls(NamedTuple):
    """What calls of ``linalg`` cost.

    `cost`, operations of a decomposition in the time of a call; `stacking`, time of a matrix in a stack relative to one
    by itself, which on the host stays in cache; `batched`, the rank above which each singular value decomposition in a
    stack takes a call's time.
    """

    cost: float
    stacking: float
    batched: float

    def weight(self, count: int, flops: float, calls: int = 1) -> float:
        """Time of a stack of `count` matrices, in operations."""
        return calls * self.cost + count * flops * (self.stacking if count > 1 else 1.0)


ON_HOST = Calls(2e4, 1.15, math.inf)
ON_DEVICE = Calls(5e7, 1.0, 32)


class _Factors:
    """What the decompositions share: the bond, the layouts of the two factors, and the input as stacks."""

    def __init__(
        self,
        given: Structure,
        batches: Sequence[Batch],
        shapes: Sequence[tuple[int, int]],
        turned: Container[int] = (),
    ) -> None:
        self.bond = Irreps([(min(block.shape), block.ir) for block in given.blocks]).simplify()
        self.left = structure(given.rows.legs, (self.bond,))
        self.right = structure((self.bond,), given.cols.legs)
        self._matrices = Stacks(batches, shapes)
        pairs = []
        for number, block in enumerate(given.blocks):
            source = block.positions().T if number in turned else block.positions()
            rows, cols = source.shape
            pairs.append((self._matrices.of[number][:rows, :cols], source))
        self._gather = Gather(self._matrices.size, (given.size,), pairs)

    def _stacks(self, data: Array) -> list[Array]:
        return self._matrices.split(self._gather.apply([data], data))

    def _blocks(self) -> list[tuple[Index, Index]]:
        """Positions of the matrices of the left and of the right factor, sector by sector."""
        left, right = self.left.block_of, self.right.block_of
        return [(left[ir].positions(), right[ir].positions()) for _, ir in self.bond]


class QRFactors(_Factors):
    """QR of the matrices of a structure; with `adjoint`, LQ."""

    def __init__(self, given: Structure, adjoint: bool, library: Calls) -> None:
        batches = form_batches(
            [block.shape for block in given.blocks], lambda count, shape: library.weight(count, _qr_flops(shape))
        )
        padded = [(batch.shape[0], batch.shape[1]) for batch in batches]
        super().__init__(given, batches, padded)
        self._adjoint = adjoint
        lefts = Stacks(batches, [(rows, min(rows, cols)) for rows, cols in padded])
        rights = Stacks(batches, [(min(rows, cols), cols) for rows, cols in padded])
        to_left, to_right = [], []
        for number, (left, right) in enumerate(self._blocks()):
            to_left.append((left, lefts.of[number][: left.shape[0], : left.shape[1]]))
            to_right.append((right, rights.of[number][: right.shape[0], : right.shape[1]]))
        self._to_left = Gather(self.left.size, lefts.sizes, to_left)
        self._to_right = Gather(self.right.size, rights.sizes, to_right)
        self.nbytes = self._gather.nbytes + self._to_left.nbytes + self._to_right.nbytes

    def apply(self, data: Array) -> tuple[Array, Array]:
        """The buffers of the left and the right factor."""
        stacks = self._stacks(data)
        if self._adjoint:
            pairs = [(_adjoint(r), _adjoint(q)) for q, r in map(_positive_qr, map(_adjoint, stacks))]
        else:
            pairs = [_positive_qr(stack) for stack in stacks]
        left = self._to_left.apply([left for left, _ in pairs], data)
        return left, self._to_right.apply([right for _, right in pairs], data)


class Components(NamedTuple):
    """The components of a bond one by one: number of the sector, number within it, and 2c+1."""

    sector: Index
    order: Index
    dim: NDArray[np.float64]

    @classmethod
    def of(cls, bond: Irreps) -> Components:
        """The components of `bond`."""
        muls = [mul for mul, _ in bond]
        order = np.concatenate([np.empty(0, np.intp), *map(np.arange, muls)])
        dims = np.array([ir.dim for _, ir in bond], dtype=np.float64)
        return cls(np.repeat(np.arange(len(muls)), muls), order, np.repeat(dims, muls))


class SingularFactors(NamedTuple):
    """U, s and V of the transposed or bordered matrices, batch by batch."""

    u: list[Array]
    s: list[Array]
    v: list[Array]


class SVDFactors(_Factors):
    """Singular value decomposition of the matrices of a structure."""

    def __init__(self, given: Structure, library: Calls) -> None:
        # Borders have to be square, or zero singular values of a matrix would share a space with the rows behind it.
        shapes = [(abs(m - n), -abs(m - n), min(m, n)) for m, n in (block.shape for block in given.blocks)]
        batches = form_batches(shapes, partial(_svd_weight, library))
        wide = {number for number, block in enumerate(given.blocks) if block.shape[0] < block.shape[1]}
        self.turned: set[int] = set()
        padded, ranks = [], [batch.shape[2] for batch in batches]
        for batch in batches:
            excess, _, rank = batch.shape
            padded.append((rank, excess + rank) if wide.issuperset(batch.members) else (excess + rank, rank))
            if not wide.issuperset(batch.members):
                self.turned |= wide.intersection(batch.members)
        super().__init__(given, batches, padded, self.turned)
        self.inverses = Stacks(batches, [(cols, rows) for rows, cols in padded])
        us = Stacks(batches, [(rows, rank) for (rows, _), rank in zip(padded, ranks, strict=True)])
        vs = Stacks(batches, [(rank, cols) for (_, cols), rank in zip(padded, ranks, strict=True)])
        self.spectra = Stacks(batches, [(1, rank) for rank in ranks])
        skipped = {k: batch.shape[2] - shapes[k][2] for batch in batches for k in batch.members}
        oriented = [block.shape[::-1] if k in self.turned else block.shape for k, block in enumerate(given.blocks)]
        self._borders = _Borders(batches, padded, oriented)
        self.components = Components.of(self.bond)
        to_left, to_right, to_values = [], [], []
        end = 0
        for number, (left, right) in enumerate(self._blocks()):
            rows, cols = oriented[number]
            u = us.of[number][:rows, skipped[number] :]
            v = us.size + vs.of[number][skipped[number] :, :cols]
            turned = number in self.turned
            to_left.append((left, v.T if turned else u))
            to_right.append((right, u.T if turned else v))
            to_values.append((np.arange(end, end + left.shape[1]), self.spectra.of[number][0, skipped[number] :]))
            end += left.shape[1]
        self._lefts, self._rights = [source for _, source in to_left], [source for _, source in to_right]
        available = (*us.sizes, *vs.sizes)
        self._to_left = Gather(self.left.size, available, to_left)
        self._to_right = Gather(self.right.size, available, to_right)
        self._to_values = Gather(end, self.spectra.sizes, to_values)
        gathers = (self._gather, self._to_left, self._to_right, self._to_values)
        positions = np.dtype(np.intp).itemsize * (us.size + vs.size)
        self.nbytes = sum(gather.nbytes for gather in gathers) + positions

    def apply(self, data: Array) -> SingularFactors:
        """The decompositions of all stacks."""
        xp = namespace(data)
        triples = [xp.linalg.svd(stack, full_matrices=False) for stack in self._borders.add(self._stacks(data))]
        return SingularFactors(*([triple[k] for triple in triples] for k in range(3)))

    def values(self, factors: SingularFactors, like: Array) -> Array:
        """The singular values, sector by sector, descending in each."""
        return self._to_values.apply(factors.s, like.real)

    def buffers(self, factors: SingularFactors, like: Array) -> tuple[Array, Array]:
        """The buffers of U and V."""
        parts = [*factors.u, *factors.v]
        return self._to_left.apply(parts, like), self._to_right.apply(parts, like)

    def truncated(self, factors: SingularFactors, like: Array, ranks: Sequence[int]) -> tuple[Array, Array]:
        """The buffers of U and V with the first `ranks` components of each sector."""
        if on_host(like):
            u, v = self.buffers(factors, like)
            lefts = [u[block.where].reshape(block.shape) for block in self.left.blocks]
            rights = [v[block.where].reshape(block.shape) for block in self.right.blocks]
            return join(_first_columns(lefts, ranks), like), join(_first_rows(rights, ranks), like)
        source = join([part.reshape(-1) for part in (*factors.u, *factors.v)], like)
        left = np.concatenate(_first_columns(self._lefts, ranks))
        right = np.concatenate(_first_rows(self._rights, ranks))
        return source.take(to_device(left, source)), source.take(to_device(right, source))


class InverseFactors:
    """Pseudo-inverses of the matrices of a structure, by their singular values."""

    def __init__(self, given: Structure, library: Calls) -> None:
        self._svd = svd_factors(given, library)
        self.result = structure(given.cols.legs, given.rows.legs)
        svd = self._svd
        stacks = svd.inverses
        pairs = []
        for number, block in enumerate(given.blocks):
            target = self.result.block_of[block.ir].positions()
            target = target.T if number in svd.turned else target
            pairs.append((target, stacks.of[number][: target.shape[0], : target.shape[1]]))
        self._gather = Gather(self.result.size, stacks.sizes, pairs)
        self.nbytes = self._gather.nbytes

    def apply(self, data: Array, cutoff: float) -> Array:
        """The buffer of the pseudo-inverse: values of at most `cutoff` times the largest count as zero."""
        xp = namespace(data)
        factors = self._svd.apply(data)
        threshold = cutoff * self._svd.values(factors, data).max()
        values = join([s.reshape(-1) for s in factors.s], data.real)
        used = values > threshold
        weights = self._svd.spectra.split(xp.where(used, 1 / xp.where(used, values, 1), 0))
        inverses = [
            xp.matmul(_adjoint(v) * weight, _adjoint(u))
            for u, v, weight in zip(factors.u, factors.v, weights, strict=True)
        ]
        return self._gather.apply(inverses, data)


class EighFactors(_Factors):
    """Eigenvalues and eigenvectors of the square matrices of a structure."""

    def __init__(self, given: Structure, library: Calls) -> None:
        sizes = [block.shape[0] for block in given.blocks]
        batches = form_batches([(n,) for n in sizes], lambda count, shape: library.weight(count, _eigh_flops(shape)))
        padded = [(batch.shape[0], batch.shape[0]) for batch in batches]
        super().__init__(given, batches, padded)
        self._borders = _Borders(batches, padded, [(n, n) for n in sizes])
        values = Stacks(batches, [(1, n) for n, _ in padded])
        to_values, to_vectors = [], []
        end = 0
        for number, (left, _) in enumerate(self._blocks()):
            n = sizes[number]
            to_values.append((np.arange(end, end + n), values.of[number][0, :n]))
            to_vectors.append((left, self._matrices.of[number][:n, :n]))
            end += n
        self._to_values = Gather(end, values.sizes, to_values)
        self._to_vectors = Gather(self.left.size, self._matrices.sizes, to_vectors)
        self.nbytes = self._gather.nbytes + self._to_values.nbytes + self._to_vectors.nbytes

    def apply(self, data: Array) -> tuple[Array, Array]:
        """The eigenvalues, sector by sector, ascending in each, and the buffer of the eigenvectors."""
        xp = namespace(data)
        pairs = [xp.linalg.eigh(stack) for stack in self._borders.add(self._stacks(data))]
        values = self._to_values.apply([values for values, _ in pairs], data.real)
        return values, self._to_vectors.apply([vectors for _, vectors in pairs], data)


class _Borders:
    """A multiple of the identity behind each matrix that is smaller than its batch, above the norm of the matrix."""

    def __init__(
        self, batches: Sequence[Batch], padded: Sequence[tuple[int, int]], shapes: Sequence[tuple[int, int]]
    ) -> None:
        self._needed = []
        ones = []
        for batch, (rows, cols) in zip(batches, padded, strict=True):
            border = np.zeros((len(batch.members), rows, cols))
            for layer, number in zip(border, batch.members, strict=True):
                height, width = shapes[number]
                np.fill_diagonal(layer[height:, width:], 1.0)
            self._needed.append(bool(border.any()))
            if border.any():
                ones.append(border)
        self._ones = Constants(ones)

    def add(self, stacks: list[Array]) -> list[Array]:
        """The matrices with their borders."""
        if not any(self._needed):
            return stacks
        ones = iter(self._ones.beside(stacks[0]))
        return [
            stack + _above_norms(stack) * next(ones) if needed else stack
            for stack, needed in zip(stacks, self._needed, strict=True)
        ]


def _above_norms(stack: Array) -> Array:
    """A number above the norm of each matrix, 1 if it is zero, of shape (matrices, 1, 1). No square overflows."""
    xp = namespace(stack)
    sizes = xp.abs(stack)
    largest = sizes.max(axis=(1, 2), keepdims=True)
    scale = xp.where(largest > 0, largest, 1)
    squares = (sizes / scale) ** 2
    return 1.1 * scale * xp.sqrt(1 + squares.sum(axis=(1, 2), keepdims=True))


def _positive_qr(stack: Array) -> tuple[Array, Array]:
    """QR with diagonals of R that are real and not negative."""
    xp = namespace(stack)
    q, r = xp.linalg.qr(stack)
    diagonal = xp.diagonal(r, axis1=1, axis2=2)
    size = xp.abs(diagonal)
    phase = xp.where(size > 0, diagonal / xp.where(size > 0, size, 1), 1)
    return q * phase[:, None, :], r * phase.conj()[:, :, None]


def _first_columns(matrices: Sequence[Array], ranks: Sequence[int]) -> list[Array]:
    return [matrix[:, :rank].reshape(-1) for matrix, rank in zip(matrices, ranks, strict=True)]


def _first_rows(matrices: Sequence[Array], ranks: Sequence[int]) -> list[Array]:
    return [matrix[:rank].reshape(-1) for matrix, rank in zip(matrices, ranks, strict=True)]


def _adjoint(stack: Array) -> Array:
    return stack.conj().swapaxes(1, 2)


def _qr_flops(shape: Shape) -> float:
    return 4.0 * math.prod(shape) * min(shape)


def _svd_weight(library: Calls, count: int, shape: Shape) -> float:
    most, least, rank = shape
    if most != -least:
        return math.inf
    return library.weight(count, 20.0 * (most + rank) * rank**2, 1 if rank <= library.batched else count)


def _eigh_flops(shape: Shape) -> float:
    return 10.0 * shape[0] ** 3


#: ``qr_factors(structure, adjoint, calls)`` and the others: plans, made once per structure and library.
qr_factors = PlanCache(QRFactors, limit=1 << 26)
svd_factors = PlanCache(SVDFactors, limit=1 << 26)
eigh_factors = PlanCache(EighFactors, limit=1 << 26)
inverse_factors = PlanCache(InverseFactors, limit=1 << 26)


def calls(data: Array) -> Calls:
    """What calls cost where `data` lies."""
    return ON_HOST if on_host(data) else ON_DEVICE
