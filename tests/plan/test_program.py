"""Programs as data: printing, equality, digests, JSON, and every inconsistency that is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etn_gpu.errors import PlanError
from etn_gpu.plan import Program, ProgramBuilder, Step, Term, Value, jvp, vjp
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    Couple,
    CoupleBlock,
    EdgeSum,
    EdgeSumBlock,
    Fold,
    Functions,
    Harmonics,
    Mix,
    MixBlock,
    Operation,
    PairTable,
    Products,
    Radial,
    View,
)

ONCE = ((0, 0, 0),) * 3
COUPLE = Couple((3, 3, 1), (CoupleBlock((1, 1, 0), (0, 0, 0), (1, 1, 1), ONCE),))
COPY = Copy((2, 2), (CopyBlock((0, 0), (2, 1, 1), ((1, 0, 0), (1, 0, 0))),))
MIX = Mix((1, 1, 1), (MixBlock(0, 1, 1, 1, 1, 0, 0),))
EDGE_SUM = EdgeSum((1, 1, 2), (EdgeSumBlock(0, 1, 0, 1, 0),), 2)
FOLD = Fold((2, 2, 1), (View("a", 0, (2,), (1,)), View("a", 0, (2,), (1,)), View("", 0, (), ())))


def single(operation: Operation, slot: int, spaces: tuple[str, ...]) -> Program:
    """A Program of one term, with an input for each other slot."""
    values = [Value(f"in{s}", space, operation.sizes[s]) for s, space in enumerate(spaces)]
    inputs = tuple(v for s, v in enumerate(values) if s != slot)
    out = Value("out", spaces[slot], operation.sizes[slot])
    step = Step(out, (Term(operation, slot, tuple(v.name for v in inputs)),))
    return Program(inputs, (step,), (("out", "out"),))


def test_listing() -> None:
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    builder.step("s", "edge", (Term(COUPLE, 2, ("x", "x"), 0.5), Term(Constant(1, 0, 1, 1.0), 0, ())))
    builder.step("f", "edge", (Term(Radial(2, 5.0, 0.0, order=1), 1, ("s",)),))
    assert str(builder.build({"answer": "f"})).split("\n") == [
        "inputs  x[edge 3]",
        "   0    s[edge 1] = 0.5 couple->z(a=x, b=x) + constant->z()",
        "   1    f[edge 2] = radial^(1)->f(s=s)",
        "outputs answer = f",
    ]


def test_lookup(full_program: Program) -> None:
    assert full_program.output("energy") == Value("e", "atom", 1)
    assert full_program.values["x"] == Value("x", "edge", 3)
    assert [step.out.name for step in full_program][:2] == ["s", "r"]
    assert full_program.n_species == 2
    assert single(COUPLE, 2, ("atom",) * 3).n_species is None
    with pytest.raises(PlanError, match=r"has no output 'forces'; its outputs are \['energy', 'message', 'weights'\]"):
        full_program.output("forces")


def test_programs_are_immutable(full_program: Program) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        full_program.steps = ()  # type: ignore[misc]


def test_json_round_trip_is_exact(full_program: Program, random_programs: Callable[[int], Program]) -> None:
    programs = [full_program, *map(random_programs, range(5))]
    programs.append(vjp(jvp(full_program, {"x": "dx"}), {"d_energy": "b"}, {"w": "g"}))
    for program in programs:
        again = Program.from_json(program.to_json())
        assert again == program
        assert again.to_json() == program.to_json()
        assert (again.digest, hash(again)) == (program.digest, hash(program))


def test_floats_survive_json() -> None:
    for scale in (0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308):
        program = Program((), (Step(Value("c", "atom", 1), (Term(Constant(1, 0, 1, 1.0), 0, (), scale),)),), ())
        assert Program.from_json(program.to_json()).steps[0].terms[0].scale == scale


def test_digest_depends_on_content_only(random_programs: Callable[[int], Program]) -> None:
    programs = [random_programs(seed) for seed in range(8)]
    assert len({p.digest for p in programs}) == len(set(programs)) == 8
    assert programs[3] == random_programs(3)
    assert programs[3].digest == random_programs(3).digest


def test_equal_programs_have_equal_digests_whatever_the_type_of_their_numbers() -> None:
    def constant(size: Any, scale: Any, value: Any) -> Program:
        term = Term(Constant(size, 0, size, value), 0, (), scale)
        return Program((), (Step(Value("c", "atom", size), (term,)),), (("c", "c"),))

    plain = constant(2, 3.0, 1.0)
    for other in (constant(2, 3, 1), constant(np.int64(2), np.float64(3), 1.0)):
        assert other == plain
        assert other.digest == plain.digest
        assert hash(other) == hash(plain)


def test_digest_is_the_same_in_another_process(full_program: Program) -> None:
    script = "import sys; from etn_gpu.plan import Program; print(Program.from_json(sys.stdin.read()).digest)"
    process = subprocess.run(
        [sys.executable, "-c", script], input=full_program.to_json(), capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == full_program.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a serialised Program: Expecting value"),
        ("{", "is not a serialised Program"),
        ("[1, 2]", "this text holds a tuple, expected a Program"),
        ("3", "this text holds a int, expected a Program"),
        ('{"inputs": []}', "is not a serialised Program: 'type'"),
        ('{"type": "Pickle"}', "unknown class 'Pickle'"),
        ('{"type": "Program", "inputs": []}', "is not a serialised Program: .*missing"),
        (
            '{"type": "Program", "inputs": [], "steps": [], "outputs": [], "more": 1}',
            "unexpected keyword argument 'more'",
        ),
        ('{"type": "Program", "inputs": [7], "steps": [], "outputs": []}', "is not a serialised Program"),
        ('{"type": "Value", "name": "x", "space": "edge", "size": 3}', "holds a Value, expected a Program"),
        ('{"type": "Program", "inputs": [], "steps": [], "outputs": [["a", "b"]]}', "'b', which no step writes"),
    ],
)
def test_text_that_is_no_program(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Program.from_json(text)


def test_tables_in_a_file_are_checked(full_program: Program) -> None:
    data = json.loads(full_program.to_json())
    data["steps"][0]["terms"][0]["operation"]["blocks"][0]["offsets"][1] = 10**6
    with pytest.raises(PlanError, match=r"couple in 's' addresses the components 1000000\.\.1000002 of slot 'b'"):
        Program.from_json(json.dumps(data))


PAIRS = PairTable(2, 3)
PRODUCTS = Products((2, 2, 2), ((0, 1, 1, 2.0),))
FUNCTIONS = Functions((("variable",), ("exp", 0)), (1,))


@pytest.mark.parametrize(
    ("operation", "slot", "spaces"),
    [
        (COUPLE, 2, ("edge",) * 3),
        (COUPLE, 0, ("atom",) * 3),
        (COUPLE, 1, ("param",) * 3),
        (COPY, 1, ("param", "param")),
        (MIX, 2, ("param", "atom", "atom")),
        (MIX, 0, ("param", "atom", "atom")),
        (EDGE_SUM, 2, ("edge", "edge", "atom")),
        (EDGE_SUM, 0, ("edge", "edge", "atom")),
        (FOLD, 2, ("param",) * 3),
        (Radial(2, 5.0, 0.0), 1, ("edge", "edge")),
        (PAIRS, 1, ("param", "edge")),
        (PRODUCTS, 2, ("edge",) * 3),
        (PRODUCTS, 1, ("atom",) * 3),
        (FUNCTIONS, 1, ("edge", "edge")),
        (FUNCTIONS, 1, ("atom", "atom")),
        (Harmonics(2), 1, ("edge", "edge")),
        (Constant(2, 0, 2, 1.0), 0, ("param",)),
    ],
    ids=lambda item: getattr(item, "name", None),
)
def test_spaces_that_fit(operation: Operation, slot: int, spaces: tuple[str, ...]) -> None:
    assert single(operation, slot, spaces).output("out").space == spaces[slot]


@pytest.mark.parametrize(
    ("operation", "slot", "spaces"),
    [
        (COUPLE, 2, ("edge", "edge", "atom")),
        (COUPLE, 0, ("param", "atom", "atom")),
        (COPY, 1, ("edge", "atom")),
        (MIX, 2, ("param", "edge", "edge")),
        (MIX, 2, ("atom", "atom", "atom")),
        (MIX, 0, ("atom", "atom", "atom")),
        (EDGE_SUM, 2, ("edge", "edge", "edge")),
        (EDGE_SUM, 1, ("edge", "atom", "atom")),
        (FOLD, 2, ("atom",) * 3),
        (Radial(2, 5.0, 0.0), 1, ("atom", "atom")),
        (PAIRS, 1, ("param", "atom")),
        (PRODUCTS, 2, ("param",) * 3),
        (PRODUCTS, 0, ("edge", "atom", "atom")),
        (FUNCTIONS, 1, ("param", "param")),
        (FUNCTIONS, 1, ("edge", "atom")),
        (Harmonics(2), 1, ("edge", "atom")),
    ],
    ids=lambda item: getattr(item, "name", None),
)
def test_spaces_that_do_not_fit(operation: Operation, slot: int, spaces: tuple[str, ...]) -> None:
    with pytest.raises(PlanError, match=f"{operation.name} cannot join the spaces"):
        single(operation, slot, spaces)


X = Value("x", "atom", 2)
OUT = Value("out", "atom", 2)


@pytest.mark.parametrize(
    ("inputs", "steps", "outputs", "message"),
    [
        ((X, X), (), (), "the value 'x' is defined twice"),
        ((X,), (Step(X, (Term(COPY, 1, ("x",)),)),), (), "the value 'x' is defined twice"),
        ((Value("x", "bond", 2),), (), (), r"x\[bond 2\] needs a space among \('param', 'edge', 'atom'\)"),
        ((Value("x", "atom", -1),), (), (), r"x\[atom -1\] needs .* a size >= 0"),
        ((), (Step(OUT, (Term(COPY, 1, ("x",)),)),), (), "copy in 'out' reads 'x' before it is written"),
        ((), (Step(OUT, (Term(COPY, 1, ("out",)),)),), (), "copy in 'out' reads 'out' before it is written"),
        ((X,), (Step(OUT, (Term(COPY, 1, ("x", "x")),)),), (), r"copy takes 1 operands, got \('x', 'x'\)"),
        ((X,), (Step(OUT, (Term(COPY, 2, ("x",)),)),), (), r"copy has no slot 2; its slots are \('x', 'z'\)"),
        ((X,), (Step(OUT, (Term(COPY, -1, ("x",)),)),), (), "copy has no slot -1"),
        (
            (Value("x", "atom", 3),),
            (Step(OUT, (Term(COPY, 1, ("x",)),)),),
            (),
            r"slot 'x' has 2 components, but x\[atom 3\] was given",
        ),
        (
            (X,),
            (Step(Value("out", "atom", 5), (Term(COPY, 1, ("x",)),)),),
            (),
            r"copy writes 2 components into out\[atom 5\]",
        ),
        ((X,), (), (("y", "z"),), "output 'y' names the value 'z', which no step writes"),
        ((X,), (), (("y", "x"), ("y", "x")), r"these outputs are given more than once: \['y'\]"),
    ],
)
def test_inconsistent_programs(inputs: Any, steps: Any, outputs: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Program(inputs, steps, outputs)


@pytest.mark.parametrize(
    ("operation", "spaces", "message"),
    [
        (
            Couple((3, 3, 1), (CoupleBlock((1, 1, 0), (1, 0, 0), (1, 1, 1), ONCE),)),
            ("atom",) * 3,
            r"1\.\.3 of slot 'a'",
        ),
        (
            Couple((6, 3, 1), (CoupleBlock((1, 1, 0), (0, 0, 0), (3, 1, 1), ((1, 0, 0), (0, 0, 0), (0, 0, 0))),)),
            ("atom",) * 3,
            r"0\.\.8 of slot 'a', which has 6",
        ),
        (Copy((2, 2), (CopyBlock((0, 1), (2, 1, 1), ((1, 0, 0), (-2, 0, 0))),)), ("atom",) * 2, r"-1\.\.1 of slot 'z'"),
        (
            Mix((5, 3, 3), (MixBlock(0, 3, 2, 3, 1, 0, 0),)),
            ("param", "atom", "atom"),
            r"0\.\.5 of slot 'w', which has 5",
        ),
        (
            Mix((9, 3, 3), (MixBlock(0, 3, 2, 3, 1, 1, 0),)),
            ("param", "atom", "atom"),
            r"1\.\.3 of slot 'x', which has 3",
        ),
        (
            Mix((9, 3, 3), (MixBlock(0, 3, 2, 3, 1, 0, 2),)),
            ("param", "atom", "atom"),
            r"2\.\.3 of slot 'z', which has 3",
        ),
        (
            EdgeSum((1, 3, 5), (EdgeSumBlock(0, 1, 0, 3, 0),), 2),
            ("edge", "edge", "atom"),
            r"0\.\.5 of slot 'S', which has 5",
        ),
        (
            EdgeSum((1, 3, 6), (EdgeSumBlock(1, 1, 0, 3, 0),), 2),
            ("edge", "edge", "atom"),
            r"1\.\.1 of slot 'f', which has 1",
        ),
        (
            EdgeSum((1, 3, 6), (EdgeSumBlock(0, 1, 1, 3, 0),), 2),
            ("edge", "edge", "atom"),
            r"1\.\.3 of slot 'y', which has 3",
        ),
        (
            Fold((2, 1), (View("a", 1, (2,), (1,)), View("a", 0, (1,), (1,)))),
            ("param", "param"),
            r"1\.\.2 of slot 'p0', which has 2",
        ),
        (Constant(2, 1, 2, 1.0), ("atom",), r"1\.\.2 of slot 'z', which has 2"),
        (Constant(2, -1, 1, 1.0), ("atom",), r"-1\.\.-1 of slot 'z', which has 2"),
    ],
    ids=lambda item: getattr(item, "name", None),
)
def test_tables_stay_inside_their_values(operation: Operation, spaces: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlanError, match=rf"{operation.name} in 'out' addresses the components {message}"):
        single(operation, len(spaces) - 1, spaces)


def test_empty_blocks_address_nothing() -> None:
    operation = Copy((1, 1), (CopyBlock((9, 9), (0, 1, 1), ((1, 0, 0), (1, 0, 0))),))
    assert single(operation, 1, ("atom", "atom")).output("out").size == 1
