"""How the terms of an atom stage get at their operands: held in memory, or computed where they are read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.coupling import coefficients
from etn_gpu.backend.cuda.forms import Added, Coupled, Coupling, Held, Mixed, Operand
from etn_gpu.backend.cuda.loops import Numbers
from etn_gpu.plan.operations import Couple, CoupleBlock, Mix, MixBlock
from etn_gpu.plan.program import Step, Term
from etn_gpu.symmetry import clebsch_gordan


@dataclass(frozen=True)
class Place:
    """What an integer argument of a task counts, and from where: numbers of the value ``name``.

    ``kind`` is 'row' (components of a value in the rows of the stage), 'tile' (components of a value in device memory),
    'component' (a distance between components), 'parameter', 'gradient', 'step' (a distance between either of these) or
    'factor' (an index of :class:`Factors`).
    """

    kind: str
    name: str = ""


STEP, COMPONENT, FACTOR = Place("step"), Place("component"), Place("factor")


@dataclass(frozen=True)
class Read:
    """An operand times ``factor``, with the places and values of its arguments in the order of its text."""

    operand: Operand
    places: tuple[Place, ...]
    numbers: Numbers
    factor: float = 1.0


@dataclass(frozen=True)
class MixView:
    """A block of a :class:`Mix` as seen from its output: rows [m] from ``cols`` rows of the operand.

    The weight of (row, column) is ``weight + row * row_step + col * col_step``.
    """

    first: int
    rows: int
    row_step: int
    source: int
    cols: int
    col_step: int
    weight: int
    dim: int

    @staticmethod
    def of(block: MixBlock, slot: int) -> MixView:
        """The view for output slot 1 (x) or 2 (z)."""
        b = block
        if slot == 2:
            return MixView(b.target, b.rows, b.row_stride, b.source, b.cols, 1, b.weight, b.dim)
        return MixView(b.source, b.cols, 1, b.target, b.rows, b.row_stride, b.weight, b.dim)

    @property
    def size(self) -> int:
        """Components of the output."""
        return self.rows * self.dim


@dataclass(frozen=True)
class Multiplet:
    """Components ``first`` .. of a coupled value that a term computes from one multiplet of each operand."""

    first: int
    width: int
    block: CoupleBlock
    offsets: tuple[int, int]


def multiplets(block: CoupleBlock, slot: int) -> NDArray[np.int64]:
    """First components [n, 3] of output and operands of all products of multiplets in a block."""
    index = np.indices(block.counts).reshape(3, -1)
    order = (slot, *(s for s in range(3) if s != slot))
    columns = [block.offsets[s] + (2 * block.ls[s] + 1) * (np.array(block.strides[s]) @ index) for s in order]
    return np.stack(columns, axis=1).astype(np.int64)


def all_multiplets(term: Term) -> list[Multiplet]:
    """The products of a coupling that is computed where it is read, by first component."""
    assert isinstance(term.operation, Couple)
    found = [
        Multiplet(out, 2 * block.ls[term.slot] + 1, block, (a, b))
        for block in term.operation.blocks
        for out, a, b in multiplets(block, term.slot).tolist()
    ]
    return sorted(found, key=lambda m: m.first)


@lru_cache(maxsize=4096)
def coupling(ls: tuple[int, int, int], slot: int, first: int, width: int) -> tuple[Coupling, Coupling, float]:
    """Coefficients of output components first .. first+width-1 over a number, with operands swapped, and that number.

    There is one invariant of three irreps, up to a factor. So all couplings of the same irreps take their coefficients
    from one table, and share functions whatever their slots are.
    """
    table = coefficients(ls, slot)
    of_axes = [ls[slot], *(l for s, l in enumerate(ls) if s != slot)]
    order = sorted(range(3), key=lambda axis: of_axes[axis])
    invariant = np.transpose(clebsch_gordan(*(of_axes[axis] for axis in order)), np.argsort(order))
    largest = np.unravel_index(np.argmax(np.abs(invariant)), invariant.shape)
    chosen = invariant[first : first + width]
    entries = [(int(o), int(a), int(b), float(chosen[o, a, b])) for o, a, b in np.argwhere(chosen)]
    if not entries:
        return Coupling(()), Coupling(()), 1.0
    unit = entries[0][3]
    straight = Coupling(tuple((o, a, b, c / unit) for o, a, b, c in entries))
    swapped = Coupling(tuple(sorted((o, b, a, c) for o, a, b, c in straight.entries)))
    return straight, swapped, float(table[largest] / invariant[largest]) * unit


@dataclass
class Factors:
    """Numbers of a stage that tasks name by their index."""

    values: list[float] = field(default_factory=list)

    def index(self, value: float) -> int:
        """Index of ``value``, which is added if it is new."""
        if value not in self.values:
            self.values.append(value)
        return self.values.index(value)


class Operands:
    """Reads components of values: of those in ``inlined`` by computing them, of those in ``tiles`` from tiles.

    ``tiles`` gives the name of the pointer; all other values lie in rows.
    """

    def __init__(self, inlined: Mapping[str, Step], tiles: Mapping[str, str], factors: Factors) -> None:
        self._tiles = tiles
        self._inlined = inlined
        self._factors = factors
        self._multiplets: dict[Term, tuple[list[int], list[Multiplet]]] = {}

    def cuts(self, name: str) -> set[int]:
        """Components of an inlined value before which a read must end; none for the others."""
        found: set[int] = set()
        for term in self._inlined[name].terms if name in self._inlined else ():
            found |= term_cuts(term)
        return found

    def read(self, name: str, first: int, width: int) -> Read | None:
        """Components first .. first + width - 1 of a value; None where they are all zero."""
        if name not in self._inlined:
            return self._held(name, first, width)
        parts = [p for term in self._inlined[name].terms if (p := self._computed(term, first, width))]
        if len(parts) < 2:
            return parts[0] if parts else None
        operands: list[Operand] = []
        places: list[Place] = []
        numbers: list[int] = []
        for part in parts:
            operands.append(part.operand)
            if len(operands) > 1:
                places.append(FACTOR)
                numbers.append(self._factors.index(part.factor / parts[0].factor))
            places += part.places
            numbers += part.numbers
        return Read(Added(width, tuple(operands)), tuple(places), tuple(numbers), parts[0].factor)

    def _held(self, name: str, first: int, width: int) -> Read:
        tile = self._tiles.get(name, "")
        return Read(Held(width, tile), (Place("tile" if tile else "row", name),), (first,))

    def _computed(self, term: Term, first: int, width: int) -> Read | None:
        if isinstance(term.operation, Couple):
            return self._coupled(term, first, width)
        return self._mixed(term, first, width)

    def _coupled(self, term: Term, first: int, width: int) -> Read | None:
        if term not in self._multiplets:
            found = all_multiplets(term)
            self._multiplets[term] = [m.first for m in found], found
        starts, found = self._multiplets[term]
        at = bisect_right(starts, first) - 1
        if at < 0 or first >= found[at].first + found[at].width:
            return None
        m = found[at]
        return self.product(term, m.block, m.offsets, first - m.first, width)

    def product(
        self, term: Term, block: CoupleBlock, offsets: tuple[int, int], first: int, width: int
    ) -> Read | None:  # fmt: skip
        """Components of the product of two multiplets, whose first components are ``offsets``."""
        dims = [2 * block.ls[s] + 1 for s in range(3) if s != term.slot]
        a, b = (self.read(n, o, d) for n, o, d in zip(term.operands, offsets, dims, strict=True))
        straight, swapped, factor = coupling(block.ls, term.slot, first, width)
        if a is None or b is None or not straight.entries:
            return None
        if (b.operand.width, str(b.operand)) > (a.operand.width, str(a.operand)):
            a, b, straight = b, a, swapped
        total = term.scale * block.coefficient * factor * a.factor * b.factor
        operand = Coupled(width, straight, a.operand, b.operand)
        return Read(operand, a.places + b.places, a.numbers + b.numbers, total)

    def _mixed(self, term: Term, first: int, width: int) -> Read | None:
        operation = term.operation
        assert isinstance(operation, Mix)
        for view in (MixView.of(block, term.slot) for block in operation.blocks):
            if not view.first <= first < view.first + view.size:
                continue
            row, m = divmod(first - view.first, view.dim)
            source = self._held(term.operands[1], view.source + m, width)
            assert isinstance(source.operand, Held)
            operand = Mixed(width, view.cols, operation.species_stride, source.operand.tile)
            places = (Place("parameter", term.operands[0]), STEP, *source.places, COMPONENT)
            numbers = (view.weight + row * view.row_step, view.col_step, *source.numbers, view.dim)
            return Read(operand, places, numbers, term.scale)
        return None


def term_cuts(term: Term) -> set[int]:
    """First and last ends of what a term computes as one piece, a multiplet or a row."""
    return {end for first, stop in _pieces(term) for end in (first, stop)}


def _pieces(term: Term) -> Iterator[tuple[int, int]]:
    if isinstance(term.operation, Couple):
        for m in all_multiplets(term):
            yield m.first, m.first + m.width
    elif isinstance(term.operation, Mix):
        for view in (MixView.of(block, term.slot) for block in term.operation.blocks):
            for row in range(view.rows):
                yield view.first + row * view.dim, view.first + (row + 1) * view.dim
