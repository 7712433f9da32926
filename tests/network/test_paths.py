"""Every contraction order of small networks, good or bad: each branch of the lowering gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from etn_gpu.network import Train
from etn_gpu.plan import ContractionPlan, Core, CoreNode, Cost, NetworkExpression, VectorNode
from etn_gpu.plan.expression import State
from etn_gpu.symmetry import Irreps

Pair = tuple[int, int]
Kind = tuple[str, ...]


def orders(network: NetworkExpression) -> Iterator[tuple[ContractionPlan, set[Kind]]]:
    """All plans of a network as a depth-first search finds them, with the kinds of contraction that they use."""

    def search(states: list[State], path: tuple[Pair, ...], kinds: frozenset[Kind]) -> Iterator[Any]:
        if len(states) == 1:
            yield ContractionPlan(path, Cost(), ""), set(kinds)
        for j in range(len(states)):
            for i in range(j):
                joined = network.join(states[i], states[j])
                if joined is not None:
                    rest = [s for k, s in enumerate(states) if k not in (i, j)]
                    kind = kind_of(states[i], states[j], joined[0])
                    yield from search([*rest, joined[0]], (*path, (i, j)), kinds | {kind})

    yield from search([network.initial(i) for i in range(len(network.nodes))], (), frozenset())


def kind_of(a: State, b: State, result: State) -> Kind:
    """Name of a contraction and the legs of the core that it goes from and to."""
    states = {a.kind: a, b.kind: b}
    if result.kind == "pair" or set(states) == {"vector"}:
        return ("pair" if result.kind == "pair" else "dot",)
    node = next(s.core for s in (a, b) if s.core is not None)
    if result.kind == "operator":
        return ("operator", node.leg(states["vector"].legs[0]))
    to = node.leg(result.legs[0]) if result.legs else "nothing"
    if "pair" in states:
        return ("close", to)
    return ("apply" if "operator" in states else "matrix", node.leg(states["vector"].legs[0]), to)


def check(oracle: Any, assert_equal: Callable[..., None], network: NetworkExpression) -> tuple[int, set[Kind]]:
    """Number of plans and the kinds of contraction in all of them."""
    weights, vectors = oracle.random_arrays(network, 2)
    expected = oracle.contract(network, weights, vectors)
    programs, seen = set(), set()
    for plan, kinds in orders(network):
        seen |= kinds
        program = oracle.lowered(network, plan)
        if program.digest not in programs:
            programs.add(program.digest)
            assert_equal(oracle.execute(program, weights, vectors), expected)
    return len(programs), seen


LEFT, FEATURE, OUT = Irreps("2x0e+1x1o"), Irreps("1x0e+3x1o"), Irreps("3x0e+2x1o+1x2e")


@pytest.mark.parametrize(
    ("left", "feature", "out"),
    [
        (LEFT, FEATURE, OUT),
        (Irreps("1x0e+1x1o"), Irreps("1x0e+1x1o"), Irreps("1x0e+1x2e")),  # every multiplicity 1
        (Irreps("3x0e+1x1e"), Irreps("1x0e+2x1e"), Irreps("2x1e+1x0e")),
        (Irreps("2x1o"), Irreps("3x1o"), Irreps("2x1e")),
        (Irreps("1x1o"), Irreps("2x2e"), Irreps("3x1o+1x2o")),
    ],
    ids=str,
)
def test_all_orders_of_a_star(
    oracle: Any, assert_equal: Callable[..., None], left: Irreps, feature: Irreps, out: Irreps
) -> None:
    """One core and three vectors: a pair or an operator on every choice of legs."""
    vectors = tuple(VectorNode(f"v{x}", x) for x in "abc")
    core = CoreNode(Core("G", left, feature, out), ("a", "b", "c"))
    network = NetworkExpression((*vectors, core), {"a": left, "b": feature, "c": out})
    _, kinds = check(oracle, assert_equal, network)
    legs = ("left", "feature", "out")
    assert kinds == {
        ("pair",),
        ("dot",),
        *(("close", x) for x in legs),
        *(("operator", x) for x in legs),
        *(("apply", x, y) for x in legs for y in legs if x != y),
    }


@pytest.mark.parametrize("open_leg", ["a", "b", "c"])
def test_all_orders_with_one_leg_open(oracle: Any, assert_equal: Callable[..., None], open_leg: str) -> None:
    vectors = tuple(VectorNode(f"v{x}", x) for x in "abc" if x != open_leg)
    core = CoreNode(Core("G", LEFT, FEATURE, OUT), ("a", "b", "c"))
    network = NetworkExpression((*vectors, core), {"a": LEFT, "b": FEATURE, "c": OUT}, open_leg)
    number, _ = check(oracle, assert_equal, network)
    assert number == 3, "one pair and two operators"


@pytest.mark.parametrize("trivial", ["left", "feature", "out"])
def test_all_orders_of_a_core_with_a_trivial_leg(oracle: Any, assert_equal: Callable[..., None], trivial: str) -> None:
    """A matrix in each direction, or a pair that closes to a number."""
    legs = {"left": Irreps("2x0e+1x1o+2x2e"), "feature": Irreps("3x0e+2x1o+1x2e"), "out": Irreps("1x0e+2x1o+3x2e")}
    legs[trivial] = Irreps("1x0e")
    labels = [None if name == trivial else name for name in legs]
    core = CoreNode(Core("G", *legs.values()), (labels[0], labels[1], labels[2]))
    ends = [name for name in legs if name != trivial]
    for given in ends:
        (other,) = set(ends) - {given}
        network = NetworkExpression((VectorNode("v", given), core), {e: legs[e] for e in ends}, other)
        assert check(oracle, assert_equal, network) == (1, {("matrix", given, other)})
    vectors = tuple(VectorNode(f"v{e}", e) for e in ends)
    network = NetworkExpression((*vectors, core), {e: legs[e] for e in ends})
    number, kinds = check(oracle, assert_equal, network)
    assert number == 3
    assert {("close", "nothing"), ("dot",)} <= kinds


@pytest.mark.parametrize("given", ["left", "feature", "out"])
def test_a_core_with_a_single_leg(oracle: Any, assert_equal: Callable[..., None], given: str) -> None:
    """Weights on one leg only: the invariant part of a vector."""
    legs = {name: Irreps("3x0e") if name == given else Irreps("1x0e") for name in ("left", "feature", "out")}
    labels = [name if name == given else None for name in legs]
    core = CoreNode(Core("G", *legs.values()), (labels[0], labels[1], labels[2]))
    network = NetworkExpression((VectorNode("v", given), core), {given: legs[given]})
    assert check(oracle, assert_equal, network) == (1, {("matrix", given, "nothing")})


@pytest.mark.parametrize(
    ("target", "from_the_right"), [("1x0e", {("close", "left"), ("matrix", "feature", "left")}), ("1x1o", set())]
)
def test_all_orders_of_a_train(
    oracle: Any, assert_equal: Callable[..., None], target: str, from_the_right: set[Kind]
) -> None:
    """Only a train whose last leg is closed can be contracted from that end too."""
    bonds = (Irreps("2x0e+1x1o"), Irreps("1x0e+2x1o+1x1e"))
    network = Train(Irreps("2x0e+1x1o"), bonds, Irreps(target)).expression
    number, kinds = check(oracle, assert_equal, network)
    assert number > 20
    assert {("pair",), ("close", "out"), ("operator", "feature"), ("matrix", "feature", "out")} <= kinds
    assert from_the_right == kinds & {("close", "left"), ("matrix", "feature", "left")}
