"""A Program becomes a short list of stages, in turn on edges and on atoms: one kernel each, whatever the batch.

An edge stage computes all edge values that it needs from the inputs on; nothing but sums over edges leaves it, and
outputs. An atom stage holds one tile of atoms at a time. Only what a later stage reads lies in device memory between
them. Steps between parameters are left to NumPy (:mod:`etn_gpu.backend.parameters`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from etn_gpu.backend.columns import Columns, column_layout
from etn_gpu.backend.cuda.atom_stage import AtomStage, atom_stage
from etn_gpu.backend.cuda.edge_stage import EdgeStage, edge_stage
from etn_gpu.backend.cuda.table_stage import TableStage, by_tables, table_stage
from etn_gpu.backend.phases import chosen_edge_steps, marks_nearest, number_phases, split
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import EdgeSum, Functions, Products
from etn_gpu.plan.program import Program, Step, Term, Value, identity

Stage = EdgeStage | AtomStage | TableStage


@dataclass(frozen=True)
class Lowered:
    """Stages in the order in which they run, sizes of the tile arrays, columns of parameters and of sums over atoms."""

    stages: tuple[Stage, ...]
    tiles: dict[str, int]
    parameters: Columns
    gradients: Columns


@lru_cache(maxsize=64)
def lower(program: Program, dtype: np.dtype, kept: frozenset[str] = frozenset()) -> Lowered:
    """Lower ``program``; the edge inputs ``kept`` come in ``dtype``, all others in float64.

    Raises:
        BackendError: it holds something that this backend does not do.
    """
    return _Lowering(program, dtype, kept).run()


class _Lowering:
    def __init__(self, program: Program, dtype: np.dtype, kept: frozenset[str]) -> None:
        before, body, _ = split(program)
        if any(marks_nearest(s) for s in body):
            raise BackendError("the cuda backend does not know the operation 'nearest'; use numba or numpy")
        self.dtype, self.kept = dtype, kept
        self.outputs = set(program.output_names.values())
        self.body = list(_apart(body))
        self.values = program.values | {s.out.name: s.out for s in self.body}
        self.phase = number_phases(program, self.body)
        self.parameters = column_layout([*(v for v in program.inputs if v.space == "param"), *(s.out for s in before)])
        self.gradients = column_layout([s.out for s in self.body if s.out.space == "param"])

    def run(self) -> Lowered:
        phases = range(max(self.phase.values(), default=-1) + 1)
        stages = [stage for phase in phases for stage in self._stages(phase)]
        crossing = {a.value for stage in stages for a in stage.arguments if a.role in ("tiles in", "tiles out")}
        crossing |= {name for name in self.outputs if self.values[name].space == "atom"}
        sizes = {name: self.values[name].size for name in sorted(crossing)}
        return Lowered(tuple(stages), sizes, self.parameters, self.gradients)

    def _stages(self, phase: int) -> Iterator[Stage]:
        return self._edges(phase) if phase % 2 == 0 else self._atoms(phase)

    def _edges(self, phase: int) -> Iterator[EdgeStage]:
        sums = tuple(s for s in self.body if self.phase[s.out.name] == phase + 1 and _sums_edges(s))
        outputs = tuple(
            name
            for name, number in self.phase.items()
            if number == phase and name in self.outputs and self.values[name].space == "edge"
        )
        if not sums and not outputs:
            return
        read = {name for step in sums for term in step.terms for name in term.operands}
        steps, _ = chosen_edge_steps(self.body, {*read, *outputs})
        yield edge_stage(
            f"edges{phase}", self.dtype, tuple(steps), sums, outputs, self.values, self.parameters, self.kept
        )

    def _atoms(self, phase: int) -> Iterator[AtomStage | TableStage]:
        steps = [s for s in self.body if self.phase[s.out.name] == phase and not _sums_edges(s)]
        for number, part in enumerate(_alternating(steps)):
            name = f"atoms{phase}" + (f"_{number}" if number else "")
            if by_tables(part[0]):
                yield table_stage(name, self.dtype, part, self.values)
                continue
            here = {s.out.name for s in part}
            elsewhere = {n for s in self.body if s.out.name not in here for t in s.terms for n in t.operands}
            kept = frozenset(n for n in here if self.values[n].space == "atom" and n in elsewhere | self.outputs)
            yield atom_stage(name, self.dtype, tuple(part), kept, self.values, self.parameters, self.gradients)


def _alternating(steps: Sequence[Step]) -> list[list[Step]]:
    """The same steps in parts that follow tables and parts that do not, in turn, each after all that it reads."""
    part: dict[str, int] = {}
    for step in steps:
        parity = int(by_tables(step))
        earliest = max((part[n] for t in step.terms for n in t.operands if n in part), default=0)
        part[step.out.name] = earliest + (earliest + parity) % 2
    parts = [[s for s in steps if part[s.out.name] == k] for k in range(max(part.values(), default=-1) + 1)]
    return [p for p in parts if p]


def _sums_edges(step: Step) -> bool:
    return step.out.space == "atom" and any(_is_edge_sum(t) for t in step.terms)


def _is_edge_sum(term: Term) -> bool:
    return isinstance(term.operation, EdgeSum)


def _is_table(term: Term) -> bool:
    return isinstance(term.operation, Products | Functions)


def _apart(steps: Iterable[Step]) -> Iterator[Step]:
    """The same steps, where what is summed over edges, what follows tables and the rest are in steps of their own."""
    for step in steps:
        if step.out.space != "atom":
            yield step
            continue
        for kind, chosen in (("edges", _is_edge_sum), ("table", _is_table)):
            terms = tuple(t for t in step.terms if chosen(t))
            if len(terms) in (0, len(step.terms)):
                continue
            partial = Value(f"{step.out.name}#{kind}", "atom", step.out.size)
            yield Step(partial, terms)
            others = tuple(t for t in step.terms if not chosen(t))
            step = Step(step.out, (identity(step.out, partial.name), *others))
        yield step
