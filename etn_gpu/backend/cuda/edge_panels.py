"""How sums over edges lie in shared memory: as matrices of radial functions times harmonics.

The blocks [species, count, dim] of an :class:`~etn_gpu.plan.operations.EdgeSum`, one for each l, mostly share their
radial functions. Side by side they are one matrix [count, width] for each species of neighbours: a *panel*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, product

import numpy as np

from etn_gpu.plan.operations import EdgeSum, EdgeSumBlock

#: Bytes of one load from shared memory, and of all banks together.
PACK_BYTES, BANK_BYTES = 16, 128


def rounded(count: int, unit: int) -> int:
    """``count``, rounded up to a multiple of ``unit``."""
    return -(-count // unit) * unit


@dataclass(frozen=True)
class Panel:
    """Blocks that share ``count`` rows of f from ``radial`` on; no two of them hold the same component of S."""

    radial: int
    count: int
    blocks: tuple[EdgeSumBlock, ...]

    @cached_property
    def angular(self) -> tuple[int, ...]:
        """The row of y behind each column of the panel."""
        return tuple(b.angular + m for b in self.blocks for m in range(b.dim))

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.angular)

    @property
    def starts(self) -> tuple[int, ...]:
        """First column of each block."""
        return tuple(accumulate((b.dim for b in self.blocks), initial=0))[:-1]

    @cached_property
    def patch(self) -> tuple[int, int]:
        """Rows and columns of the sums that one lane of 32 holds at a time: what takes the fewest instructions."""

        def work(shape: tuple[int, int]) -> float:
            tall, wide = shape
            patches = -(-self.count // tall) * -(-self.width // wide)
            # A pack of four edges: products, loads of f and y (dearer: all warps share one port), and what is around.
            return -(-patches // 32) * (4 * tall * wide + 2 * (tall + wide) + 6)

        return min(product(range(1, 5), range(1, 13)), key=work)

    @property
    def staged(self) -> tuple[int, int]:
        """Rows of f and of y that are staged for the sums: whole patches."""
        tall, wide = self.patch
        return rounded(self.count, tall), rounded(self.width, wide)


def panels(operation: EdgeSum) -> tuple[Panel, ...]:
    """The blocks of ``operation`` as panels."""
    groups: list[list[EdgeSumBlock]] = []
    for block in operation.blocks:
        for group in groups:
            first = group[0]
            shared = (block.radial, block.count) == (first.radial, first.count)
            if shared and not any(_overlap(block, other, operation.n_species) for other in group):
                group.append(block)
                break
        else:
            groups.append([block])
    return tuple(Panel(g[0].radial, g[0].count, tuple(g)) for g in groups)


def covers(operation: EdgeSum) -> bool:
    """Whether every component of S is in exactly one block."""
    spans = sorted((b.target, b.target + operation.n_species * b.count * b.dim) for b in operation.blocks)
    ends = [0, *(stop for _, stop in spans)]
    return [start for start, _ in spans] == ends[:-1] and ends[-1] == operation.sizes[2]


def _overlap(a: EdgeSumBlock, b: EdgeSumBlock, n_species: int) -> bool:
    return a.target < b.target + n_species * b.count * b.dim and b.target < a.target + n_species * a.count * a.dim


@dataclass(frozen=True)
class Storage:
    """Sums S of one atom in shared memory: panel after panel, as [species][count][width].

    Rows begin at whole packs. Those of several species, and those of several atoms, begin in different banks, so that
    lanes which read or write them at once do not wait for each other.
    """

    operation: EdgeSum
    itemsize: int

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """The panels of the operation."""
        return panels(self.operation)

    def row(self, panel: Panel) -> int:
        """Elements from one row of a panel to the next."""
        return rounded(panel.width, PACK_BYTES // self.itemsize)

    def species(self, panel: Panel) -> int:
        """Elements from one species to the next: an odd number of packs."""
        pack = PACK_BYTES // self.itemsize
        packs = panel.count * self.row(panel) // pack
        return (packs | 1) * pack

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First element of each panel, and behind them the number of all elements."""
        sizes = (self.operation.n_species * self.species(panel) for panel in self.panels)
        return tuple(accumulate(sizes, initial=0))

    def stretches(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Stretches of consecutive components of S: the first of each, and the elements at which they lie.

        The stretches of one panel share no component.
        """
        for panel, offset in zip(self.panels, self.offsets, strict=False):
            found: dict[int, int] = {}
            for block, column in zip(panel.blocks, panel.starts, strict=True):
                shape = (self.operation.n_species, block.count, block.dim)
                for number, (c, b, m) in enumerate(np.ndindex(shape)):
                    place = offset + c * self.species(panel) + b * self.row(panel) + column + m
                    found[block.target + number] = place
            ordered = sorted(found)
            cuts = [0, *(k for k in range(1, len(ordered)) if ordered[k] != ordered[k - 1] + 1), len(ordered)]
            for start, stop in pairwise(cuts):
                yield ordered[start], tuple(found[k] for k in ordered[start:stop])

    def pitch(self, slots: int) -> int:
        """Elements from one of ``slots`` atoms to the next."""
        banks = BANK_BYTES // self.itemsize
        return rounded(self.offsets[-1], banks) + banks // slots
