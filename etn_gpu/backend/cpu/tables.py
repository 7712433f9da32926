"""Steps between atom values that follow a table: sparse products row by row, functions component by component."""

from __future__ import annotations

from itertools import groupby

from etn_gpu.backend.cpu.ir import Function, Module, Vector
from etn_gpu.backend.jets import Jets
from etn_gpu.plan.operations import Functions, Products


def products_function(module: Module, operation: Products, slot: int, scale: float, add: bool) -> str:
    """Name of the function (out, a, b) that sets, or with ``add`` increments, the components that the rows reach.

    The rows are read from memory, so that any number of them takes no time to compile; those of one component of the
    output follow one another, which is kept in a register meanwhile.
    """
    first, second = (s for s in range(3) if s != slot)
    rows = sorted((int(r[slot]), int(r[first]), int(r[second]), scale * r[3]) for r in operation.rows)

    def build(f: Function) -> None:
        groups = [(out, len(list(of_out))) for out, of_out in groupby(r[0] for r in rows)]
        ends = [0]
        for _, count in groups:
            ends.append(ends[-1] + count)
        stride = f.stride
        targets = module.tables.integers([out * stride for out, _ in groups])
        starts = module.tables.integers(ends)
        places = module.tables.integers([k * stride for r in rows for k in r[1:3]])
        factors = module.tables.numbers([r[3] for r in rows])
        outer = f.loop(len(groups))
        target = f.at("%out", f.load_integer(targets, outer.index))
        begin = f.load_integer(starts, outer.index)
        end = f.load_integer(f.at(starts, 1, "i64"), outer.index)
        initial = f.load(target) if add else f.constant(0.0)
        inner = f.loop(end, [initial], begin)
        pair = f.integer("mul", inner.index, 2)
        a = f.load("%a", f.load_integer(places, pair))
        b = f.load("%b", f.load_integer(f.at(places, 1, "i64"), pair))
        factor = f.broadcast(factors, inner.index)
        (total,) = inner.close([f.fma(f.multiply(factor, a), b, inner.values[0])])
        f.store(total, target)
        outer.close()

    return module.function(("products", operation, slot, scale, add), ("out", "a", "b"), build, ("out", "a", "b"))


def functions_function(module: Module, operation: Functions, scale: float, add: bool) -> str:
    """Name of the function (out, x[, p]) that sets, or with ``add`` increments, all functions of all components."""
    arguments = ("out", *operation.slots[:-1])

    def build(f: Function) -> None:
        parameters = [f.load("%p", k * f.stride) for k in range(operation.parameters)]
        loop = f.loop(operation.count)
        here = f.integer("mul", loop.index, f.stride)
        jets = Jets[Vector](f, operation.order).functions(operation, f.load("%x", here), parameters)
        for number, jet in enumerate(jets):
            target = f.at(f.at("%out", number * operation.count * f.stride), here)
            value = jet[operation.order] or f.constant(0.0)
            f.store(f.fma(f.constant(scale), value, f.load(target) if add else None), target)
        loop.close()

    return module.function(("functions", operation, scale, add), arguments, build, arguments)
