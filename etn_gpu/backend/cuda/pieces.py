"""The terms of an atom step as *pieces*: loops over products that are summed in registers and stored once.

A piece says which components of the output it adds to; the pieces of a step may be computed in any order and, where no
two of them share a component, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product

from etn_gpu.backend.cuda.forms import (
    Filling,
    Form,
    Gradient,
    Held,
    Mixing,
    Sum,
    contracting,
    couplings,
    first_coupling,
)
from etn_gpu.backend.cuda.loops import Nest, Numbers, nests
from etn_gpu.backend.cuda.operands import STEP, MixView, Operands, Place, multiplets
from etn_gpu.backend.pointwise import copied
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import Constant, Copy, Couple, Mix
from etn_gpu.plan.program import Step, Term

#: Numbers that a routine accumulates in registers, at most, unless a multiplet is larger.
ACCUMULATORS = 28
#: Numbers of a coupling contracted with an operand that are kept in registers over a loop, at most.
MATRIX = 56
#: Components of a row that are read at once, at most, unless a multiplet is larger.
WIDTH = 15
#: Parts of rows that one piece of a gradient goes through, at most, if that leaves it a weight.
GRADIENT_PARTS = 16
#: Cost of a piece besides its products: reading its task and storing, in instructions.
OVERHEAD = 60.0


@dataclass(frozen=True)
class Patch:
    """Components ``first`` + r * ``pitch`` + m for r < rows, m < width."""

    first: int
    rows: int
    pitch: int
    width: int

    @property
    def components(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(self.first + r * self.pitch + m for r in range(self.rows) for m in range(self.width))

    @property
    def size(self) -> int:
        """How many there are."""
        return self.rows * self.width


@dataclass(frozen=True)
class Piece:
    """A form run over the loops ``nest`` of its arguments, times ``factor``, into the components of ``patch``.

    ``targets`` are what no other piece may write at the same time: components, or gradients.
    """

    form: Form
    factor: float
    places: tuple[Place, ...]
    nest: Nest
    patch: Patch | None
    targets: tuple[int, ...]

    @property
    def cost(self) -> float:
        """Instructions of a warp, about."""
        return OVERHEAD + self.nest.length * self.form.cost

    def halves(self) -> tuple[Piece, Piece]:
        """The same sum as two pieces."""
        first, second = self.nest.halves()
        return replace(self, nest=first), replace(self, nest=second)


@dataclass(frozen=True)
class _Product:
    """One product of a sum: what it is, and the arguments of it."""

    form: Form
    places: tuple[Place, ...]
    numbers: Numbers
    factor: float


def pieces(step: Step, operands: Operands) -> list[Piece]:
    """All pieces of a step."""
    found: list[Piece] = []
    for term in step.terms:
        operation = term.operation
        if isinstance(operation, Couple):
            found += _couple(term, operands)
        elif isinstance(operation, Mix):
            if term.slot == 0:
                found += _weights(step.out.name, term, operation, operands)
            else:
                found += _mix(term, operation, operands)
        elif isinstance(operation, Copy):
            found += _copy(term, operation, operands)
        elif isinstance(operation, Constant):
            factor = term.scale * operation.value
            found += filled(range(operation.offset, operation.offset + operation.count), factor)
        else:
            raise BackendError(f"the cuda backend does not know the operation {operation.name!r} between atom values")
    return found


def filled(components: Iterable[int], value: float) -> list[Piece]:
    """Pieces that add a constant to components, which ascend."""
    found = []
    for first, width in _stretches([(c, 0) for c in components], 0):
        patch = Patch(first[0], 1, width, width)
        found.append(Piece(Filling(width), value, (), Nest((), (1, 1), (), ()), patch, patch.components))
    return found


def copied_components(size: int, source: Place, tile: str) -> list[Piece]:
    """Pieces that copy all components of a value from ``source``, by the pointer ``tile`` if that is not empty."""
    found: list[Piece] = []
    for (first, _), width in _stretches([(c, c) for c in range(size)], 1):
        one = _Product(Sum(Held(width, tile)), (source,), (first,), 1.0)
        found += _joined([one], Patch(first, 1, width, width))
    return found


def _stretches(pairs: list[tuple[int, int]], step: int) -> Iterator[tuple[tuple[int, int], int]]:
    """(first pair, count) of pairs whose first number grows by 1 and whose second one by ``step``."""
    start = 0
    for k in range(1, len(pairs) + 1):
        ends = k == len(pairs) or k - start == WIDTH
        if ends or pairs[k] != (pairs[k - 1][0] + 1, pairs[k - 1][1] + step):
            yield pairs[start], k - start
            start = k


def _copy(term: Term, operation: Copy, operands: Operands) -> list[Piece]:
    found: list[Piece] = []
    for (to, source), width in _stretches(list(copied(operation, term.slot)), 1):
        read = operands.read(term.operands[0], source, width)
        if read is not None:
            products = [_Product(Sum(read.operand), read.places, read.numbers, term.scale * read.factor)]
            found += _joined(products, Patch(to, 1, width, width))
    return found


def _couple(term: Term, operands: Operands) -> list[Piece]:
    operation = term.operation
    assert isinstance(operation, Couple)
    found: list[Piece] = []
    for block in operation.blocks:
        width = 2 * block.ls[term.slot] + 1
        by_output: dict[int, list[_Product]] = {}
        for out, a, b in multiplets(block, term.slot).tolist():
            read = operands.product(term, block, (a, b), 0, width)
            if read is not None:
                one = _Product(Sum(read.operand), read.places, read.numbers, read.factor)
                by_output.setdefault(out, []).append(one)
        for out, products in by_output.items():
            found += _joined(products, Patch(out, 1, width, width))
    return found


def _mix(term: Term, operation: Mix, operands: Operands) -> list[Piece]:
    found: list[Piece] = []
    table, source = term.operands
    for view in (MixView.of(block, term.slot) for block in operation.blocks):
        for m, width in _parts(view.dim, [(source, view.source, view.cols)], operands):
            together = max(1, ACCUMULATORS // width)
            for row in range(0, view.rows, together):
                rows = min(together, view.rows - row)
                products = []
                for k in range(view.cols):
                    read = operands.read(source, view.source + k * view.dim + m, width)
                    if read is None:
                        continue
                    weight = view.weight + row * view.row_step + k * view.col_step
                    form = Mixing(rows, read.operand, operation.species_stride)
                    places = (Place("parameter", table), STEP, *read.places)
                    numbers = (weight, view.row_step, *read.numbers)
                    products.append(_Product(form, places, numbers, term.scale * read.factor))
                found += _joined(products, Patch(view.first + row * view.dim + m, rows, view.dim, width))
    return found


def _parts(dim: int, values: list[tuple[str, int, int]], operands: Operands) -> list[tuple[int, int]]:
    """(first, width) of parts of rows [m < dim] that can be read at once.

    The rows are those of some ``values``: name, first component, how many rows.
    """
    cuts = {0, dim}
    for name, first, rows in values:
        cuts |= {(c - first) % dim for c in operands.cuts(name) if first < c < first + rows * dim}
    ends = sorted(cuts)
    found = []
    for start, stop in pairwise(ends):
        count = -(-(stop - start) // WIDTH)
        limits = [start + (stop - start) * k // count for k in range(count + 1)]
        found += [(a, b - a) for a, b in pairwise(limits)]
    return found


def _weights(name: str, term: Term, operation: Mix, operands: Operands) -> list[Piece]:
    """Gradients of weights: products of z[r, m] and x[k, m], summed over m and over the atoms."""
    found: list[Piece] = []
    x_name, z_name = term.operands
    stride = operation.species_stride
    for block in operation.blocks:
        if 0 in (block.rows, block.cols, block.dim):
            continue
        values = [(x_name, block.source, block.cols), (z_name, block.target, block.rows)]
        parts = _parts(block.dim, values, operands)
        # The rows of z lie side by side where they are held, and read whole.
        whole = len(parts) == 1 and not operands.cuts(z_name)
        together = max(1, ACCUMULATORS // block.dim) if whole else 1
        # Sums over many parts are left to several warps.
        side = block.cols if len(parts) == 1 else max(1, GRADIENT_PARTS // len(parts))
        for row, column in product(range(0, block.rows, together), range(0, block.cols, side)):
            rows = min(together, block.rows - row)
            columns = range(column, min(column + side, block.cols))
            first = block.weight + row * block.row_stride
            products = []
            for k, (m, width) in product(columns, parts):
                x = operands.read(x_name, block.source + k * block.dim + m, width)
                z = operands.read(z_name, block.target + row * block.dim + m, rows * width)
                if x is not None and z is not None:
                    form = Gradient(rows, z.operand, x.operand, stride)
                    places = (Place("gradient", name), STEP, *z.places, *x.places)
                    numbers = (first + k, block.row_stride, *z.numbers, *x.numbers)
                    products.append(_Product(form, places, numbers, term.scale * z.factor * x.factor))
            shifts = range(0, operation.sizes[0], stride) if stride else (0,)
            targets = product(range(rows), columns, shifts)
            written = tuple(first + r * block.row_stride + k + shift for r, k, shift in targets)
            found += _joined(products, None, written)
    return found


def _joined(products: list[_Product], patch: Patch | None, targets: tuple[int, ...] = ()) -> list[Piece]:
    """Products of the same kind as loops."""
    groups: dict[tuple[Form, tuple[Place, ...], float], list[Numbers]] = {}
    for p in products:
        groups.setdefault((p.form, p.places, p.factor), []).append(p.numbers)
    found = []
    for (form, places, factor), rows in groups.items():
        arranged, ordered = _arranged(form, rows)
        for nest in nests(ordered):
            found.append(Piece(arranged, factor, places, nest, patch, targets if patch is None else patch.components))
    return found


def _arranged(form: Form, rows: list[Numbers]) -> tuple[Form, list[Numbers]]:
    """The operand of the couplings that is contracted first, and the order of the products, that cost least."""
    found = first_coupling(form)
    if found is None:
        return form, rows
    coupled, start = found
    middle = start + coupled.a.arguments
    parts = {"a": slice(start, middle), "b": slice(middle, middle + coupled.b.arguments)}
    best = (len(rows) * coupled.products, "pairs", rows)
    for contracted, part in parts.items():
        ordered = sorted(rows, key=lambda r, p=part: (r[p], r))  # type: ignore[misc]
        # The contracted matrix stays as long as the operand does.
        matrices = len({r[part] for r in rows})
        inner = replace(coupled.coupling, contracted=contracted).inner
        if inner * couplings(form) > MATRIX:
            continue
        best = min(best, (matrices * len(coupled.coupling.entries) + len(rows) * inner, contracted, ordered))
    return contracting(form, best[1]), best[2]
