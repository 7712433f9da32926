"""Instructions: one term of a Program becomes a few rows of integers that the interpreter executes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etn_gpu.backend.cpu.rows import Rows
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import Constant, Copy, Couple, CoupleBlock, EdgeSum, Harmonics, Mix, Radial
from etn_gpu.plan.program import Term, Value
from etn_gpu.symmetry import clebsch_gordan, stretch_factor

(
    ZERO,
    COUPLE,
    MIX,
    MIX_WEIGHTS,
    EDGE_SUM,
    EDGE_SPREAD,
    RADIAL,
    ADD,
    CONSTANT,
    LOAD_EDGE,
    STORE_EDGE,
    LOAD_ATOM,
    STORE_ATOM,
) = range(13)
COLUMNS = 20
ON_EDGES, ON_ATOMS = 1, 0
MAX_RADIAL_ORDER = 2


class Emitter:
    """Collects instructions, scales and Clebsch-Gordan tables."""

    def __init__(self, parameters: dict[str, tuple[int, int]], gradients: dict[str, tuple[int, int]]) -> None:
        self.code: list[list[int]] = []
        self.scales: list[float] = []
        self.constants: list[float] = []
        self.groups: list[tuple[int, int, int]] = []
        self.entries: list[tuple[int, int]] = []
        self.values: list[float] = []
        self.atoms, self.edges = Rows(), Rows()
        self._tables: dict[tuple[int, int, int, int], tuple[int, int]] = {}
        self._parameters, self._gradients = parameters, gradients

    def add(self, opcode: int, scale: float, *fields: int) -> None:
        """Append one instruction."""
        self.code.append([opcode, *fields] + [0] * (COLUMNS - 1 - len(fields)))
        self.scales.append(scale)

    def zero(self, rows: Rows, value: Value) -> None:
        """Allocate ``value`` and zero it."""
        self.add(ZERO, 0.0, self._space(rows), rows.allocate(value.name, value.size), value.size)

    def term(self, term: Term, out: Value) -> None:
        """Add ``term`` to the rows (or gradients) of ``out``."""
        names = list(term.operands)
        names.insert(term.slot, out.name)
        operation = term.operation
        emit: dict[type, Callable[[Term, list[str]], None]] = {
            Couple: self._couple,
            Mix: self._mix,
            EdgeSum: self._edge_sum,
            Radial: self._radial,
            Harmonics: self._harmonics,
            Constant: self._constant,
            Copy: self._copy,
        }
        if type(operation) not in emit:
            raise BackendError(
                f"the numba backend does not know the operation {operation.name!r} on {out.space} values"
            )
        emit[type(operation)](term, names)

    def _space(self, rows: Rows) -> int:
        return ON_EDGES if rows is self.edges else ON_ATOMS

    def _find(self, name: str) -> tuple[int, int]:
        """(space, first row) of a batched value."""
        rows = self.atoms if name in self.atoms.at else self.edges
        return self._space(rows), rows.at[name]

    def _couple(self, term: Term, names: list[str]) -> None:
        assert isinstance(term.operation, Couple)
        for block in term.operation.blocks:
            self._couple_block(block, term.slot, names, term.scale)

    def _couple_block(self, block: CoupleBlock, slot: int, names: list[str], scale: float) -> None:
        first, last = self._coefficients(block.ls, slot)
        order = (slot, *(s for s in range(3) if s != slot))
        space = self._find(names[slot])[0]
        rows = [self._find(names[s])[1] + block.offsets[s] for s in order]
        strides = [k * (2 * block.ls[s] + 1) for s in order for k in block.strides[s]]
        self.add(COUPLE, scale * block.coefficient, space, *rows, *block.counts, *strides, first, last)

    def _coefficients(self, ls: tuple[int, int, int], slot: int) -> tuple[int, int]:
        """Range of groups of the coefficients with output ``slot``; a group is the entries of one output component."""
        key = (*ls, slot)
        if key not in self._tables:
            table = np.transpose(clebsch_gordan(*ls), (slot, *(s for s in range(3) if s != slot)))
            start = len(self.groups)
            for component, matrix in enumerate(table):
                first = len(self.entries)
                for a, b in zip(*np.nonzero(matrix), strict=True):
                    self.entries.append((int(a), int(b)))
                    self.values.append(float(matrix[a, b]))
                self.groups.append((component, first, len(self.entries)))
            self._tables[key] = (start, len(self.groups))
        return self._tables[key]

    def _mix(self, term: Term, names: list[str]) -> None:
        operation = term.operation
        assert isinstance(operation, Mix)
        stride = operation.species_stride
        for b in operation.blocks:
            if term.slot == 0:
                source, target = (self._find(names[s])[1] + k for s, k in ((1, b.source), (2, b.target)))
                scratch = self._scratch(b.rows * b.dim) if stride else 0
                at = self._gradients[names[0]][0] + b.weight
                self.add(
                    MIX_WEIGHTS, term.scale, target, b.rows, source, b.cols, b.dim, at, b.row_stride, stride, scratch
                )
                continue
            at = self._parameters[names[0]][0] + b.weight
            source, target = (self._find(names[s])[1] + k for s, k in ((1, b.source), (2, b.target)))
            if term.slot == 2:
                shape = (target, b.rows, source, b.cols, b.dim, at, b.row_stride, 1)
                scratch = self._scratch(b.cols * b.dim) if stride else 0
            else:
                shape = (source, b.cols, target, b.rows, b.dim, at, 1, b.row_stride)
                scratch = self._scratch(b.rows * b.dim) if stride else 0
            self.add(MIX, term.scale, *shape, stride, scratch)

    def _scratch(self, size: int) -> int:
        row = self.atoms.allocate("scratch", size)
        self.atoms.release("scratch", size)
        return row

    def _edge_sum(self, term: Term, names: list[str]) -> None:
        operation = term.operation
        assert isinstance(operation, EdgeSum)
        f, y, total = (self._find(name)[1] for name in names)
        for b in operation.blocks:
            rows = (total + b.target, f + b.radial, y + b.angular)
            if term.slot == 2:
                self.add(EDGE_SUM, term.scale, rows[0], rows[1], b.count, rows[2], b.dim)
            elif term.slot == 0:
                self.add(EDGE_SPREAD, term.scale, rows[0], rows[1], b.count, b.dim, rows[2], b.dim, 1, b.count * b.dim)
            else:
                self.add(EDGE_SPREAD, term.scale, rows[0], rows[2], b.dim, 1, rows[1], b.count, b.dim, b.count * b.dim)

    def _radial(self, term: Term, names: list[str]) -> None:
        operation = term.operation
        assert isinstance(operation, Radial)
        if operation.order > MAX_RADIAL_ORDER:
            raise BackendError(
                f"the numba backend has radial derivatives up to order {MAX_RADIAL_ORDER}, this Program needs order "
                f"{operation.order}; use backend='numpy'"
            )
        size = 3 * (operation.lmax + 1)
        scratch = self.edges.allocate("scratch", size)
        rows = [self._find(name)[1] for name in names]
        self.add(
            RADIAL, term.scale, *rows, operation.count, operation.lmax, operation.order, scratch, len(self.constants)
        )
        self.constants += [operation.cutoff, operation.inner]
        self.edges.release("scratch", size)

    def _harmonics(self, term: Term, names: list[str]) -> None:
        """By R_l = a_l C^{1, l-1, l}(x, R_{l-1}), on the rows of the result itself; ``scale`` enters with R_0."""
        operation = term.operation
        assert isinstance(operation, Harmonics)
        x, out = (self._find(name)[1] for name in names)
        self.add(CONSTANT, term.scale, out, 1)
        for degree in range(1, operation.lmax + 1):
            first, last = self._coefficients((1, degree - 1, degree), 2)
            rows = (out + degree**2, x, out + (degree - 1) ** 2)
            self.add(COUPLE, stretch_factor(degree), ON_EDGES, *rows, 1, 1, 1, *([0] * 9), first, last)

    def _constant(self, term: Term, names: list[str]) -> None:
        operation = term.operation
        assert isinstance(operation, Constant)
        row = self._find(names[0])[1] + operation.offset
        self.add(CONSTANT, term.scale * operation.value, row, operation.count)

    def _copy(self, term: Term, names: list[str]) -> None:
        operation = term.operation
        assert isinstance(operation, Copy)
        space, out = self._find(names[term.slot])
        source = self._find(names[1 - term.slot])[1]
        for b in operation.blocks:
            to, of = b.offsets[term.slot], b.offsets[1 - term.slot]
            if b.counts[1:] == (1, 1) and b.strides[0][0] == b.strides[1][0] == 1:
                self.add(ADD, term.scale, space, out + to, source + of, b.counts[0])
                continue
            for index in np.ndindex(b.counts):
                shift = [
                    sum(i * k for i, k in zip(index, b.strides[s], strict=True)) for s in (term.slot, 1 - term.slot)
                ]
                self.add(ADD, term.scale, space, out + to + shift[0], source + of + shift[1], 1)
