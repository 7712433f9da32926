"""How far the tables of an operation reach: the components that it addresses in each slot, the species that it knows.

A Program is data that may come from a file, and compiled backends do not check bounds: a table that points outside its
values has to be found when the Program is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etn_gpu.plan.operations import Constant, Copy, Couple, EdgeSum, Fold, Mix, Nearest, Operation, PairTable, Products

#: Slot, first component addressed, last component addressed plus one.
Span = tuple[int, int, int]


def spans(operation: Operation) -> Iterator[Span]:
    """The components that each block of the operation addresses, slot by slot."""
    if isinstance(operation, Couple):
        for c in operation.blocks:
            for s, l in enumerate(c.ls):
                yield _strided(s, c.offsets[s], c.counts, [(2 * l + 1) * k for k in c.strides[s]], 2 * l + 1)
    elif isinstance(operation, Products):
        for s in range(3):
            reached = [row[s] for row in operation.rows]
            yield (s, int(min(reached, default=0)), int(max(reached, default=-1)) + 1)
    elif isinstance(operation, Copy):
        for p in operation.blocks:
            for s in range(2):
                yield _strided(s, p.offsets[s], p.counts, p.strides[s])
    elif isinstance(operation, Fold):
        for s, view in enumerate(operation.views):
            yield _strided(s, view.offset, view.shape, view.strides)
    elif isinstance(operation, Mix):
        for m in operation.blocks:
            yield _strided(0, m.weight, (m.rows, m.cols), (m.row_stride, 1))
            yield (1, m.source, m.source + m.cols * m.dim)
            yield (2, m.target, m.target + m.rows * m.dim)
    elif isinstance(operation, EdgeSum):
        for e in operation.blocks:
            yield (0, e.radial, e.radial + e.count)
            yield (1, e.angular, e.angular + e.dim)
            yield (2, e.target, e.target + operation.n_species * e.count * e.dim)
    elif isinstance(operation, Constant):
        yield (0, operation.offset, operation.offset + operation.count)


def species_count(operation: Operation) -> int | None:
    """Species that the tables of the operation hold, None where it does not look at species."""
    if isinstance(operation, EdgeSum) and not operation.merged:
        return operation.n_species
    if isinstance(operation, PairTable | Nearest):
        return operation.n_species
    if isinstance(operation, Mix) and operation.species_stride:
        end = max((stop for slot, _, stop in spans(operation) if slot == 0), default=0)
        return (operation.sizes[0] - end) // operation.species_stride + 1
    return None


def _strided(slot: int, offset: int, counts: Sequence[int], strides: Sequence[int], width: int = 1) -> Span:
    """A strided block of rows of ``width`` components; an empty one addresses nothing."""
    if min(counts, default=1) <= 0:
        return (slot, 0, 0)
    steps = [(n - 1) * k for n, k in zip(counts, strides, strict=True)]
    return (slot, offset + sum(min(k, 0) for k in steps), offset + sum(max(k, 0) for k in steps) + width)
