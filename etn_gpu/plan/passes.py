"""A Program in which atoms hear of their neighbours' values becomes several that need not: its passes.

Everything between two gathers acts on one atom at a time, with its own edges, and runs like any other Program. Between
passes stand *exchanges*: a value of all atoms is brought to the edges that lead to them, or, which is the adjoint, what
lies on those edges is summed for each atom. So a backend that runs Programs without gathers, and exchanges, runs all.

A value that several passes need is either kept in memory or computed again from what is there. Which of them costs
least is a minimum cut, with one node for "the pass has it" and one for "the pass computes it" (the closure problem:
J.-C. Picard, Manage. Sci. 22, 1268 (1976)).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from etn_gpu.plan.count import flops
from etn_gpu.plan.operations import EdgeSum, Gather
from etn_gpu.plan.program import Program, Step, Term, Value, identity, used_values

#: Edges of an atom, and operations that take as long as to keep a number and to fetch it again.
EDGES, KEEP = 40, 40
#: Operations of a step for each number that it writes, beside those that :func:`~etn_gpu.plan.count.flops` counts.
WRITE = 2
#: More than all else together.
_NEVER = 2**30


@dataclass(frozen=True)
class Exchange:
    """Makes ``target`` from ``source``: on edges from what their neighbours have, or, with ``back``, on atoms the sum
    over the edges that lead to them."""

    source: str
    target: Value

    @property
    def back(self) -> bool:
        """Whether it goes from edges to atoms."""
        return self.target.space == "atom"


@dataclass(frozen=True)
class Pass:
    """What is exchanged before a pass, and its Program. Inputs and outputs have the names of the values."""

    exchanges: tuple[Exchange, ...]
    program: Program


@dataclass(frozen=True)
class Passes:
    """The passes of a Program, and the ``closing`` steps between parameters, after the sums over atoms of all."""

    passes: tuple[Pass, ...]
    closing: tuple[Step, ...]


@lru_cache(maxsize=64)
def passes(program: Program) -> Passes:
    """The passes of ``program``, in order."""
    return _Splitting(program).run()


def parts_of(program: Program) -> tuple[Program, ...]:
    """The Programs without gathers that ``program`` consists of: itself where it has none."""
    return tuple(one.program for one in passes(program).passes) if program.gathers else (program,)


class _Splitting:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.values = dict(program.values)
        self.level = {v.name: 0 for v in program.inputs if v.space != "param"}
        self.exchanges: dict[tuple[str, int], tuple[int, Exchange]] = {}
        #: Batched steps, with the targets of exchanges in the place of gathers.
        self.steps: dict[str, Step] = {}
        #: Steps between parameters before any sum over atoms; sums over atoms by pass; what follows them.
        self.before: list[Step] = []
        self.sums: dict[int, list[Step]] = {}
        self.closing: list[Step] = []
        late: set[str] = set()
        for step in program.steps:
            if step.out.space != "param":
                self._batched(step)
            elif any(n in self.level or n in late for t in step.terms for n in t.operands):
                self._summed(step)
                late.add(step.out.name)
            else:
                self.before.append(step)
        self.last = max(self.level.values(), default=0)

    def _batched(self, step: Step) -> None:
        """A step on edges or atoms. Terms of an earlier pass are summed there, if they are on edges or over them."""
        by_level: dict[int, list[Term]] = {}
        for term in step.terms:
            if isinstance(term.operation, Gather):
                level, name = self._exchange(term)
                term = replace(identity(step.out, name), scale=term.scale)
            else:
                level = max([0, *(self.level.get(n, 0) for n in term.operands)])
            by_level.setdefault(level, []).append(term)
        last = max(by_level)
        terms = by_level.pop(last)
        for level, earlier in sorted(by_level.items()):
            if step.out.space == "edge" or any(isinstance(term.operation, EdgeSum) for term in earlier):
                part = Value(f"{step.out.name}#{level}", step.out.space, step.out.size)
                self.values[part.name] = part
                self.level[part.name] = level
                self.steps[part.name] = Step(part, tuple(earlier))
                earlier = [identity(step.out, part.name)]
            terms += earlier
        self.level[step.out.name] = last
        self.steps[step.out.name] = Step(step.out, tuple(terms))

    def _exchange(self, term: Term) -> tuple[int, str]:
        """The pass before which the operand of a gather or of its adjoint is exchanged, and the name of the result."""
        (source,) = term.operands
        key = (source, term.slot)
        if key not in self.exchanges:
            space = "edge" if term.slot == 1 else "atom"
            target = Value(f"{source}@{space}", space, term.operation.sizes[0])
            self.exchanges[key] = (self.level[source] + 1, Exchange(source, target))
            self.values[target.name] = target
            self.level[target.name] = self.level[source] + 1
        level, exchange = self.exchanges[key]
        return level, exchange.target.name

    def _summed(self, step: Step) -> None:
        """A sum over atoms, cut into one for each pass that has to do with it."""
        by_level: dict[int, list[Term]] = {}
        terms = []
        for term in step.terms:
            found = [self.level[n] for n in term.operands if n in self.level]
            if found:
                by_level.setdefault(max(found), []).append(term)
            else:
                terms.append(term)
        for level, own in by_level.items():
            partial = Value(f"{step.out.name}#{level}", "param", step.out.size)
            self.sums.setdefault(level, []).append(Step(partial, tuple(own)))
            terms.append(identity(step.out, partial.name))
        self.closing.append(Step(step.out, tuple(terms)))

    def run(self) -> Passes:
        kept: dict[int, set[str]] = {level: set() for level in range(self.last + 1)}
        found: list[Pass] = []
        for level in range(self.last, -1, -1):
            one, needed = self._pass(level, kept[level])
            found.insert(0, one)
            for name in needed:
                kept[self.level[name]].add(name)
        names = {value for _, value in self.program.outputs if self.values[value].space == "param"}
        wanted = used_values([*self.before, *self.closing], names)
        closing = tuple(s for s in (*self.before, *self.closing) if s.out.name in wanted)
        return Passes(tuple(found), closing)

    def _pass(self, level: int, kept: set[str]) -> tuple[Pass, set[str]]:
        """A pass and the values of earlier ones that have to be kept for it."""
        outputs = {value for _, value in self.program.outputs if self.level.get(value) == level}
        outputs |= {e.source for _, e in self.exchanges.values() if self.level[e.source] == level} | kept
        sums = self.sums.get(level, [])
        new = {n for n in self.steps if self.level[n] == level}
        wanted = used_values(
            [self.steps[n] for n in self.steps if n in new],
            {*outputs, *(n for s in sums for t in s.terms for n in t.operands)},
        )
        merged = {m for n in wanted & new for m in _merges(self.steps[n])}
        old = {n for n in wanted if n in self.steps and n not in new}
        again = self._computed_again(old, merged or {False})
        chosen = [s for n, s in self.steps.items() if n in again or n in wanted & new]
        read = {n for s in (*chosen, *sums) for t in s.terms for n in t.operands}
        made = {s.out.name for s in chosen}
        needed = {n for n in read if n in self.steps and n not in made}
        before_names = used_values(self.before, read)
        steps = (*(s for s in self.before if s.out.name in before_names), *chosen, *sums)
        written = {s.out.name for s in steps}
        read |= before_names | outputs
        inputs = tuple(v for v in self.values.values() if v.name in read and v.name not in written)
        names = [*sorted(outputs), *(s.out.name for s in sums)]
        program = Program(inputs, steps, tuple((n, n) for n in names))
        exchanges = tuple(e for at, e in self.exchanges.values() if at == level)
        return Pass(exchanges, program), needed

    def _computed_again(self, wanted: set[str], merged: set[bool]) -> set[str]:
        """Which values of earlier passes are computed again, so that ``wanted`` are there at the least cost."""
        if not wanted:
            return set()
        used = used_values(self.steps.values(), wanted)
        names = [n for n in self.steps if n in used]
        has = {n: 2 + 2 * k for k, n in enumerate(names)}
        edges: list[tuple[int, int, int]] = [(0, has[n], _NEVER) for n in names if n in wanted]
        for n in names:
            step = self.steps[n]
            columns = EDGES if step.out.space == "edge" else 1
            computes = has[n] + 1
            edges.append((has[n], computes, KEEP * columns * step.out.size))
            allowed = set(_merges(step)) <= merged
            edges.append((computes, 1, _cost(step) if allowed else _NEVER))
            operands = {o for t in step.terms for o in t.operands}
            edges += [(computes, has[o], _NEVER) for o in operands if o in has]
        on_the_side = _source_side(edges, 2 + 2 * len(names))
        return {n for n in names if has[n] + 1 in on_the_side}


def _merges(step: Step) -> list[bool]:
    return [t.operation.merged for t in step.terms if isinstance(t.operation, EdgeSum)]


def _cost(step: Step) -> int:
    """Operations that a step takes for an atom with its edges."""
    total = float(WRITE * step.out.size * (EDGES if step.out.space == "edge" else 1))
    for term in step.terms:
        on_edges = step.out.space == "edge" or isinstance(term.operation, EdgeSum)
        total += flops(term.operation) * (EDGES if on_edges else 1)
    return int(min(total, _NEVER - 1))


def _source_side(edges: Iterable[tuple[int, int, int]], n_nodes: int) -> set[int]:
    """The nodes on the side of the source, 0, of the minimum cut between it and the sink, 1."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    tails, heads, capacities = map(np.array, zip(*edges, strict=True))
    graph = csr_array((capacities.astype(np.int32), (tails, heads)), shape=(n_nodes, n_nodes))
    left = (graph - maximum_flow(graph, 0, 1).flow).tocsr()
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    order: Sequence[int] = breadth_first_order(left, 0, return_predecessors=False).tolist()
    return set(order)
