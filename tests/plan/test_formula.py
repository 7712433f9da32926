"""Formulas become short code; code that computes nothing sensible is refused."""

from __future__ import annotations

import pytest

from etn_gpu.errors import PlanError
from etn_gpu.plan import Program, Step, Term, Value
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import Functions


def test_equal_numbers_are_written_once() -> None:
    formula = Formula()
    x = formula.variable
    assert (x * 2.0) == (2.0 * x)
    operation = formula.functions([x * 2.0 + 1.0, 1.0 + 2.0 * x])
    assert operation.results[0] == operation.results[1]
    assert len(operation.code) == 5


def test_recursions_stay_short() -> None:
    formula = Formula()
    x = formula.variable
    chebyshev = [formula.number(1.0), x]
    while len(chebyshev) < 30:
        chebyshev.append(2.0 * x * chebyshev[-1] - chebyshev[-2])
    assert len(formula.functions(chebyshev).code) < 4 * 30


def test_what_no_result_needs_is_left_out() -> None:
    formula = Formula()
    x = formula.variable
    x.exp().tanh()
    assert formula.functions([x.cos()]) == Functions((("variable",), ("cos", 0)), (1,))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Functions((("variable",), ("gamma", 0)), (1,)), "is no instruction of functions"),
        (Functions((("variable",), ("exp", 0, 1)), (1,)), "is no instruction of functions"),
        (Functions((("variable",), ("exp", 1)), (1,)), "reads a number that does not come before it"),
        (Functions((("exp", -1),), (0,)), "reads a number that does not come before it"),
        (Functions((("variable",), ("constant", float("nan"))), (1,)), "needs finite numbers"),
        (Functions((("variable",),), (1,)), "of 1 numbers"),
        (Functions((("variable",),), (0,), count=0), "functions of 0 variables"),
        (Functions((("variable",),), (0,), order=-1), "the order of a derivative is 0 or more, got -1"),
        (Functions((("variable",), ("power", 0, 0.3)), (1,)), "multiple of 1/2"),
    ],
)
def test_bad_code_is_refused(operation: Functions, message: str) -> None:
    x, out = Value("x", "atom", operation.count), Value("out", "atom", operation.sizes[1])
    with pytest.raises(PlanError, match=message):
        Program((x,), (Step(out, (Term(operation, 1, ("x",)),)),), (("out", "out"),))
