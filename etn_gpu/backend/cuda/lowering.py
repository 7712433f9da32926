"""A Program becomes a short list of stages, in turn on edges and on atoms: one kernel each, whatever the batch.

An edge stage computes all edge values that it needs from the inputs on; nothing but sums over edges leaves it, and
outputs. An atom stage holds one tile of atoms at a time. Only what a later stage reads lies in device memory between
them. Steps between parameters are left to NumPy (:mod:`etn_gpu.backend.parameters`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from etn_gpu.backend.columns import Columns, column_layout
from etn_gpu.backend.cuda.atom_stage import AtomStage, atom_stage
from etn_gpu.backend.cuda.edge_stage import EdgeStage, edge_stage
from etn_gpu.backend.phases import chosen_edge_steps, number_phases, split
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Program, Step, Term, Value, identity


@dataclass(frozen=True)
class Lowered:
    """Stages in the order in which they run, sizes of the tile arrays, columns of parameters and of sums over atoms."""

    stages: tuple[EdgeStage | AtomStage, ...]
    tiles: dict[str, int]
    parameters: Columns
    gradients: Columns


@lru_cache(maxsize=64)
def lower(program: Program, dtype: np.dtype) -> Lowered:
    """Lower ``program``; BackendError when it holds something that no backend but NumPy does."""
    return _Lowering(program, dtype).run()


class _Lowering:
    def __init__(self, program: Program, dtype: np.dtype) -> None:
        before, body, _ = split(program)
        self.dtype = dtype
        self.outputs = set(program.output_names.values())
        self.body = list(_apart(body))
        self.values = program.values | {s.out.name: s.out for s in self.body}
        self.phase = number_phases(program, self.body)
        self.parameters = column_layout([*(v for v in program.inputs if v.space == "param"), *(s.out for s in before)])
        self.gradients = column_layout([s.out for s in self.body if s.out.space == "param"])

    def run(self) -> Lowered:
        stages = [stage for p in range(max(self.phase.values(), default=-1) + 1) if (stage := self._stage(p))]
        crossing = {a.value for stage in stages for a in stage.arguments if a.role in ("tiles in", "tiles out")}
        crossing |= {name for name in self.outputs if self.values[name].space == "atom"}
        sizes = {name: self.values[name].size for name in sorted(crossing)}
        return Lowered(tuple(stages), sizes, self.parameters, self.gradients)

    def _stage(self, phase: int) -> EdgeStage | AtomStage | None:
        return self._edges(phase) if phase % 2 == 0 else self._atoms(phase)

    def _edges(self, phase: int) -> EdgeStage | None:
        sums = tuple(s for s in self.body if self.phase[s.out.name] == phase + 1 and _sums_edges(s))
        outputs = tuple(
            name
            for name, number in self.phase.items()
            if number == phase and name in self.outputs and self.values[name].space == "edge"
        )
        if not sums and not outputs:
            return None
        read = {name for step in sums for term in step.terms for name in term.operands}
        steps, _ = chosen_edge_steps(self.body, {*read, *outputs})
        return edge_stage(f"edges{phase}", self.dtype, tuple(steps), sums, outputs, self.values)

    def _atoms(self, phase: int) -> AtomStage | None:
        steps = tuple(s for s in self.body if self.phase[s.out.name] == phase and not _sums_edges(s))
        if not steps:
            return None
        here = {s.out.name for s in steps}
        elsewhere = {n for s in self.body if s.out.name not in here for t in s.terms for n in t.operands}
        kept = frozenset(n for n in here if self.values[n].space == "atom" and n in elsewhere | self.outputs)
        return atom_stage(f"atoms{phase}", self.dtype, steps, kept, self.values, self.parameters, self.gradients)


def _sums_edges(step: Step) -> bool:
    return step.out.space == "atom" and any(_is_edge_sum(t) for t in step.terms)


def _is_edge_sum(term: Term) -> bool:
    return isinstance(term.operation, EdgeSum)


def _apart(steps: Iterable[Step]) -> Iterable[Step]:
    """The same steps, where what is summed over edges and what comes from atoms are in steps of their own."""
    for step in steps:
        summed = tuple(t for t in step.terms if _is_edge_sum(t))
        if step.out.space != "atom" or len(summed) in (0, len(step.terms)):
            yield step
            continue
        partial = Value(f"{step.out.name}#edges", "atom", step.out.size)
        yield Step(partial, summed)
        others = tuple(t for t in step.terms if not _is_edge_sum(t))
        yield Step(step.out, (identity(step.out, partial.name), *others))
