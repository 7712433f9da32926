"""The steps between two edge stages as one kernel: a block holds one tile of 32 atoms at a time, one lane an atom.

The warps of a block share the work of a tile. Values lie in rows [component][lane] of shared memory, or are computed
where they are read (:mod:`etn_gpu.backend.cuda.inlining`); what is summed over atoms is added to one row of gradients
for each block, always by the same thread, so the result does not depend on timing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import accumulate
from textwrap import indent

import numpy as np

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.cuda.atom_text import PACK, PREFETCH, WAIT, Layout, StageText, integers, packs, reals
from etn_gpu.backend.cuda.forms import TILE
from etn_gpu.backend.cuda.inlining import inlined
from etn_gpu.backend.cuda.levels import Schedule, Work, schedule
from etn_gpu.backend.cuda.operands import Factors, Operands, Place
from etn_gpu.backend.cuda.pieces import Piece, copied_components, filled, pieces
from etn_gpu.backend.cuda.scalars import real
from etn_gpu.backend.cuda.stage import TILES_IN, TILES_OUT, Argument
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import Copy, Mix
from etn_gpu.plan.program import Step, Value

#: Warps of a block.
WARPS = 8
#: Bytes of shared memory of a multiprocessor since sm_90, and what the driver takes of it for each block.
SHARED, RESERVED = 228 * 1024, 1024
#: Bytes of shared memory for rows, at most; beyond, rows lie in device memory. GPUs since sm_80 have 163 KiB.
MOST_SHARED = 160 * 1024


@dataclass(frozen=True)
class AtomStage:
    """A kernel that computes atom values, and sums over atoms, from tiles of atom values.

    It is started with one block for each group of tiles and ``shared_bytes`` of dynamic shared memory. Its arguments
    are those in ``arguments``, and: ``parameters`` [P] Real, ``gradients`` [n_groups, G] float64, to which sums over
    atoms are added, ``atoms`` [n_slots] int64, ``slot_species`` [n_slots] int32, ``group_offsets`` [n_groups+1] int64
    and, only where ``work_rows`` > 0, ``workspace`` [n_groups, work_rows, 32] Real, of any content.

    ``balance`` is the estimated share of time that the warps of a block work rather than wait for each other.
    """

    name: str
    text: str
    arguments: tuple[Argument, ...]
    shared_bytes: int
    work_rows: int
    rows: int
    balance: float


def atom_stage(
    name: str,
    dtype: np.dtype,
    steps: tuple[Step, ...],
    kept: frozenset[str],
    values: Mapping[str, Value],
    parameters: Columns,
    gradients: Columns,
    *,
    inline: bool = True,
    most_shared: int = MOST_SHARED,
) -> AtomStage:
    """Lower atom steps to a kernel.

    Args:
        name: of the kernel.
        dtype: float32 or float64, of everything but sums over atoms.
        steps: steps of atom values, and of parameter values that are gradients of mixings summed over atoms; terms are
            :class:`Couple`, :class:`Mix`, :class:`Copy` and :class:`Constant`.
        kept: the values of these steps that are written to tiles.
        values: all values by name.
        parameters: where values lie in the argument ``parameters``.
        gradients: where parameter values lie in a row of ``gradients``.
        inline: whether values are computed where they are read if that saves shared memory.
        most_shared: bytes of shared memory, beyond which the rows lie in ``workspace``.

    Raises:
        BackendError: a step holds an operation that does not act between atom values.
    """
    if unknown := kept - {step.out.name for step in steps}:
        raise BackendError(f"the values {sorted(unknown)} are to be kept, but no step of {name} makes them")
    return _Stage(np.dtype(dtype), steps, kept, values, inline).lowered(name, parameters, gradients, most_shared)


class _Stage:
    def __init__(
        self, dtype: np.dtype, steps: tuple[Step, ...], kept: Set[str], values: Mapping[str, Value], inline: bool
    ) -> None:
        self._dtype = dtype
        self._values = values
        self._inlined = inlined(steps, kept) if inline else {}
        self._steps = [step for step in steps if step.out.name not in self._inlined]
        made = {step.out.name for step in steps}
        read = {n: None for s in steps for t in s.terms for n in t.operands if values[n].space == "atom"}
        self._inputs = [n for n in read if n not in made]
        self._outputs = [step.out.name for step in self._steps if step.out.name in kept]
        # What nothing reads here again is not held in rows.
        self._direct_outputs = {n for n in self._outputs if n not in read}
        self._direct_inputs = {n for n in self._inputs if _read_once(n, steps)}
        self._factors = Factors()

    def lowered(self, name: str, parameters: Columns, gradients: Columns, most_shared: int) -> AtomStage:
        arguments = (
            *(Argument(f"in_{k}", TILES_IN, n) for k, n in enumerate(self._inputs)),
            *(Argument(f"out_{k}", TILES_OUT, n) for k, n in enumerate(self._outputs)),
        )
        tiles = {a.value: f"tile_{a.name}" for a in arguments}
        plan = schedule(self._works(tiles), WARPS)
        writer = StageText(
            self._dtype, Layout(self._dtype.itemsize, plan.first_rows, parameters, gradients, tiles), self._factors
        )
        tasks = writer.tasks(plan, WARPS)
        size = plan.rows * TILE * self._dtype.itemsize
        work_rows = 0 if size <= most_shared else plan.rows
        shared = 0 if work_rows else size
        # Two blocks hide the waiting of each other, where their memory and, in float32, their registers allow it.
        blocks = 2 if self._dtype.itemsize == 4 and 2 * (shared + RESERVED) <= SHARED else 1
        kernel = self._kernel(name, arguments, writer, gradients, work_rows, blocks)
        text = _module(self._dtype, tasks, writer, kernel)
        return AtomStage(name, text, arguments, shared, work_rows, plan.rows, _balance(plan))

    def _works(self, tiles: Mapping[str, str]) -> Iterable[Work]:
        operands = Operands(self._inlined, {n: tiles[n] for n in self._direct_inputs}, self._factors)
        for n in self._inputs:
            if n not in self._direct_inputs:
                yield self._copied(n, n, Place("tile", n), tiles[n], Place("row", n))
        for step in self._steps:
            out = step.out
            if out.space == "param":
                yield Work(out.name, out.size, None, tuple(pieces(step, operands)))
                continue
            target = Place("tile" if out.name in self._direct_outputs else "row", out.name)
            found: list[Piece] = pieces(step, operands)
            missing = set(range(out.size)).difference(*(piece.targets for piece in found))
            yield Work(out.name, out.size, target, (*found, *filled(sorted(missing), 0.0)))
        for n in self._outputs:
            if n not in self._direct_outputs:
                yield self._copied(f">{n}", n, Place("row", n), "", Place("tile", n))

    def _copied(self, work: str, name: str, source: Place, tile: str, target: Place) -> Work:
        size = self._values[name].size
        return Work(work, size, target, tuple(copied_components(size, source, tile)))

    def _kernel(
        self, name: str, arguments: tuple[Argument, ...], writer: StageText, gradients: Columns, work_rows: int,
        blocks: int,
    ) -> str:  # fmt: skip
        kind = real(self._dtype)
        signature = [
            f"const {kind}* __restrict__ parameters", "double* __restrict__ gradients",
            "const long long* __restrict__ atoms", "const int* __restrict__ slot_species",
            "const long long* __restrict__ group_offsets",
        ]  # fmt: skip
        signature += [f"{kind}* __restrict__ workspace"] if work_rows else []
        signature += [f"{'const ' if a.role == TILES_IN else ''}{kind}* __restrict__ {a.name}" for a in arguments]
        pointers = [
            f"{'const ' if a.role == TILES_IN else ''}Real* const tile_{a.name} = {a.name} + "
            f"tile * {self._values[a.value].size * TILE}LL + lane;"
            for a in arguments
        ]
        total = sum(size for _, size in gradients.values())
        rows = (
            f"Real* const own = workspace + blockIdx.x * {work_rows * TILE}LL + lane;"
            if work_rows
            else "extern __shared__ Real rows[];\n    Real* const own = rows + lane;"
        )
        read = [(a.name, self._values[a.value].size * TILE) for a in arguments if a.role == TILES_IN]
        prefetched = [f"prefetch({name} + (tile + 1) * {size}LL, {size});" for name, size in read]
        cases = indent("\n".join(writer.cases()), " " * 16)
        return _KERNEL.format(
            name=name, threads=TILE * WARPS, blocks=blocks, signature=indent(",\n".join(signature), "    "), rows=rows,
            total=total, wait=WAIT, prefetch=PREFETCH, pointers=indent("\n".join(pointers), " " * 8), cases=cases,
            prefetched=indent("\n".join(prefetched), " " * 24),
        )  # fmt: skip


_KERNEL = """\
extern "C" __global__ void __launch_bounds__({threads}, {blocks}) {name}(
{signature}) {{
    const int lane = threadIdx.x % TILE, warp = threadIdx.x / TILE;
    {rows}
    double* const gradient = gradients + blockIdx.x * {total}LL;
    for (long long tile = group_offsets[blockIdx.x]; tile < group_offsets[blockIdx.x + 1]; tile++) {{
        const int species = slot_species[tile * TILE + lane];
        const bool there = atoms[tile * TILE + lane] >= 0;
{pointers}
        const int4* task = tasks + first_task[warp];
        for (bool more = true; more;) {{
            switch (task->x) {{
                case {wait}:
                    __syncthreads();
                    task++;
                    break;
                case {prefetch}:
                    if (tile + 1 < group_offsets[blockIdx.x + 1]) {{
{prefetched}
                    }}
                    task++;
                    break;
{cases}
                default:
                    more = false;
            }}
        }}
    }}
}}
"""


def _module(dtype: np.dtype, tasks: list[list[int]], writer: StageText, kernel: str) -> str:
    starts = [0, *accumulate(len(words) for words in tasks)]
    return "\n".join(
        [
            '#include "atoms.cuh"',
            f"using Real = {real(dtype)};",
            integers("first_task", [start // PACK for start in starts[:-1]]),
            packs("tasks", [word for words in tasks for word in words]),
            reals("factors", writer.factors.values or [1.0], dtype),
            *writer.functions(),
            kernel,
        ]
    )


def _read_once(name: str, steps: tuple[Step, ...]) -> bool:
    """Whether only mixings and copies read a value, which need each number about once."""
    return all(isinstance(t.operation, Mix | Copy) for s in steps for t in s.terms if name in t.operands)


def _balance(plan: Schedule) -> float:
    costs = plan.costs
    return sum(mean for _, mean in costs) / max(sum(most for most, _ in costs), 1.0)
