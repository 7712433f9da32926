"""Planned contractions of random trains: equal to full tensors, equivariant, never dearer than the chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import opt_einsum
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from etn_gpu.errors import NetworkError
from etn_gpu.network import Train
from etn_gpu.plan import Machine, ProgramBuilder, VectorNode, chain_plan, jvp, lower_network, plan_contraction, vjp
from etn_gpu.symmetry import Irrep, Irreps, random_rotation


def legs(lmax: int, parities: tuple[int, ...], most: int = 3) -> st.SearchStrategy[Irreps]:
    """Direct sums of different irreps, some multiplicities 1."""
    irrep = st.builds(Irrep, st.integers(0, lmax), st.sampled_from(parities))
    return st.dictionaries(irrep, st.integers(1, most), min_size=1, max_size=3).map(
        lambda leg: Irreps((mul, ir) for ir, mul in leg.items())
    )


@st.composite
def trains(draw: st.DrawFn, lmax: int = 2) -> Train:
    """Orders 2..5, both parities, targets of every kind; bonds hold 0e and 1o, so that most draws have a path."""
    feature = Irreps("1x0e+1x1o") + Irreps(
        (m, ir) for m, ir in draw(legs(lmax, (1, -1))) if str(ir) not in ("0e", "1o")
    )
    order = draw(st.integers(2, 5))
    bonds = tuple((Irreps("2x0e+1x1o") + draw(legs(lmax, (1, -1), 2))).sort().simplify() for _ in range(order - 1))
    target = draw(st.sampled_from(("1x0e", "1x0e", "1x1o", "1x2e", "1x1e", "1x0o")))
    try:
        return Train(feature, bonds, Irreps(target))
    except NetworkError:
        assume(False)
        raise


@given(train=trains(), seed=st.integers(0, 9))
@settings(max_examples=40)
def test_planned_contraction_equals_full_tensors(
    oracle: Any, assert_equal: Callable[..., None], train: Train, seed: int
) -> None:
    network = train.expression
    weights, vectors = oracle.random_arrays(network, 3, seed)
    expected = oracle.contract(network, weights, vectors)
    for plan in (plan_contraction(network), chain_plan(network)):
        assert_equal(oracle.execute(oracle.lowered(network, plan), weights, vectors), expected)


@pytest.mark.parametrize("target", ["1x0e", "1x1o", "1x2e"])
def test_every_backend_contracts_alike(
    backend: str, oracle: Any, assert_equal: Callable[..., None], target: str
) -> None:
    bonds = tuple(Irreps(b) for b in ("2x0e+2x1o+1x2e", "1x0e+2x1o+1x1e+1x2e", "2x0e+1x1o+1x2e"))
    network = Train(Irreps("5x0e+2x1o+1x2e"), bonds, Irreps(target)).expression
    weights, vectors = oracle.random_arrays(network, 40)
    program = oracle.lowered(network, plan_contraction(network))
    assert_equal(oracle.execute(program, weights, vectors, backend), oracle.contract(network, weights, vectors))


@given(train=trains(), seed=st.integers(0, 9), inverted=st.booleans())
@settings(max_examples=20)
def test_contraction_is_equivariant(
    oracle: Any, assert_equal: Callable[..., None], train: Train, seed: int, inverted: bool
) -> None:
    """Rotating and inverting the site vectors rotates and inverts the result."""
    rotation = random_rotation(np.random.default_rng(seed)) * (-1.0 if inverted else 1.0)
    network = train.expression
    weights, vectors = oracle.random_arrays(network, 2, seed)
    program = oracle.lowered(network, plan_contraction(network))
    turned = {name: v @ train.feature.wigner_d(rotation).T for name, v in vectors.items()}
    expected = oracle.execute(program, weights, vectors) @ train.target.wigner_d(rotation).T
    assert_equal(oracle.execute(program, weights, turned), expected)


@given(train=trains())
@settings(max_examples=20)
def test_dense_cores_are_equivariant(oracle: Any, train: Train) -> None:
    rotation = -random_rotation(np.random.default_rng(0))
    for core in train.cores:
        tensor = oracle.dense(core, np.random.default_rng(1).standard_normal(core.size))
        matrices = [leg.wigner_d(rotation) for leg in (core.left, core.feature, core.out)]
        np.testing.assert_allclose(np.einsum("abc,xa,yb,zc->xyz", tensor, *matrices), tensor, atol=1e-12)


@given(train=trains(lmax=3), component=st.sampled_from((0.0, 2.0, 20.0)), launch=st.sampled_from((0.0, 50.0, 5000.0)))
@settings(max_examples=60)
def test_the_plan_is_never_worse_than_the_chain(train: Train, component: float, launch: float) -> None:
    machine = Machine(component, launch)
    network = train.expression
    plan, chain = plan_contraction(network, machine), chain_plan(network)
    assert plan.cost.weight(machine) <= chain.cost.weight(machine)
    assert len(plan.path) == len(chain.path) == len(network.nodes) - 1
    assert plan.equation == chain.equation


def test_the_plan_beats_the_chain() -> None:
    """A wide bond in the middle is met from both ends, so that it is never multiplied by a feature leg."""
    narrow, wide = Irreps("1x0e+1x1o"), Irreps("16x0e+16x1o+16x2e")
    network = Train(Irreps("6x0e+4x1o+2x2e"), (narrow, wide, narrow)).expression
    plan, chain = plan_contraction(network), chain_plan(network)
    assert plan.cost.weight(Machine()) < 0.8 * chain.cost.weight(Machine())


@given(train=trains(), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_the_path_is_one_of_opt_einsum(oracle: Any, assert_equal: Callable[..., None], train: Train, seed: int) -> None:
    """Equation and path of a plan, handed to opt_einsum with full tensors."""
    network = train.expression
    weights, vectors = oracle.random_arrays(network, 3, seed)
    arrays = []
    for node in network.nodes:
        if isinstance(node, VectorNode):
            arrays.append(vectors[node.name])
        else:
            keep = tuple(slice(None) if label else 0 for label in node.labels)
            arrays.append(oracle.dense(node.core, weights[node.core.name])[keep])
    expected = oracle.contract(network, weights, vectors)
    for plan in (plan_contraction(network), chain_plan(network)):
        result = opt_einsum.contract(plan.equation, *arrays, optimize=list(plan.path))
        assert_equal(result.reshape(expected.shape), expected)


@given(train=trains(), seed=st.integers(0, 9))
@settings(max_examples=15)
def test_derivatives_of_networks(oracle: Any, train: Train, seed: int) -> None:
    """The network is multilinear: its jvp replaces one factor at a time, and its vjp is the adjoint of that."""
    network = train.expression
    weights, vectors = oracle.random_arrays(network, 2, seed)
    d_weights, d_vectors = oracle.random_arrays(network, 2, seed + 100)
    program = oracle.lowered(network, plan_contraction(network))
    expected = sum(
        oracle.contract(network, weights | {k: d_weights[k]} if k in weights else weights,
                        vectors | {k: d_vectors[k]} if k in vectors else vectors)
        for k in (*weights, *vectors)
    )  # fmt: skip
    names = {v.name: f"d{v.name}" for v in program.inputs}
    tangents = {f"d{k}": v for k, v in (d_weights | d_vectors).items()}
    forward = oracle.execute_all(jvp(program, names), weights | tangents, vectors)
    scale = np.abs(expected).max() + 1e-30
    np.testing.assert_allclose(forward["d_out"], expected, rtol=0, atol=1e-11 * scale)
    bar = np.random.default_rng(seed).standard_normal(expected.shape)
    backward = vjp(program, {"out": "bar"}, {v.name: f"g{v.name}" for v in program.inputs})
    gradients = oracle.execute_all(backward, weights | {"bar": bar}, vectors)
    total = sum(float(np.vdot(gradients[f"g{k}"], v)) for k, v in (d_weights | d_vectors).items())
    assert total == pytest.approx(float(np.vdot(bar, expected)), rel=1e-9, abs=1e-9 * scale)


def test_legs_with_empty_blocks(oracle: Any, assert_equal: Callable[..., None]) -> None:
    network = Train(Irreps("2x0e+0x1o+1x2e"), (Irreps("1x0e+0x1e+2x2e"),)).expression
    weights, vectors = oracle.random_arrays(network, 3)
    program = oracle.lowered(network, plan_contraction(network))
    assert_equal(oracle.execute(program, weights, vectors), oracle.contract(network, weights, vectors))


def test_vectors_may_be_the_same_value(oracle: Any, assert_equal: Callable[..., None]) -> None:
    """A potential feeds one site vector to every leg; steps that become equal are made once."""
    train = Train(Irreps("2x0e+1x1o"), (Irreps("2x0e+1x1o"),) * 3)
    network = train.expression
    weights, vectors = oracle.random_arrays(network, 3)
    site = vectors["v1"]
    builder = ProgramBuilder()
    builder.input("v", "atom", train.feature.dim)
    names = {name: builder.input(name, "param", len(w)).name for name, w in weights.items()}
    result = lower_network(builder, network, plan_contraction(network), dict.fromkeys(vectors, "v"), names)
    program = builder.build({"out": result.name})
    expected = oracle.contract(network, weights, dict.fromkeys(vectors, site))
    assert_equal(oracle.execute(program, weights, {"v": site}), expected)
    separate = oracle.lowered(network, plan_contraction(network))
    assert len(program.steps) <= len(separate.steps)
