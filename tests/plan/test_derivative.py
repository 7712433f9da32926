"""jvp and vjp: finite differences, adjointness, symmetry of second derivatives, and what cannot be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.errors import PlanError
from etn_gpu.plan import Program, ProgramBuilder, Term, jvp, prune, vjp
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import Constant, Couple, CoupleBlock, EdgeSum, EdgeSumBlock, PairTable, Radial

Arrays = dict[str, NDArray[np.float64]]
SEEDS = range(12)


def named(program: Program, prefix: str) -> dict[str, str]:
    """A new name for every input."""
    return {v.name: prefix + v.name for v in program.inputs}


def moved(inputs: Arrays, tangents: Arrays, step: float) -> Arrays:
    return {name: value + step * tangents["t_" + name] for name, value in inputs.items()}


def inner(a: Mapping[str, NDArray[np.float64]], b: Mapping[str, NDArray[np.float64]]) -> float:
    """Sum of the products of the arrays that have the same name."""
    return sum(float(np.vdot(a[name], b[name])) for name in a)


def programs_of(full: Program, random_programs: Callable[[int], Program]) -> list[Program]:
    return [full, *(random_programs(seed) for seed in SEEDS)]


@pytest.fixture(scope="module", params=range(len(SEEDS) + 1))
def program(
    request: pytest.FixtureRequest, full_program: Program, random_programs: Callable[[int], Program]
) -> Program:
    """The Program with every operation, then random ones."""
    return programs_of(full_program, random_programs)[request.param]


def test_jvp_is_the_finite_difference(
    program: Program, numbers: Callable[..., Any], evaluate: Callable[..., Any]
) -> None:
    forward = jvp(program, named(program, "t_"))
    inputs = numbers(program.inputs, 1)
    tangents = numbers([v for v in forward.inputs if v.name.startswith("t_")], 2)
    out = evaluate(forward, inputs | tangents)
    h = 1e-4
    points = {k: evaluate(program, moved(inputs, tangents, k * h)) for k in (-2, -1, 1, 2)}
    for name in program.output_names:
        np.testing.assert_array_equal(out[name], evaluate(program, inputs)[name])
        quotient = (8 * (points[1][name] - points[-1][name]) - points[2][name] + points[-2][name]) / (12 * h)
        slope = out.get("d_" + name, np.zeros_like(quotient))
        np.testing.assert_allclose(slope, quotient, rtol=0, atol=1e-7 * (1 + np.abs(quotient).max(initial=0)))


def test_vjp_is_the_adjoint_of_jvp(program: Program, numbers: Callable[..., Any], evaluate: Callable[..., Any]) -> None:
    forward = jvp(program, named(program, "t_"))
    backward = vjp(program, {name: f"{name}_bar" for name in program.output_names}, named(program, "g_"))
    inputs = numbers(program.inputs, 1)
    tangents = numbers([v for v in forward.inputs if v.name.startswith("t_")], 2)
    bars = numbers([v for v in backward.inputs if v.name.endswith("_bar")], 3)
    pushed = evaluate(forward, inputs | tangents)
    pulled = evaluate(backward, inputs | bars)
    left = inner({k: v for k, v in pushed.items() if k.startswith("d_")}, {f"d_{k[:-4]}": v for k, v in bars.items()})
    right = inner({f"t_{v.name}": pulled[f"g_{v.name}"] for v in program.inputs}, tangents)
    assert left == pytest.approx(right, rel=1e-10, abs=1e-10)
    for name in program.output_names:
        np.testing.assert_array_equal(pulled[name], pushed[name])


def second_derivative(program: Program, order: str) -> Program:
    """d/dt of the gradient of sum(bar . outputs), made in either order: outputs ``H_*``."""
    cotangents = {name: f"{name}_bar" for name in program.output_names}
    if order == "jvp of vjp":
        gradient = vjp(program, cotangents, named(program, "g_"), keep=False)
        hessian = jvp(gradient, {v.name: f"t_{v.name}" for v in program.inputs if v in gradient.inputs})
        wanted = {f"d_g_{v.name}": f"H_{v.name}" for v in program.inputs}
        return prune(hessian, {k: new for k, new in wanted.items() if k in hessian.output_names})
    slope = jvp(program, named(program, "t_"))
    cotangents = {f"d_{name}": f"{name}_bar" for name in program.output_names if f"d_{name}" in slope.output_names}
    return vjp(slope, cotangents, named(program, "H_"), keep=False)


def test_second_derivatives(program: Program, numbers: Callable[..., Any], evaluate: Callable[..., Any]) -> None:
    """Both orders agree, and the Hessian is symmetric."""
    inputs = numbers(program.inputs, 1)
    one, two = second_derivative(program, "jvp of vjp"), second_derivative(program, "vjp of jvp")
    extra = {v.name: v for p in (one, two) for v in p.inputs if v not in program.inputs}
    bars = numbers([v for v in extra.values() if v.name.endswith("_bar")], 2)
    s, t = (numbers([v for v in extra.values() if v.name.startswith("t_")], seed) for seed in (3, 4))
    hs, ht = (evaluate(one, inputs | bars | tangents) for tangents in (s, t))
    other = evaluate(two, inputs | bars | t)
    scale = 1 + max(np.abs(v).max(initial=0) for v in other.values())
    for name, value in other.items():
        np.testing.assert_allclose(ht.get(name, np.zeros_like(value)), value, rtol=0, atol=1e-11 * scale, err_msg=name)
    left = inner({f"t_{k[2:]}": v for k, v in ht.items()}, s)
    right = inner({f"t_{k[2:]}": v for k, v in hs.items()}, t)
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9 * scale)


@pytest.mark.parametrize("order", ["jvp of vjp", "vjp of jvp"])
def test_derivative_programs_run_on_every_backend(
    backend: str, order: str, full_program: Program, numbers: Callable[..., Any], evaluate: Callable[..., Any]
) -> None:
    hessian = second_derivative(full_program, order)
    inputs = numbers(hessian.inputs, 5)
    expected = evaluate(hessian, inputs)
    for name, value in evaluate(hessian, inputs, backend).items():
        np.testing.assert_allclose(
            value, expected[name], rtol=0, atol=1e-11 * np.abs(expected[name]).max(), err_msg=name
        )


@pytest.mark.parametrize("order", [0, 1, 2])
def test_radial_derivatives_of_every_order(order: int, geometry: Geometry) -> None:
    """The tangent of the order-th derivative is the next one times the tangent of s, on the oracle without limit."""
    builder = ProgramBuilder()
    builder.input("s", "edge", 1)
    operation = Radial(4, 5.0, 0.3, order)
    builder.step("f", "edge", (Term(operation, 1, ("s",)),))
    builder.step("next", "edge", (Term(replace(operation, order=order + 1), 1, ("s",)),))
    program = jvp(builder.build({"f": "f", "next": "next"}), {"s": "ds"})
    s = np.linspace(0.8, 24.0, geometry.n_edges)[:, None]
    ds = np.linspace(-1.0, 1.0, geometry.n_edges)[:, None]
    out = run(program, {"s": s, "ds": ds}, geometry, backend="numpy")
    np.testing.assert_allclose(out["d_f"], out["next"] * ds, rtol=1e-14)
    assert str(program).count(f"radial^({order + 1})") == 1, "the derivative that is already there is used"


def test_shared_operands_follow_the_product_rule(geometry: Geometry) -> None:
    """d(x . x) = 2 x . dx, through one value that is both operands."""
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    square = Couple((3, 3, 1), (CoupleBlock((1, 1, 0), (0, 0, 0), (1, 1, 1), ((0, 0, 0),) * 3, 3.0**0.5),))
    builder.step("s", "edge", (Term(square, 2, ("x", "x")),))
    gradient = vjp(builder.build({"s": "s"}), {"s": "bar"}, {"x": "g"})
    x, bar = np.random.default_rng(0).standard_normal((geometry.n_edges, 3)), np.ones((geometry.n_edges, 1))
    np.testing.assert_allclose(run(gradient, {"x": x, "bar": bar}, geometry)["g"], 2 * x)


def test_an_input_that_nothing_depends_on_has_gradient_zero(
    backend: str, full_program: Program, numbers: Callable[..., Any], evaluate: Callable[..., Any]
) -> None:
    program = vjp(prune(full_program, ("weights",)), {"weights": "bar"}, {"w": "g"}, keep=False)
    assert program.output_names.keys() == {"g"}
    idle = ProgramBuilder()
    idle.input("x", "atom", 2)
    idle.input("y", "atom", 1)
    zero = vjp(idle.build({"y": "y"}, keep_inputs=["x"]), {"y": "bar"}, {"x": "gx", "y": "gy"})
    inputs = numbers(zero.inputs, 0)
    out = evaluate(zero, inputs, backend)
    np.testing.assert_array_equal(out["gx"], 0.0)
    np.testing.assert_array_equal(out["gy"], inputs["bar"])


def test_prune_renames_and_drops(full_program: Program) -> None:
    program = prune(full_program, {"weights": "W"})
    assert program.output_names == {"W": "W"}
    assert {v.name for v in program.inputs} == {"w", "u"}
    assert [step.out.name for step in program] == ["W"]
    assert prune(full_program, ("energy", "message")).output_names == {"energy": "e", "message": "m"}


@pytest.mark.parametrize("derivative", [lambda p: jvp(p, {"z": "dz"}), lambda p: vjp(p, {"energy": "b"}, {"z": "g"})])
def test_unknown_input(full_program: Program, derivative: Callable[[Program], Program]) -> None:
    with pytest.raises(
        PlanError, match=r"cannot differentiate with respect to \['z'\]: the inputs are \['u', 'w', 'x'\]"
    ):
        derivative(full_program)


@pytest.mark.parametrize("derivative", [lambda p: vjp(p, {"force": "b"}, {"x": "g"}), lambda p: prune(p, ("force",))])
def test_unknown_output(full_program: Program, derivative: Callable[[Program], Program]) -> None:
    message = r"has no output 'force'; its outputs are \['energy', 'message', 'weights'\]"
    with pytest.raises(PlanError, match=message):
        derivative(full_program)


def test_nothing_depends_on_the_inputs() -> None:
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    with pytest.raises(PlanError, match=r"no output of the Program depends on \['x'\]"):
        jvp(builder.build({"one": "one"}, keep_inputs=["x"]), {"x": "dx"})


@pytest.mark.parametrize(
    ("derivative", "message"),
    [
        (lambda p: jvp(p, {"x": "w"}), "the value 'w' is defined twice"),
        (lambda p: vjp(p, {"energy": "S"}, {"x": "g"}), "the value 'S' is defined twice"),
        (lambda p: jvp(p, {"x": "dx"}, prefix=""), "would be a second output 'energy'; choose another name"),
        (lambda p: vjp(p, {"energy": "b"}, {"x": "message"}), "would be a second output 'message'; choose another"),
        (lambda p: vjp(p, {"energy": "b"}, {"x": "g", "w": "g"}), "would be a second output 'g'; choose another name"),
    ],
)
def test_names_that_are_taken(full_program: Program, derivative: Callable[[Program], Program], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        derivative(full_program)


def pair_program() -> Program:
    """Functions of distances whose numbers depend on the pair of species."""
    builder = ProgramBuilder()
    builder.input("s", "edge", 1)
    builder.input("w", "param", 8)
    builder.step("k", "edge", (Term(PairTable(2, 2), 1, ("w",)),))
    formula = Formula()
    x = formula.variable
    decay = (formula.parameter(1) * -x * x).exp()
    operation = formula.functions([decay, (x + formula.parameter(0)).cos()])
    builder.step("f", "edge", (Term(operation, 2, ("s", "k")),))
    edge_sum = EdgeSum((2, 2, 4), (EdgeSumBlock(0, 2, 0, 2, 0),), 1, merged=True)
    builder.step("e", "atom", (Term(edge_sum, 2, ("f", "f")),))
    return builder.build({"e": "e"})


def test_functions_with_numbers_of_pairs(
    backend: str, geometry: Geometry, numbers: Callable[..., Any], evaluate: Callable[..., Any]
) -> None:
    program = pair_program()
    inputs = numbers(program.inputs, 0)
    w = inputs["w"].reshape(2, 2, 2)
    centres = np.repeat(geometry.species, np.diff(geometry.edge_offsets))
    k, x = w[centres, geometry.edge_species], inputs["s"][:, 0]
    f = np.stack([np.exp(-k[:, 1] * x * x), np.cos(x + k[:, 0])])
    wanted = np.zeros((geometry.n_atoms, 2, 2))
    atoms = np.repeat(np.arange(geometry.n_atoms), np.diff(geometry.edge_offsets))
    np.add.at(wanted, atoms, np.einsum("be,me->ebm", f, f))
    np.testing.assert_allclose(evaluate(program, inputs, backend)["e"].reshape(-1, 2, 2), wanted, atol=1e-13)

    gradient = vjp(jvp(program, {"s": "ds"}), {"d_e": "e_bar"}, {"s": "g"})
    inputs = numbers(gradient.inputs, 1) | {"w": inputs["w"]}
    direction = np.random.default_rng(2).normal(size=inputs["s"].shape)

    def slope(step: float) -> Any:
        moved = inputs | {"s": inputs["s"] + step * direction}
        d = jvp(program, {"s": "ds"})
        return np.sum(inputs["e_bar"] * evaluate(d, {n: moved[n] for n in ("s", "w", "ds")}, backend)["d_e"])

    got = np.sum(direction * evaluate(gradient, inputs, backend)["g"])
    np.testing.assert_allclose(got, (slope(1e-5) - slope(-1e-5)) / 2e-5, rtol=1e-7)


def test_no_derivative_of_the_numbers_of_functions() -> None:
    with pytest.raises(PlanError, match="functions has no derivative with respect to its parameters 'k'"):
        jvp(pair_program(), {"w": "dw"})
    with pytest.raises(PlanError, match="functions has no derivative with respect to its parameters 'k'"):
        vjp(pair_program(), {"e": "b"}, {"w": "g"})
