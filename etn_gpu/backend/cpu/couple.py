"""Clebsch-Gordan coupling of rows: one compiled function for each triple of irreps, slot and multiplicity loops.

What is contracted first, see :mod:`etn_gpu.backend.coupling`, stays in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from etn_gpu.backend.coupling import Table, accumulate, cheapest, coefficients, contract
from etn_gpu.backend.cpu.ir import Function, Module, Vector
from etn_gpu.plan.operations import CoupleBlock


@dataclass(frozen=True)
class _Nest:
    """The multiplicity loops with the row strides of output and operands."""

    counts: tuple[int, ...]
    out: tuple[int, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]

    def loops(self, strides: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """Loops over which something with these strides changes, and the others."""
        active = [t for t, n in enumerate(self.counts) if n > 1]
        return [t for t in active if strides[t]], [t for t in active if not strides[t]]


def couple_function(module: Module, block: CoupleBlock, slot: int, scale: float, add: bool) -> str:
    """Name of the function (out, a, b) that sets, or with ``add`` increments, all rows of ``block``."""
    operands = [s for s in range(3) if s != slot]
    rows = [tuple(k * (2 * block.ls[s] + 1) for k in block.strides[s]) for s in (slot, *operands)]
    nest = _Nest(block.counts, *rows)
    factor = scale * block.coefficient
    key = ("couple", block.ls, slot, nest, factor, add)

    def build(f: Function) -> None:
        _write(f, factor * coefficients(block.ls, slot), nest, add)

    return module.function(key, ("out", "a", "b"), build, rows=("out", "a", "b"))


def _write(f: Function, table: Table, nest: _Nest, add: bool) -> None:
    work = cheapest(table, nest.counts, nest.a, nest.b)
    if work == "pairs":
        _write_pairs(f, table, nest, add)
    elif work == "a":
        swapped = _Nest(nest.counts, nest.out, nest.b, nest.a)
        _write_matrix(f, np.swapaxes(table, 1, 2), swapped, add, ("b", "a"))
    else:
        _write_matrix(f, table, nest, add, ("a", "b"))


def _open(
    f: Function, nest: _Nest, loops: Sequence[int], at: dict[str, str | int]
) -> tuple[list, dict[str, str | int]]:
    """Open the loops and move the row offsets of 'out', 'a' and 'b' along."""
    opened = []
    for t in loops:
        loop = f.loop(nest.counts[t])
        opened.append(loop)
        at = {
            name: _moved(f, at[name], loop.index, strides[t])
            for name, strides in (("out", nest.out), ("a", nest.a), ("b", nest.b))
        }
    return opened, at


def _moved(f: Function, base: str | int, index: str, stride: int) -> str | int:
    if not stride:
        return base
    step = f.integer("mul", index, stride * f.stride)
    return step if base == 0 else f.integer("add", base, step)


def _rows(f: Function, name: str, offset: str | int, count: int) -> list[Vector]:
    pointer = f.at(f"%{name}", offset)
    return [f.load(pointer, k * f.stride) for k in range(count)]


def _finish(f: Function, offset: str | int, values: Sequence[Vector | None]) -> None:
    pointer = f.at("%out", offset)
    for k, value in enumerate(values):
        f.store(value or f.constant(0.0), pointer, k * f.stride)


def _write_pairs(f: Function, table: Table, nest: _Nest, add: bool) -> None:
    opened, at = _open(f, nest, [t for t, n in enumerate(nest.counts) if n > 1], {"out": 0, "a": 0, "b": 0})
    a, b = _rows(f, "a", at["a"], table.shape[1]), _rows(f, "b", at["b"], table.shape[2])
    out: list[Vector | None] = [*_rows(f, "out", at["out"], table.shape[0])] if add else [None] * table.shape[0]
    _finish(f, at["out"], accumulate(f, table, a, b, out))
    for loop in reversed(opened):
        loop.close()


def _write_matrix(f: Function, table: Table, nest: _Nest, add: bool, names: tuple[str, str]) -> None:
    """Contract the second operand with the table in the outer loops, apply to the first in the inner ones.

    ``names`` are the arguments that are first and second operand here.
    """
    outer, inner = nest.loops(nest.b)
    arguments = {"a": names[0], "b": names[1], "out": "out"}
    opened, at = _open(f, nest, outer, {"out": 0, "a": 0, "b": 0})
    matrix = contract(f, table, _rows(f, arguments["b"], at["b"], table.shape[2]))
    opened_inner, at = _open(f, nest, inner, at)
    a = _rows(f, arguments["a"], at["a"], table.shape[1])
    out: list[Vector | None] = [*_rows(f, "out", at["out"], table.shape[0])] if add else [None] * table.shape[0]
    for o, i in product(range(table.shape[0]), range(table.shape[1])):
        if (o, i) in matrix:
            out[o] = f.fma(matrix[o, i], a[i], out[o])
    _finish(f, at["out"], out)
    for loop in reversed([*opened, *opened_inner]):
        loop.close()
