"""Steps between atom values: each term becomes calls of compiled functions on rows, one lane an atom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.couple import couple_function
from etn_gpu.backend.cpu.ir import Function
from etn_gpu.backend.cpu.layout import Layout
from etn_gpu.backend.cpu.mix import Shape, mix_function, weights_function
from etn_gpu.backend.cpu.tables import functions_function, products_function
from etn_gpu.backend.pointwise import copied
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import Constant, Copy, Couple, CoupleBlock, Functions, Mix, Products
from etn_gpu.plan.program import Step, Term, Value


class Written:
    """Which rows of a value hold something: the first term that writes a row sets it, later ones add."""

    def __init__(self, f: Function, first: int, size: int) -> None:
        self._f, self._first = f, first
        self._done = np.zeros(size, bool)

    def part(self, first: int, count: int, step: int = 1) -> NDArray[np.bool_]:
        """``count`` rows of the value, every ``step``-th from row ``first`` on, as a mask."""
        rows = np.zeros(len(self._done), bool)
        rows[first : first + count * step : step] = True
        return rows

    def adds(self, rows: NDArray[np.bool_], several: bool = False) -> bool:
        """Whether a term on ``rows`` has to add; makes them ready for that. ``several``: it writes a row repeatedly."""
        if not several and not np.any(self._done & rows):
            self._done |= rows
            return False
        self.clear(rows)
        return True

    def clear(self, rows: NDArray[np.bool_] | None = None) -> None:
        """Set the rows that hold nothing yet to zero."""
        empty = np.flatnonzero(~self._done if rows is None else rows & ~self._done)
        for stretch in np.split(empty, np.flatnonzero(np.diff(empty) > 1) + 1):
            if len(stretch):
                _fill(self._f, self._first + int(stretch[0]), len(stretch))
        self._done[empty] = True


def _fill(f: Function, row: int, count: int) -> None:
    """Zero rows."""
    pointer = f.at("%atoms", row * f.stride)
    loop = f.loop(count * f.module.vectors)
    f.store(f.constant(0.0), pointer, f.integer("mul", loop.index, f.lanes))
    loop.close()


class AtomSteps:
    """Writes the terms of atom steps into the function of a phase."""

    def __init__(self, f: Function, layout: Layout) -> None:
        self.f, self.layout = f, layout

    def row(self, name: str, shift: int = 0) -> str:
        """Address of a row of a value."""
        return self.f.at("%atoms", (self.layout.rows.at[name] + shift) * self.f.stride)

    def term(self, term: Term, step: Step, written: Written | None) -> None:
        """Write one term of ``step``; ``written`` is None for a sum over atoms into gradients."""
        names = list(term.operands)
        names.insert(term.slot, step.out.name)
        operation = term.operation
        write: dict[type, Callable[[Term, list[str], Value, Written], None]] = {
            Couple: self._couple, Products: self._products, Functions: self._functions, Copy: self._copy,
            Constant: self._constant,
        }  # fmt: skip
        if isinstance(operation, Mix):
            if term.slot == 0:
                self._weights(operation, term, names)
            else:
                assert written is not None
                self._mix(operation, term, names, step.out, written)
        elif type(operation) in write:
            assert written is not None
            write[type(operation)](term, names, step.out, written)
        else:
            raise BackendError(f"the numba backend does not know the operation {operation.name!r} on atom values")

    def _couple(self, term: Term, names: list[str], out: Value, written: Written) -> None:
        assert isinstance(term.operation, Couple)
        order = (term.slot, *(s for s in range(3) if s != term.slot))
        for block in term.operation.blocks:
            if 0 in block.counts:
                continue
            rows, several = _block_rows(block, term.slot, out.size)
            name = couple_function(self.f.module, block, term.slot, term.scale, written.adds(rows, several))
            self.f.call(name, *(self.row(names[s], block.offsets[s]) for s in order))

    def _products(self, term: Term, names: list[str], out: Value, written: Written) -> None:
        operation = term.operation
        assert isinstance(operation, Products)
        if not operation.rows:
            return
        rows = np.zeros(out.size, bool)
        rows[[int(row[term.slot]) for row in operation.rows]] = True
        order = (term.slot, *(s for s in range(3) if s != term.slot))
        name = products_function(self.f.module, operation, term.slot, term.scale, written.adds(rows))
        self.f.call(name, *(self.row(names[s]) for s in order))

    def _functions(self, term: Term, names: list[str], out: Value, written: Written) -> None:
        operation = term.operation
        assert isinstance(operation, Functions)
        add = written.adds(np.ones(out.size, bool))
        name = functions_function(self.f.module, operation, term.scale, add)
        self.f.call(name, self.row(out.name), *(self.row(n) for n in term.operands))

    def _mix(self, operation: Mix, term: Term, names: list[str], out: Value, written: Written) -> None:
        for b in operation.blocks:
            if 0 in (b.rows, b.cols, b.dim):
                continue
            if term.slot == 2:
                shape = Shape(b.rows, b.cols, b.dim, b.row_stride, 1, b.dim)
                first, source = b.target, self.row(names[1], b.source)
            else:
                shape = Shape(b.cols, b.rows, b.dim, 1, b.row_stride, b.dim)
                first, source = b.source, self.row(names[2], b.target)
            add = written.adds(written.part(first, shape.rows * b.dim))
            self.mix(operation, shape, term, b.weight, self.row(out.name, first), source, add)

    def mix(
        self, operation: Mix, shape: Shape, term: Term, weight: int, target: str, source: str, add: bool,
        shift: str | int = 0,
    ) -> None:  # fmt: skip
        """Mix the rows at ``source`` into those at ``target``; weights from number ``weight`` + ``shift`` on."""
        f, module = self.f, self.f.module
        weights = f.at(f.at("%params", self.layout.parameters[term.operands[0]][0] + weight), shift)
        for m, part in shape.parts:
            rows = tuple(f.at(row, m * f.stride) for row in (target, source))
            if operation.species_stride == 0:
                f.call(mix_function(module, part, term.scale, False, add), *rows, weights, "%masks")
            else:
                functions = [mix_function(module, part, term.scale, True, a) for a in (add, True)]
                self._by_species(operation.species_stride, functions, rows, weights)

    def _by_species(self, stride: int, functions: list[str], rows: tuple[str, ...], table: str) -> None:
        """Call a masked function for the first species in the block, and another one for the rest."""
        f = self.f

        def call(name: str, index: int | str) -> None:
            species = f.load_integer("%present", index)
            at = f.at(table, f.integer("mul", species, stride))
            mask = f.at("%masks", f.integer("mul", species, f.stride))
            f.call(name, *rows, at, mask)

        call(functions[0], 0)
        with f.when_more_than("%n_present", 1):
            loop = f.loop("%n_present", (), 1)
            call(functions[1], loop.index)
            loop.close()

    def _weights(self, operation: Mix, term: Term, names: list[str]) -> None:
        f = self.f
        start = self.layout.gradients[names[0]][0]
        for b in operation.blocks:
            if 0 in (b.rows, b.cols, b.dim):
                continue
            for m, shape in Shape(b.rows, b.cols, b.dim, b.row_stride, 1, b.dim).parts:
                rows = (self.row(names[2], b.target + m), self.row(names[1], b.source + m))
                masked = operation.species_stride > 0
                name = weights_function(f.module, shape, term.scale, masked)
                if not masked:
                    f.call(name, f.at("%gradient", start + b.weight, "double"), *rows, "%masks")
                    continue
                loop = f.loop("%n_present")
                species = f.load_integer("%present", loop.index)
                shift = f.integer("add", f.integer("mul", species, operation.species_stride), start + b.weight)
                mask = f.at("%masks", f.integer("mul", species, f.stride))
                f.call(name, f.at("%gradient", shift, "double"), *rows, mask)
                loop.close()

    def _copy(self, term: Term, names: list[str], out: Value, written: Written) -> None:
        assert isinstance(term.operation, Copy)
        for to, of in copied(term.operation, term.slot):
            add = written.adds(written.part(to, 1))
            self._add(self.row(names[1 - term.slot], of), out, to, add, term.scale)

    def _constant(self, term: Term, names: list[str], out: Value, written: Written) -> None:
        """Only in lanes with an atom: sums over atoms must not see the others."""
        operation = term.operation
        assert isinstance(operation, Constant)
        for k in range(operation.offset, operation.offset + operation.count):
            self._add("%valid", out, k, written.adds(written.part(k, 1)), term.scale * operation.value)

    def _add(self, source: str, out: Value, row: int, add: bool, scale: float) -> None:
        """Set a row, or add to it, ``scale`` times the row at ``source``."""
        f = self.f
        at = self.row(out.name, row)
        for lane in range(0, f.stride, f.lanes):
            value = f.load(source, lane)
            old = f.load(at, lane) if add else None
            if scale != 1.0:
                value = f.fma(f.constant(scale), value, old)
            elif old is not None:
                value = f.add(value, old)
            f.store(value, at, lane)


def _block_rows(block: CoupleBlock, slot: int, size: int) -> tuple[NDArray[np.bool_], bool]:
    """The rows of slot ``slot`` that a block reaches, and whether it reaches one of them more than once."""
    width = 2 * block.ls[slot] + 1
    counts = np.zeros(size, np.int64)
    for index in np.ndindex(block.counts):
        first = block.offsets[slot] + width * sum(i * k for i, k in zip(index, block.strides[slot], strict=True))
        counts[first : first + width] += 1
    return counts > 0, bool(np.any(counts > 1))
