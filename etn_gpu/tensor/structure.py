r"""Where the numbers of a tensor lie: sector structure, degeneracy structure, offsets into one flat buffer.

A tensor over row legs r_1 ... r_p and column legs c_1 ... c_q is, by Wigner-Eckart, one matrix M_c per coupled sector,

.. math:: T = \sum_c \sum_{\tau,\sigma} M_c[(\tau, a), (\sigma, b)]\ \sum_m W_\tau[\dots, m] W_\sigma[\dots, m],

with fusion trees tau over the rows and sigma over the columns (:mod:`etn_gpu.symmetry.fusion_trees`) and multiplicity
indices a = a_1 ... a_p, b = b_1 ... b_q, last fastest. The buffer holds the matrices M_c one after the other,
row-major. Since the W are isometries, the squared norm of T is the sum over c of (2c+1) |M_c|^2, and a product of
tensors is the product of their M_c.

The metadata has two parts, each cached: the trees (:func:`sector_trees`), which depend on the irreps of the legs alone,
and sizes and offsets (:class:`FusedLegs`, :class:`Structure`), which depend on the multiplicities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.symmetry.fusion_trees import Degrees, Spine, coupled_degree, spines

#: Position of the sector on each leg.
Sectors = tuple[int, ...]


@lru_cache(maxsize=4096)
def sector_trees(irreps: tuple[tuple[Irrep, ...], ...]) -> Mapping[Irrep, tuple[tuple[Sectors, Spine], ...]]:
    """All fusion trees over legs with the given irreps, by the irrep to which they couple.

    Coupled irreps of one leg come in the order of the leg, those of several legs in ascending order.
    """
    found: dict[Irrep, list[tuple[Sectors, Spine]]] = {}
    for sectors in itertools.product(*(range(len(leg)) for leg in irreps)):
        chosen = [leg[k] for leg, k in zip(irreps, sectors, strict=True)]
        parity = math.prod(ir.p for ir in chosen)
        for spine in spines(tuple(ir.l for ir in chosen)):
            found.setdefault(Irrep(coupled_degree(spine), parity), []).append((sectors, spine))
    order = found if len(irreps) == 1 else sorted(found)
    return MappingProxyType({ir: tuple(found[ir]) for ir in order})


@dataclass(frozen=True)
class Tree:
    """A fusion tree over some legs: its sectors, its spine, and the multiplicities `shape` found at `offset`."""

    sectors: Sectors
    spine: Spine
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FusedLegs:
    """The direct sum into which a product of legs decomposes: the trees of each coupled irrep, in order."""

    legs: tuple[Irreps, ...]
    trees: Mapping[Irrep, tuple[Tree, ...]]
    leg: Irreps

    @cached_property
    def trees_by_sectors(self) -> Mapping[Sectors, tuple[tuple[Irrep, Tree], ...]]:
        """Trees with the irreps to which they couple, by sectors; those of equal sectors in the order of `spines`."""
        found: dict[Sectors, list[tuple[Irrep, Tree]]] = {}
        for ir, trees in self.trees.items():
            for tree in trees:
                found.setdefault(tree.sectors, []).append((ir, tree))
        return {sectors: tuple(sorted(items, key=lambda item: item[1].spine)) for sectors, items in found.items()}


@lru_cache(maxsize=4096)
def fuse_legs(legs: tuple[Irreps, ...]) -> FusedLegs:
    """Decompose a product of legs. No legs at all decompose into one 0e."""
    trees: dict[Irrep, tuple[Tree, ...]] = {}
    multiplicities = []
    for ir, found in sector_trees(tuple(tuple(block.ir for block in leg) for leg in legs)).items():
        offset = 0
        placed = []
        for sectors, spine in found:
            shape = tuple(leg[k].mul for leg, k in zip(legs, sectors, strict=True))
            placed.append(Tree(sectors, spine, offset, shape))
            offset += math.prod(shape)
        trees[ir] = tuple(placed)
        multiplicities.append((offset, ir))
    return FusedLegs(legs, MappingProxyType(trees), Irreps(multiplicities))


@dataclass(frozen=True)
class MatrixBlock:
    """The matrix M_c of the coupled irrep `ir`: `shape` numbers, row-major, in the part `where` of the buffer."""

    ir: Irrep
    where: slice
    shape: tuple[int, int]

    def positions(self) -> NDArray[np.intp]:
        """Positions of the matrix in the buffer, of its shape."""
        return np.arange(self.where.start, self.where.stop, dtype=np.intp).reshape(self.shape)


@dataclass(frozen=True)
class SectorBlock:
    """All reduced blocks of one choice of sectors, one per tree pair in the order of ``tree_pairs``.

    Pair k starts at ``starts[k]``; a step of the row multiplicities moves by ``widths[k]``, one of the columns by 1.
    """

    row_degrees: Degrees
    col_degrees: Degrees
    row_shape: tuple[int, ...]
    col_shape: tuple[int, ...]
    starts: NDArray[np.intp]
    widths: NDArray[np.intp]

    def index(self) -> NDArray[np.intp]:
        """Positions in the buffer, of shape (pairs, multiplicity of each leg)."""
        rows = np.arange(math.prod(self.row_shape))
        cols = np.arange(math.prod(self.col_shape))
        flat = self.starts[:, None, None] + self.widths[:, None, None] * rows[:, None] + cols
        return flat.reshape(-1, *self.row_shape, *self.col_shape)


class Structure:
    """Layout of a tensor with given row and column legs. Immutable, cached by :func:`structure`, equal by its legs."""

    def __init__(self, rows: FusedLegs, cols: FusedLegs) -> None:
        self.rows = rows
        self.cols = cols
        self.legs = rows.legs + cols.legs
        self.n_rows = len(rows.legs)
        self._hash = hash((rows.legs, cols.legs))
        blocks = []
        start = 0
        for height, ir in rows.leg:
            if width := cols.leg.count(ir):
                blocks.append(MatrixBlock(ir, slice(start, start + height * width), (height, width)))
                start += height * width
        self.blocks = tuple(blocks)
        self.size = start

    @property
    def n_legs(self) -> int:
        """Number of legs, rows and columns."""
        return len(self.legs)

    @property
    def dense_shape(self) -> tuple[int, ...]:
        """Shape of the dense array: the dimension of each leg."""
        return tuple(leg.dim for leg in self.legs)

    @cached_property
    def weighted_parts(self) -> tuple[tuple[int, int], ...]:
        """2c+1 and how many numbers, of each coupled sector in the order of the buffer."""
        return tuple((block.ir.dim, math.prod(block.shape)) for block in self.blocks)

    @cached_property
    def block_of(self) -> Mapping[Irrep, MatrixBlock]:
        """The matrix of each coupled irrep."""
        return {block.ir: block for block in self.blocks}

    @cached_property
    def sector_blocks(self) -> Mapping[Sectors, SectorBlock]:
        """The reduced blocks by the sectors of all legs, of those choices that couple to 0e."""
        found = {}
        for row_sectors, row_trees in self.rows.trees_by_sectors.items():
            for col_sectors, col_trees in self.cols.trees_by_sectors.items():
                places = [self._place(ir, row, col) for ir, row in row_trees for other, col in col_trees if ir == other]
                if places:
                    starts, widths = np.array(places, dtype=np.intp).T
                    found[row_sectors + col_sectors] = SectorBlock(
                        _degrees(self.rows.legs, row_sectors),
                        _degrees(self.cols.legs, col_sectors),
                        row_trees[0][1].shape,
                        col_trees[0][1].shape,
                        starts,
                        widths,
                    )
        return found

    def _place(self, ir: Irrep, row: Tree, col: Tree) -> tuple[int, int]:
        block = self.block_of[ir]
        width = block.shape[1]
        return block.where.start + row.offset * width + col.offset, width

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Structure):
            return NotImplemented
        return self.rows.legs == other.rows.legs and self.cols.legs == other.cols.legs

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        rows, cols = (", ".join(str(leg) or "empty" for leg in side.legs) for side in (self.rows, self.cols))
        return f"({rows} | {cols})"

    def __repr__(self) -> str:
        return f"Structure{self}"


@lru_cache(maxsize=4096)
def structure(rows: tuple[Irreps, ...], cols: tuple[Irreps, ...]) -> Structure:
    """The layout of tensors with these row and column legs."""
    return Structure(fuse_legs(rows), fuse_legs(cols))


def _degrees(legs: tuple[Irreps, ...], sectors: Sectors) -> Degrees:
    return tuple(leg[k].ir.l for leg, k in zip(legs, sectors, strict=True))
