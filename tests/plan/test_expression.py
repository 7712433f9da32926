"""Networks of vectors and cores: which contractions there are, and networks that do not hang together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import opt_einsum
import pytest

from etn_gpu.errors import NetworkError, PlanError
from etn_gpu.plan import (
    ContractionPlan,
    Core,
    CoreNode,
    Cost,
    NetworkExpression,
    ProgramBuilder,
    SymmetricOptimizer,
    VectorNode,
    chain_plan,
    lower_network,
    plan_contraction,
)
from etn_gpu.plan.expression import State
from etn_gpu.symmetry import Irreps

LEG = Irreps("2x0e+1x1o")
SCALAR = Irreps("1x0e")
CORE = CoreNode(Core("G", LEG, LEG, LEG), ("a", "b", "c"))
VECTORS = tuple(VectorNode(f"v{x}", x) for x in "abc")
LEGS: Mapping[str, Irreps] = {"a": LEG, "b": LEG, "c": LEG}


@pytest.fixture
def star() -> NetworkExpression:
    """Three vectors on one core."""
    return NetworkExpression((*VECTORS, CORE), LEGS)


def test_states_of_a_star(star: NetworkExpression) -> None:
    a, b, c, core = (star.initial(i) for i in range(4))
    assert (a.kind, a.legs, core.kind, core.legs) == ("vector", ("a",), "core", ("a", "b", "c"))

    def joined(x: State, y: State) -> tuple[str, tuple[str, ...]] | None:
        both = star.join(x, y), star.join(y, x)
        assert (both[0] is None) == (both[1] is None), "the order of the two does not matter"
        if both[0] is None or both[1] is None:
            return None
        assert both[0][0].kind == both[1][0].kind
        assert both[0][1] == both[1][1]
        return both[0][0].kind, both[0][0].legs

    assert joined(a, b) == ("pair", ("a", "b"))
    assert joined(a, core) == ("operator", ("b", "c"))
    pair, operator = State("pair", ("a", "b"), CORE), State("operator", ("b", "c"), CORE)
    assert joined(pair, core) == ("vector", ("c",))
    assert joined(operator, b) == ("vector", ("c",))
    assert joined(State("vector", ("c",)), c) == ("vector", ())
    assert joined(pair, c) is None
    assert joined(pair, operator) is None
    assert joined(operator, a) is None
    assert joined(core, core) is None
    assert joined(State("vector", ()), c) is None


@pytest.mark.parametrize(
    ("nodes", "legs", "output", "message"),
    [
        (VECTORS, LEGS, None, "the leg 'a' appears 1 times in the network, expected 2"),
        ((*VECTORS, CORE), LEGS, "a", "the leg 'a' appears 2 times in the network, expected 1"),
        ((*VECTORS, VECTORS[0], CORE), LEGS, None, "the leg 'a' appears 3 times in the network, expected 2"),
        ((*VECTORS, CORE), {**LEGS, "d": LEG}, None, "the leg 'd' appears 0 times in the network, expected 2"),
        ((*VECTORS, CORE), {"a": LEG, "b": LEG}, None, r"the leg 'c' has no irreps; legs with irreps: \['a', 'b'\]"),
        ((*VECTORS, CORE), {**LEGS, "b": SCALAR}, None, r"core 'G' has 2x0e\+1x1o on the leg 'b', which carries 1x0e"),
        (
            (*VECTORS[:2], CoreNode(CORE.core, ("a", "b", None))),
            {"a": LEG, "b": LEG},
            None,
            r"core 'G' has 2x0e\+1x1o on a leg without a label, which carries 1x0e",
        ),
    ],
)
def test_networks_that_do_not_hang_together(nodes: Any, legs: Any, output: str | None, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        NetworkExpression(nodes, legs, output)


def test_a_network_that_no_steps_contract() -> None:
    """Two cores that share two bonds: a loop needs a contraction of two cores."""
    pair = (CoreNode(Core("G", LEG, LEG, LEG), ("a", "b", "c")), CoreNode(Core("H", LEG, LEG, LEG), ("b", "c", "d")))
    loop = NetworkExpression((VectorNode("v", "a"), *pair, VectorNode("w", "d")), {**LEGS, "d": LEG})
    with pytest.raises(PlanError, match="cannot be contracted by couplings of two vectors through a core"):
        plan_contraction(loop)


def test_a_chain_that_cannot_go_on(star: NetworkExpression) -> None:
    with pytest.raises(PlanError, match="the left-to-right chain cannot absorb node 2 of this network"):
        chain_plan(star)


def test_a_path_that_cannot_be_lowered(star: NetworkExpression) -> None:
    builder = ProgramBuilder()
    for x in "abc":
        builder.input(f"v{x}", "atom", LEG.dim)
    builder.input("G", "param", CORE.core.size)
    plan = ContractionPlan(((0, 1), (0, 2), (0, 1)), Cost(), "")
    with pytest.raises(PlanError, match=r"no step joins a pair on .* and a vector on \('c',\)"):
        lower_network(builder, star, plan, {f"v{x}": f"v{x}" for x in "abc"}, {"G": "G"})


def test_the_optimizer_is_one_of_opt_einsum(star: NetworkExpression) -> None:
    optimizer = SymmetricOptimizer(star)
    shapes = [(4, LEG.dim)] * 3 + [(LEG.dim,) * 3]
    path, info = opt_einsum.contract_path("na,nb,nc,abc->n", *shapes, shapes=True, optimize=optimizer)
    assert len(path) == 3
    assert info.output_subscript == "n"
    assert optimizer.cost == plan_contraction(star).cost
