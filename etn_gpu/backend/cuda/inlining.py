"""Which values of an atom stage are never held: the steps that read them compute them again, in registers.

Most components of a Program belong to products of Clebsch-Gordan couplings that one mixing reads, and to the
cotangents of these, which one mixing makes and two couplings read. Held, they would fill the shared memory several
times over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from math import prod

from etn_gpu.backend.cuda.operands import all_multiplets, multiplets, term_cuts
from etn_gpu.backend.cuda.pieces import ACCUMULATORS
from etn_gpu.plan.operations import Couple, Mix
from etn_gpu.plan.program import Step, Term

#: How often a component may be computed, at most.
MOST_READS = 4
#: Products for a component of a mixing that is computed where it is read, at most.
MOST_COLUMNS = 8


def inlined(steps: Sequence[Step], kept: Set[str]) -> dict[str, Step]:
    """The steps whose values are computed where they are read, by the name of the value; none of ``kept``.

    Such a value is a sum of couplings that only mixings read, or a sum of mixings that mixings and couplings read, and
    what it is computed from is held.
    """
    readers: dict[str, list[tuple[Term, int]]] = defaultdict(list)
    for step in steps:
        for term in step.terms:
            for slot, name in zip(term.operand_slots, term.operands, strict=True):
                readers[name].append((term, slot))
    candidates = [s for s in steps if s.out.name not in kept and _suits(s, readers[s.out.name])]
    chosen: dict[str, Step] = {}
    ends: set[str] = set()
    for step in sorted(candidates, key=lambda s: -s.out.size):
        operands = {name for term in step.terms for name in term.operands}
        if step.out.name not in ends and not operands & chosen.keys():
            chosen[step.out.name] = step
            ends |= operands
    return chosen


def _suits(step: Step, readers: list[tuple[Term, int]]) -> bool:
    if step.out.space != "atom" or not readers or not step.out.size:
        return False
    kinds = {type(term.operation) for term, _ in readers}
    if all(isinstance(t.operation, Couple) for t in step.terms):
        fits = kinds == {Mix} and all(_once(_coupled_components(t)) for t in step.terms)
    elif all(isinstance(t.operation, Mix) for t in step.terms):
        fits = kinds <= {Mix, Couple} and all(_few(t) and _once(_mixed_components(t)) for t in step.terms)
    else:
        return False
    if not fits or sum(_reads(term, slot) for term, slot in readers) > MOST_READS * step.out.size:
        return False
    cuts = {cut for term in step.terms for cut in term_cuts(term)}
    return all(_between(cuts, term, slot) for term, slot in readers)


def _coupled_components(term: Term) -> Iterable[int]:
    return (c for m in all_multiplets(term) for c in range(m.first, m.first + m.width))


def _mixed_components(term: Term) -> Iterable[int]:
    assert isinstance(term.operation, Mix)
    for b in term.operation.blocks:
        first, rows = (b.target, b.rows) if term.slot == 2 else (b.source, b.cols)
        yield from range(first, first + rows * b.dim)


def _once(components: Iterable[int]) -> bool:
    listed = list(components)
    return len(listed) == len(set(listed))


def _few(term: Term) -> bool:
    assert isinstance(term.operation, Mix)
    columns = [b.cols if term.slot == 2 else b.rows for b in term.operation.blocks]
    return term.slot > 0 and max(columns, default=0) <= MOST_COLUMNS


def _reads(term: Term, slot: int) -> int:
    """How many components of the operand in ``slot`` a term reads, each as often as it is read."""
    operation = term.operation
    if isinstance(operation, Couple):
        return sum(prod(b.counts) * (2 * b.ls[slot] + 1) for b in operation.blocks)
    assert isinstance(operation, Mix)
    total = 0
    for b in operation.blocks:
        own, others = (b.cols, b.rows) if slot == 1 else (b.rows, b.cols)
        together = max(1, ACCUMULATORS // b.dim)
        total += own * b.dim * -(-others // together)
    return total


def _between(cuts: set[int], term: Term, slot: int) -> bool:
    """Whether no multiplet that a coupling reads reaches over a cut; mixings read any part of a row."""
    operation = term.operation
    if not isinstance(operation, Couple):
        return True
    column = 1 + term.operand_slots.index(slot)
    for b in operation.blocks:
        for first in set(multiplets(b, term.slot)[:, column].tolist()):
            if any(c in cuts for c in range(first + 1, first + 2 * b.ls[slot] + 1)):
                return False
    return True
