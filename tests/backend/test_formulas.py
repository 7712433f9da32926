"""Functions written as formulas, on edges and on atoms: NumPy as oracle, finite differences of every order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.plan import Program, Step, Term, Value
from etn_gpu.plan.formula import Formula, Number
from etn_gpu.plan.operations import Functions

Array = NDArray[np.float64]
Rule = tuple[Callable[[Number], Number], Callable[[Array], Array], Array]

#: A formula, the same with NumPy, and where to look at it.
RULES: dict[str, Rule] = {
    "polynomial": (lambda x: (x - 1.0) ** 3 * x + 2.0, lambda x: (x - 1) ** 3 * x + 2, np.linspace(-2, 2, 41)),
    "root": (lambda x: x**0.5, np.sqrt, np.linspace(0.3, 9, 41)),
    "inverse": (lambda x: 3.0 / x - x**-2.5, lambda x: 3 / x - x**-2.5, np.linspace(0.5, 4, 41)),
    "exp": (lambda x: (-1.5 * x * x).exp(), lambda x: np.exp(-1.5 * x * x), np.linspace(-3, 3, 41)),
    "far exp": (lambda x: x.exp(), np.exp, np.array([-80.0, -30.0, -1e-9, 0.0, 0.3, 12.0, 80.0])),
    "log": (lambda x: x.log(), np.log, np.geomspace(0.1, 1e3, 41)),
    "far log": (lambda x: x.log(), np.log, np.array([1e-36, 1e-9, 0.5, 1.0 - 2**-20, 1.0, 1.0 + 2**-20, 2.0, 1e38])),
    "general power": (lambda x: (0.7 * x.log()).exp(), lambda x: x**0.7, np.linspace(0.1, 30, 41)),
    "sin": (lambda x: x.sin(), np.sin, np.linspace(-9, 30, 157)),
    "cos": (lambda x: (2.0 * x).cos(), lambda x: np.cos(2 * x), np.linspace(-9, 30, 157)),
    "tanh": (lambda x: x.tanh(), np.tanh, np.array([-60.0, -9.0, -1.0, -1e-3, 0.0, 0.2, 1.5, 7.0, 90.0])),
    "below": (
        lambda x: x.below(2.0, (2.0 - x) ** 3, 0.0),
        lambda x: np.where(x < 2.0, (2 - x) ** 3, 0.0),
        np.linspace(0, 4, 41),
    ),
    "below a number": (
        lambda x: (x * x).below(1.0, x, 1.0 / x),
        lambda x: np.where(x * x < 1.0, x, 1 / np.where(x == 0, 1, x)),
        np.linspace(-3, 3, 42),
    ),
}


def operation_of(rule: Callable[[Number], Number], count: int = 1, order: int = 0) -> Functions:
    formula = Formula()
    found = formula.functions([rule(formula.variable), formula.variable], count)
    return replace(found, order=order)


def evaluate(backend: str, operation: Functions, space: str, x: Array, dtype: str = "float64") -> Array:
    """The operation at x [n, count]: [n, functions, count]."""
    out = Value("out", space, operation.sizes[1])
    terms = (Term(operation, 1, ("x",), 2.0), Term(operation, 1, ("x",), -1.0))
    program = Program((Value("x", space, operation.count),), (Step(out, terms),), (("out", "out"),))
    atoms = len(x) if space == "atom" else 1
    edges = np.zeros(len(x) if space == "edge" else 0, np.int32)
    geometry = Geometry(np.full(atoms + 1, len(edges)) * (np.arange(atoms + 1) > 0), np.zeros(atoms, np.int32), edges)
    found = run(program, {"x": x}, geometry, backend=backend, dtype=dtype)["out"].astype(np.float64)
    return found.reshape(len(x), -1, operation.count)


@pytest.mark.parametrize("space", ["edge", "atom"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 2e-15), ("float32", 1e-6)])
@pytest.mark.parametrize("rule", RULES)
def test_formulas_are_what_they_say(backend: str, rule: str, space: str, dtype: str, tolerance: float) -> None:
    write, wanted, x = RULES[rule]
    x = x.astype(dtype).astype(np.float64)
    got = evaluate(backend, operation_of(write), space, x[:, None], dtype)
    expected = wanted(x)
    # Sums of products as large as x is are as exact as those.
    scale = np.abs(expected) + (np.abs(x) if "exp" not in rule else np.abs(x * expected)) + (rule != "far exp")
    np.testing.assert_array_less(np.abs(got[:, 0, 0] - expected), 10 * tolerance * scale + 1e-300)
    np.testing.assert_array_equal(got[:, 1, 0], x)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("rule", [name for name in RULES if not name.startswith("far")])
def test_derivatives_are_finite_differences(backend: str, rule: str, order: int) -> None:
    write, _, x = RULES[rule]
    # Not where one formula ends and the next begins.
    x = x[np.min(np.abs(np.subtract.outer(x, [-1.0, 1.0, 2.0])), axis=1) > 1e-3][:, None]
    h = 1e-5
    below, above = (evaluate(backend, operation_of(write, 1, order - 1), "atom", x + s * h) for s in (-1, 1))
    slope = evaluate(backend, operation_of(write, 1, order), "atom", x)
    np.testing.assert_allclose(slope, (above - below) / (2 * h), rtol=1e-6, atol=1e-6 * (1 + np.abs(above).max()))
    on_edges = evaluate(backend, operation_of(write, 1, order), "edge", x)
    np.testing.assert_allclose(on_edges, slope, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("space", ["edge", "atom"])
def test_each_component_on_its_own(backend: str, space: str) -> None:
    x = np.random.default_rng(0).normal(size=(21, 3))
    out = evaluate(backend, operation_of(lambda x: x.tanh(), count=3), space, x)
    np.testing.assert_allclose(out[:, 0], np.tanh(x), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(out[:, 1], x)


@pytest.mark.parametrize("space", ["edge", "atom"])
@pytest.mark.parametrize("rule", ["exp", "log", "sin", "tanh", "root", "below"])
def test_not_a_number_stays_one(backend: str, rule: str, space: str) -> None:
    x = np.array([[1.0], [np.nan], [1.5]])
    out = evaluate(backend, operation_of(RULES[rule][0]), space, x)[:, 0, 0]
    np.testing.assert_array_equal(np.isnan(out), [False, True, False])


@pytest.mark.parametrize("space", ["edge", "atom"])
@pytest.mark.parametrize(("dtype", "small"), [("float64", 1e-310), ("float32", 1e-41)])
def test_logarithms_at_the_ends(backend: str, dtype: str, small: float, space: str) -> None:
    x = np.array([0.0, -1.0, small]).astype(dtype).astype(np.float64)
    with np.errstate(invalid="ignore"):
        out = evaluate(backend, operation_of(lambda x: x.log()), space, x[:, None], dtype)[:, 0, 0]
    assert not np.isfinite(out[:2]).any()
    assert out[2] == pytest.approx(np.log(x[2]), rel=1e-6)
