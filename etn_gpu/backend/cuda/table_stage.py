"""Steps between atom values that follow a table, as one kernel: sparse products row by row, functions of components.

The tables lie in device memory: a kernel is as short for a hundred thousand rows as for ten. A block holds one tile of
32 atoms at a time, one lane an atom; its warps share the components of what is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from textwrap import fill, indent

import numpy as np

from etn_gpu.backend.cuda.forms import TILE
from etn_gpu.backend.cuda.scalars import Scalar, Scalars, literal, real
from etn_gpu.backend.cuda.stage import TILES_IN, TILES_OUT, Argument
from etn_gpu.backend.jets import Jets
from etn_gpu.plan.operations import Functions, Products
from etn_gpu.plan.program import Step, Term, Value

#: Warps of a block.
WARPS = 8


@dataclass(frozen=True)
class TableStage:
    """A kernel that is started with one block for each group of tiles.

    Beside ``arguments`` it takes ``atoms`` [n_slots] int64, -1 in padding, and ``group_offsets`` [n_groups+1] int64.
    Tiles are written in all slots, with 0 in padding.
    """

    name: str
    text: str
    arguments: tuple[Argument, ...]
    shared_bytes: int = 0
    work_rows: int = 0


def by_tables(step: Step) -> bool:
    """Whether all terms of a step follow tables."""
    return step.out.space == "atom" and all(isinstance(t.operation, Products | Functions) for t in step.terms)


def table_stage(name: str, dtype: np.dtype, steps: Sequence[Step], values: Mapping[str, Value]) -> TableStage:
    """The kernel of ``steps``, all of them :func:`by_tables`; all their values are written to tiles."""
    return _Writer(np.dtype(dtype), steps, values).stage(name)


class _Writer:
    def __init__(self, dtype: np.dtype, steps: Sequence[Step], values: Mapping[str, Value]) -> None:
        self._dtype, self._steps, self._values = dtype, steps, values
        self._tables: list[str] = []

    def stage(self, name: str) -> TableStage:
        made = [s.out.name for s in self._steps]
        read = dict.fromkeys(n for s in self._steps for t in s.terms for n in t.operands)
        arguments = (
            *(Argument(f"in_{k}", TILES_IN, n) for k, n in enumerate(n for n in read if n not in made)),
            *(Argument(f"out_{k}", TILES_OUT, n) for k, n in enumerate(made)),
        )
        tiles = {a.value: f"tile_{a.name}" for a in arguments}
        body = [line for step in self._steps for line in self._step(step, tiles)]
        kind = real(self._dtype)
        signature = ["const long long* __restrict__ atoms", "const long long* __restrict__ group_offsets"]
        signature += [f"{_constant(a)}{kind}* __restrict__ {a.name}" for a in arguments]
        pointers = [
            f"{_constant(a)}Real* const {tiles[a.value]} = {a.name} + "
            f"tile * {self._values[a.value].size * TILE}LL + lane;"
            for a in arguments
        ]
        text = _TEXT.format(
            real=kind, tables="\n".join(self._tables), threads=TILE * WARPS, name=name, tile=TILE,
            signature=indent(",\n".join(signature), "    "), body=indent("\n".join([*pointers, *body]), " " * 8),
        )  # fmt: skip
        return TableStage(name, text, arguments)

    def _step(self, step: Step, tiles: Mapping[str, str]) -> Iterator[str]:
        """Zeros, then one term after the other: they may write the same components by other warps."""
        target = tiles[step.out.name]
        yield f"for (int k = warp; k < {step.out.size}; k += {WARPS}) {target}[k * {TILE}] = Real(0);"
        yield "__syncthreads();"
        for term in step.terms:
            operands = [tiles[n] for n in term.operands]
            if isinstance(term.operation, Products):
                yield from self._products(term, term.operation, operands, target)
            else:
                assert isinstance(term.operation, Functions)
                yield from self._functions(term, term.operation, operands, target)
            yield "__syncthreads();"

    def _products(self, term: Term, operation: Products, operands: Sequence[str], target: str) -> Iterator[str]:
        first, second = (s for s in range(3) if s != term.slot)
        rows = sorted((int(r[term.slot]), int(r[first]), int(r[second]), term.scale * r[3]) for r in operation.rows)
        groups = [(out, len(list(of_out))) for out, of_out in groupby(r[0] for r in rows)]
        number = len(self._tables)
        starts = [0, *accumulate(count for _, count in groups)]
        self._integers(f"targets_{number}", [out for out, _ in groups])
        self._integers(f"starts_{number}", starts)
        self._integers(f"places_{number}", [k for r in rows for k in r[1:3]])
        factors = ", ".join(literal(r[3], self._dtype) for r in rows) or "0"
        self._tables.append(f"__device__ const Real factors_{number}[] = {{\n{fill(factors, 120)}}};")
        yield f"for (int k = warp; k < {len(groups)}; k += {WARPS}) {{"
        yield "    Real sum = Real(0);"
        yield f"    for (int r = starts_{number}[k]; r < starts_{number}[k + 1]; r++) {{"
        yield f"        const Real a = {operands[0]}[places_{number}[2 * r] * {TILE}];"
        yield f"        const Real b = {operands[1]}[places_{number}[2 * r + 1] * {TILE}];"
        yield f"        sum = fma(factors_{number}[r] * a, b, sum);"
        yield "    }"
        yield f"    if (there) {target}[targets_{number}[k] * {TILE}] += sum;"
        yield "}"

    def _functions(self, term: Term, operation: Functions, operands: Sequence[str], target: str) -> Iterator[str]:
        f = Scalars(self._dtype)
        x = f.emit(f"{operands[0]}[c * {TILE}]")
        parameters = [f.emit(f"{operands[1]}[{k * TILE}]") for k in range(operation.parameters)]
        jets = Jets[Scalar](f, operation.order).functions(operation, x, parameters)
        for number, jet in enumerate(jets):
            if (value := jet[operation.order]) is not None:
                place = f"({number * operation.count} + c) * {TILE}"
                f.line(f"if (there) {target}[{place}] += {f.scaled(value, term.scale).name};")
        yield f"for (int c = warp; c < {operation.count}; c += {WARPS}) {{"
        yield from (f"    {line}" for line in f.lines)
        yield "}"

    def _integers(self, name: str, values: Sequence[int]) -> None:
        numbers = fill(", ".join(map(str, values)) or "0", 120)
        self._tables.append(f"__device__ const int {name}[] = {{\n{numbers}}};")


def _constant(argument: Argument) -> str:
    return "const " if argument.role == TILES_IN else ""


_TEXT = """\
using Real = {real};
{tables}
extern "C" __global__ void __launch_bounds__({threads}) {name}(
{signature}) {{
    const int lane = threadIdx.x % {tile}, warp = threadIdx.x / {tile};
    for (long long tile = group_offsets[blockIdx.x]; tile < group_offsets[blockIdx.x + 1]; tile++) {{
        const bool there = atoms[tile * {tile} + lane] >= 0;
{body}
    }}
}}
"""
