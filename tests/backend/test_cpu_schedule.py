"""The order of the terms of an atom phase: nothing is read before it is made or after it is dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etn_gpu.backend.cpu.schedule import Close, Open, Release, Run, schedule
from etn_gpu.backend.phases import split
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.operations import Couple, CoupleBlock, EdgeSum, Mix, MixBlock
from etn_gpu.plan.program import Step
from etn_gpu.potential.programs import Programs

MIX = Mix((4, 2, 2), (MixBlock(0, 2, 2, 2, 1, 0, 0),))
DOT = Couple((2, 2, 1), (CoupleBlock((0, 0, 0), (0, 0, 0), (2, 1, 1), ((1, 0, 0), (1, 0, 0), (0, 0, 0))),))


def atom_steps(program: Program) -> list[Step]:
    """Everything but edge steps and sums over edges, as one phase."""
    _, body, _ = split(program)
    sums = {s.out.name for s in body for t in s.terms if isinstance(t.operation, EdgeSum) and t.slot == 2}
    return [s for s in body if s.out.space != "edge" and s.out.name not in sums]


@pytest.mark.parametrize("name", ["energy", "gradient", "parameter_gradient", "hessian_vector"])
def test_every_value_is_there_when_it_is_read(potential: Callable[[int], Programs], name: str) -> None:
    program: Program = getattr(potential(3), name)
    steps = atom_steps(program)
    made = {s.out.name for s in steps}
    read_elsewhere = {n for s in program.steps if s not in steps for t in s.terms for n in t.operands}
    kept = (read_elsewhere | set(program.output_names.values())) & made
    there: set[str] = set()
    filled: dict[str, list[Term]] = {}
    for event in schedule(steps, kept):
        if isinstance(event, Open):
            assert event.step.out.name not in there
            filled[event.step.out.name] = []
        elif isinstance(event, Run):
            assert {n for n in event.term.operands if n in made} <= there
            filled[event.step.out.name].append(event.term)
        elif isinstance(event, Close):
            assert filled.pop(event.step.out.name) == list(event.step.terms)
            there.add(event.step.out.name)
        else:
            assert event.name not in kept
            there.remove(event.name)
    assert not filled
    assert kept <= there
    assert all(s.out.name in there for s in steps if s.out.space == "param")


def test_cheap_mixings_are_made_again_where_others_are_kept() -> None:
    builder = ProgramBuilder()
    builder.input("w", "param", 4)
    builder.input("x", "atom", 2)
    builder.step("cheap", "atom", (Term(MIX, 2, ("w", "x")),))
    builder.step("dear", "atom", (Term(MIX, 2, ("w", "x")), Term(MIX, 1, ("w", "x"))))
    builder.step("first", "atom", (Term(DOT, 2, ("cheap", "dear")),))
    builder.step("second", "atom", (Term(DOT, 2, ("cheap", "dear"), 2.0),))
    program = builder.build({"first": "first", "second": "second"})
    events = schedule(list(program.steps), {"first", "second"})
    opened = [e.step.out.name for e in events if isinstance(e, Open)]
    assert opened.count("cheap") == 2
    assert opened.count("dear") == 1
    assert [e.name for e in events if isinstance(e, Release)].count("dear") == 1
