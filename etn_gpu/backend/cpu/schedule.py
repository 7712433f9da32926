"""The order of the terms of an atom phase: every value is made when the first term needs it and dropped after the last.

What a block of atoms holds at a time then fits into the first-level cache, which is worth more than flops: a value
that is a cheap mixing of another one is even made anew for each term that reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass

from etn_gpu.plan.operations import Mix
from etn_gpu.plan.program import Step, Term

#: Largest number of products per component of a mixing that is repeated rather than kept.
CHEAP = 8


@dataclass(frozen=True)
class Open:
    """Room for the output of a step, which its terms then fill."""

    step: Step


@dataclass(frozen=True)
class Run:
    """One term of an open step."""

    step: Step
    term: Term


@dataclass(frozen=True)
class Close:
    """The output of a step is complete."""

    step: Step


@dataclass(frozen=True)
class Release:
    """The value is not needed any more, or will be made anew."""

    name: str


Event = Open | Run | Close | Release


def schedule(steps: list[Step], kept: Set[str]) -> list[Event]:
    """Events that make all values in ``kept`` and all sums over atoms; values of other phases are always there."""
    return _Scheduler(steps, kept).events()


class _Scheduler:
    def __init__(self, steps: list[Step], kept: Set[str]) -> None:
        self._steps = steps
        self._made_here = {s.out.name: s for s in steps}
        self._left = Counter(n for s in steps for t in s.terms for n in t.operands)
        self._cheap = {s.out.name for s in steps if _cheap(s) and self._left[s.out.name] > 1} - kept
        self._kept = kept | {n for s in steps if s.out.name in self._cheap for n in s.terms[0].operands}
        self._there: set[str] = set()
        self._known: set[str] = set()
        self._events: list[Event] = []
        self._wanted = kept

    def events(self) -> list[Event]:
        for step in self._steps:
            if step.out.space == "param" or step.out.name in self._wanted:
                self._make(step.out.name)
        return self._events

    def _make(self, name: str) -> None:
        if name not in self._made_here or name in self._there:
            return
        step = self._made_here[name]
        first = name not in self._known
        self._known.add(name)
        self._events.append(Open(step))
        for number, term in enumerate(step.terms):
            for operand in term.operands:
                self._make(operand)
            self._events.append(Run(step, term))
            following = step.terms[number + 1].operands if number + 1 < len(step.terms) else ()
            if first:
                self._left.subtract(term.operands)
            for operand in dict.fromkeys(term.operands):
                self._drop(operand, operand in following)
        self._events.append(Close(step))
        self._there.add(name)

    def _drop(self, name: str, used_next: bool) -> None:
        """Release a value that nothing reads any more, or that is cheap to make again when it is read next."""
        if name not in self._there or name in self._kept:
            return
        if self._left[name] == 0 or (name in self._cheap and not used_next):
            self._there.discard(name)
            self._events.append(Release(name))


def _cheap(step: Step) -> bool:
    """A single mixing with the same weights for all atoms and few products per component."""
    (term, *others) = step.terms
    operation = term.operation
    return (
        not others
        and isinstance(operation, Mix)
        and term.slot == 2
        and operation.species_stride == 0
        and all(b.cols <= CHEAP for b in operation.blocks)
    )
