"""Tables: a Program as integers and floats that one compiled interpreter walks through.

The steps are split into *phases* that alternate between edges and atoms. A block of atoms goes through all phases at
once: an edge phase runs atom by atom on a few rows that stay in the first-level cache, an atom phase runs on all
atoms of the block. Edge values are not kept from one edge phase to the next: each phase recomputes those that it
needs. Steps between parameters only are not in the tables: they run once, in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cpu.emit import COLUMNS, LOAD_ATOM, LOAD_EDGE, ON_ATOMS, ON_EDGES, STORE_ATOM, STORE_EDGE, Emitter
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import EdgeSum, Mix
from etn_gpu.plan.program import Program, Step, Value, identity

Columns = dict[str, tuple[int, int]]
NEVER = 10**9
SUMMED = "#summed"


@dataclass(frozen=True)
class Tables:
    """The lowered Program. A row of ``phases``: kind, first instruction, end; columns: (offset, size) by name."""

    code: NDArray[np.int64]
    scales: NDArray[np.float64]
    constants: NDArray[np.float64]
    phases: NDArray[np.int64]
    groups: NDArray[np.int64]
    entries: NDArray[np.int64]
    values: NDArray[np.float64]
    edge_rows: int
    atom_rows: int
    inputs: dict[str, Columns]
    outputs: dict[str, Columns]
    parameters: Columns
    gradients: Columns
    before: tuple[Step, ...]
    after: tuple[Step, ...]


@lru_cache(maxsize=64)
def lower(program: Program) -> Tables:
    """Tables of ``program``; BackendError when it holds something that this backend does not do."""
    return _Lowering(program).run()


def column_layout(values: Iterable[Value]) -> Columns:
    """(offset, size) of each value when they are laid side by side."""
    columns, offset = {}, 0
    for value in values:
        columns[value.name] = (offset, value.size)
        offset += value.size
    return columns


class _Lowering:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.before, self.body, self.after = self._split()
        self.phase = self._phases()
        inputs = [v for v in program.inputs if v.space == "param"]
        parameters = column_layout([*inputs, *(s.out for s in self.before)])
        gradients = column_layout([s.out for s in self.body if s.out.space == "param"])
        self.emit = Emitter(parameters, gradients)
        self.inputs = {s: column_layout(v for v in program.inputs if v.space == s) for s in ("edge", "atom")}
        outputs = [Value(name, program.values[v].space, program.values[v].size) for name, v in program.outputs]
        self.outputs = {s: column_layout(v for v in outputs if v.space == s) for s in ("edge", "atom")}
        self.parameters, self.gradients = parameters, gradients
        self.last_use = self._last_uses()

    def run(self) -> Tables:
        phases: list[tuple[int, int, int]] = []
        for name, (column, size) in self.inputs["atom"].items():
            self.emit.add(LOAD_ATOM, 1.0, self.emit.atoms.allocate(name, size), size, column)
            self._store_atom(name)
        for phase in range(max([self.phase[s.out.name] for s in self.body], default=0) + 1):
            start = 0 if phase == 0 else len(self.emit.code)
            if phase % 2:
                self._atom_phase(phase)
                phases.append((ON_ATOMS, start, len(self.emit.code)))
            else:
                for step in self._summed(phase):
                    self.emit.zero(self.emit.atoms, step.out)
                middle = len(self.emit.code)
                self._edge_phase(phase)
                phases += [(ON_ATOMS, start, middle), (ON_EDGES, middle, len(self.emit.code))]
        e = self.emit
        return Tables(
            np.array(e.code, np.int64).reshape(-1, COLUMNS),
            np.array(e.scales, np.float64),
            np.array([*e.constants, 0.0]),
            np.array(phases, np.int64),
            np.array(e.groups, np.int64).reshape(-1, 3),
            np.array(e.entries, np.int64).reshape(-1, 2),
            np.array(e.values, np.float64),
            e.edges.count,
            e.atoms.count,
            self.inputs,
            self.outputs,
            self.parameters,
            self.gradients,
            tuple(self.before),
            tuple(self.after),
        )

    def _split(self) -> tuple[list[Step], list[Step], list[Step]]:
        """Parameter steps before the sum over atoms, everything batched, parameter steps after the sum."""
        values = self.program.values
        before: list[Step] = []
        body: list[Step] = []
        after: list[Step] = []
        reduced: set[str] = set()
        for step in self.program.steps:
            if step.out.space != "param":
                body.append(step)
                continue
            summing = tuple(t for t in step.terms if any(values[n].space != "param" for n in t.operands))
            others = tuple(t for t in step.terms if t not in summing)
            if any(not (isinstance(t.operation, Mix) and t.slot == 0) for t in summing):
                raise BackendError(f"the value {step.out.name!r} is a sum over atoms, but not of a mixing")
            late = bool(summing) or any(n in reduced for t in others for n in t.operands)
            if summing:
                partial = Value(f"{step.out.name}{SUMMED}", "param", step.out.size) if others else step.out
                body.append(Step(partial, summing))
                if others:
                    after.append(Step(step.out, (identity(step.out, partial.name), *others)))
            else:
                (after if late else before).append(step)
            if late:
                reduced.add(step.out.name)
        if used := {n for s in body for t in s.terms for n in t.operands} & reduced:
            raise BackendError(f"the values {sorted(used)} are sums over atoms, used again inside a sum over atoms")
        return before, body, after

    def _phases(self) -> dict[str, int]:
        """Edge values get even phases, all others odd ones; a value comes after all that it depends on."""
        values = self.program.values
        phase = {v.name: 0 if v.space == "edge" else 1 for v in self.program.inputs if v.space != "param"}
        for step in self.body:
            parity = 0 if step.out.space == "edge" else 1
            earliest = max((phase[n] for t in step.terms for n in t.operands if values[n].space != "param"), default=0)
            phase[step.out.name] = earliest + (earliest + parity) % 2
        return phase

    def _last_uses(self) -> dict[str, tuple[int, int]]:
        """(phase, position) of the last use of each atom value; NEVER for what edge phases read."""
        values = self.program.values
        last: dict[str, tuple[int, int]] = {}
        for position, step in enumerate(self.body):
            here = (NEVER, 0) if step.out.space == "edge" else (self.phase[step.out.name], position)
            for name in (n for t in step.terms for n in t.operands):
                if values[name].space == "atom":
                    last[name] = max(last.get(name, (0, 0)), here)
        return last

    def _atom_phase(self, phase: int) -> None:
        emit, values = self.emit, self.program.values
        for position, step in enumerate(self.body):
            if self.phase[step.out.name] != phase or step.out.space == "edge":
                continue
            if step.out.space == "atom" and step.out.name not in emit.atoms.at:
                emit.zero(emit.atoms, step.out)
            for term in step.terms:
                if not isinstance(term.operation, EdgeSum):
                    emit.term(term, step.out)
            if step.out.space == "atom":
                self._store_atom(step.out.name)
            for name in {n for t in step.terms for n in t.operands} & emit.atoms.at.keys():
                if self.last_use[name] == (phase, position):
                    emit.atoms.release(name, values[name].size)

    def _store_atom(self, value: str) -> None:
        """Store an atom value under each output name that it has."""
        for name, (column, size) in self.outputs["atom"].items():
            if self.program.output_names[name] == value:
                self.emit.add(STORE_ATOM, 1.0, self.emit.atoms.at[value], size, column)

    def _summed(self, phase: int) -> list[Step]:
        """Atom values that the edge phase sums into."""
        return [
            s
            for s in self.body
            if s.out.space == "atom"
            and self.phase[s.out.name] == phase + 1
            and any(isinstance(t.operation, EdgeSum) for t in s.terms)
        ]

    def _edge_phase(self, phase: int) -> None:
        emit, values = self.emit, self.program.values
        summed = [(s.out, t) for s in self._summed(phase) for t in s.terms if isinstance(t.operation, EdgeSum)]
        outputs = [(n, v) for n, v in self.program.outputs if values[v].space == "edge" and self.phase[v] == phase]
        needed = {v for _, v in outputs} | {n for _, t in summed for n in t.operands}
        chosen: list[Step] = []
        for step in reversed(self.body):
            if step.out.space == "edge" and step.out.name in needed:
                chosen.insert(0, step)
                needed |= {n for t in step.terms for n in t.operands}
        emit.edges.restart()
        for name, (column, size) in self.inputs["edge"].items():
            if name in needed:
                emit.add(LOAD_EDGE, 1.0, emit.edges.allocate(name, size), size, column)
        for step in chosen:
            emit.zero(emit.edges, step.out)
            for term in step.terms:
                emit.term(term, step.out)
        for out, term in summed:
            emit.term(term, out)
        for name, value in outputs:
            emit.add(STORE_EDGE, 1.0, emit.edges.at[value], values[value].size, self.outputs["edge"][name][0])
