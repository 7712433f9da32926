"""The parts of a Program that a lowering treats differently: what runs once, on edges, on atoms, after sums over atoms.

Steps between parameters only run once, in NumPy. The others alternate between edges and atoms in *phases*: edge values
get even phases, atom values and sums over atoms odd ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import EdgeSum, Mix, Nearest, PairTable
from etn_gpu.plan.program import Program, Step, Value, identity

_SUMMED = "#summed"


def pair_steps(body: Sequence[Step]) -> list[Step]:
    """The steps that bring numbers of pairs of species, and marks of nearest neighbours, to the edges."""
    found = [s for s in body if any(isinstance(t.operation, PairTable | Nearest) for t in s.terms)]
    if mixed := [s.out.name for s in found if len({type(t.operation) for t in s.terms}) > 1]:
        raise BackendError(f"the values {mixed} are numbers of pairs and something else: expected steps of their own")
    made = {s.out.name for s in body}
    if wrong := [s.out.name for s in found if any(n in made for t in s.terms for n in t.operands)]:
        raise BackendError(f"the values {wrong} take numbers of pairs from what the Program computes; only inputs do")
    return found


def marks_nearest(step: Step) -> bool:
    """Whether a step marks nearest neighbours; another of :func:`pair_steps` brings numbers of pairs of species."""
    return any(isinstance(t.operation, Nearest) for t in step.terms)


def merges_neighbours(program: Program) -> bool:
    """Whether sums over edges do not tell the species of neighbours apart."""
    return any(isinstance(t.operation, EdgeSum) and t.operation.merged for s in program.steps for t in s.terms)


def number_phases(program: Program, body: Sequence[Step]) -> dict[str, int]:
    """Phase of each batched value: even for edges, odd for all others; a value comes after all that it depends on."""
    values = program.values | {s.out.name: s.out for s in body}
    phase = {v.name: 0 if v.space == "edge" else 1 for v in program.inputs if v.space != "param"}
    for step in body:
        parity = 0 if step.out.space == "edge" else 1
        earliest = max((phase[n] for t in step.terms for n in t.operands if values[n].space != "param"), default=0)
        phase[step.out.name] = earliest + (earliest + parity) % 2
    return phase


def chosen_edge_steps(body: Sequence[Step], wanted: set[str]) -> tuple[list[Step], set[str]]:
    """The edge steps that the values ``wanted`` depend on, and the names of all values that these need."""
    needed = set(wanted)
    chosen: list[Step] = []
    for step in reversed(body):
        if step.out.space == "edge" and step.out.name in needed:
            chosen.insert(0, step)
            needed |= {n for t in step.terms for n in t.operands}
    return chosen, needed


@lru_cache(maxsize=64)
def split(program: Program) -> tuple[tuple[Step, ...], tuple[Step, ...], tuple[Step, ...]]:
    """Parameter steps before the sum over atoms, everything batched, parameter steps after the sum."""
    values = program.values
    before: list[Step] = []
    body: list[Step] = []
    after: list[Step] = []
    reduced: set[str] = set()
    for step in program.steps:
        if step.out.space != "param":
            body.append(step)
            continue
        summing = tuple(t for t in step.terms if any(values[n].space != "param" for n in t.operands))
        others = tuple(t for t in step.terms if t not in summing)
        if any(not (isinstance(t.operation, Mix) and t.slot == 0) for t in summing):
            raise BackendError(f"the value {step.out.name!r} is a sum over atoms, but not of a mixing")
        late = bool(summing) or any(n in reduced for t in others for n in t.operands)
        if summing:
            partial = Value(f"{step.out.name}{_SUMMED}", "param", step.out.size) if others else step.out
            body.append(Step(partial, summing))
            if others:
                after.append(Step(step.out, (identity(step.out, partial.name), *others)))
        else:
            (after if late else before).append(step)
        if late:
            reduced.add(step.out.name)
    if used := {n for s in body for t in s.terms for n in t.operands} & reduced:
        raise BackendError(f"the values {sorted(used)} are sums over atoms, used again inside a sum over atoms")
    return tuple(before), tuple(body), tuple(after)
