"""ProgramBuilder: names, common steps, and only the steps that are needed."""

from __future__ import annotations

import pytest

from etn_gpu.errors import PlanError
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.operations import Constant, Copy, CopyBlock

COPY = Copy((2, 2), (CopyBlock((0, 0), (2, 1, 1), ((1, 0, 0), (1, 0, 0))),))


def copy_of(name: str, scale: float = 1.0) -> tuple[Term, ...]:
    return (Term(COPY, 1, (name,), scale),)


def test_equal_steps_are_made_once() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 2)
    first = builder.step("first", "atom", copy_of("x"))
    assert builder.step("second", "atom", copy_of("x")) is first
    assert builder.step("second", "atom", copy_of("x", 2.0)).name == "second"
    assert [s.out.name for s in builder.build({"y": "first", "z": "second"})] == ["first", "second"]


def test_spaces_keep_constants_apart() -> None:
    builder = ProgramBuilder()
    one = (Term(Constant(1, 0, 1, 1.0), 0, ()),)
    assert builder.step("one", "atom", one) != builder.step("one", "edge", one)


def test_a_hint_that_is_taken_is_numbered() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 2)
    names = [builder.step("x", "atom", copy_of("x", float(k))).name for k in range(3)]
    assert names == ["x.1", "x.2", "x.3"]


def test_steps_of_a_program_are_found_again() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 2)
    builder.step("y", "atom", copy_of("x"))
    program = builder.build({"y": "y"})
    more = ProgramBuilder(program)
    assert more.step("again", "atom", copy_of("x")) == program.values["y"]
    assert more.value("x") == program.values["x"]
    assert more.build({"y": "y"}) == program


def test_only_what_the_outputs_need_is_kept() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 2)
    builder.input("idle", "atom", 2)
    builder.step("y", "atom", copy_of("x"))
    builder.step("unused", "atom", copy_of("idle"))
    program = builder.build({"y": "y"})
    assert [v.name for v in program.inputs] == ["x"]
    assert [s.out.name for s in program] == ["y"]
    assert [v.name for v in builder.build({"y": "y"}, keep_inputs=["idle"]).inputs] == ["x", "idle"]


def test_an_empty_program() -> None:
    assert ProgramBuilder().build({}) == Program((), (), ())


def test_an_input_defined_twice() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 2)
    with pytest.raises(PlanError, match="the value 'x' is defined twice"):
        builder.input("x", "edge", 1)


def test_a_step_without_terms() -> None:
    with pytest.raises(PlanError, match="the step 'y' has no terms"):
        ProgramBuilder().step("y", "atom", ())


def test_a_value_that_is_not_there() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 2)
    with pytest.raises(PlanError, match=r"there is no value 'y'; there are \['x'\]"):
        builder.value("y")
