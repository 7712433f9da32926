"""Trees: names and bonds, walks, contraction, and networks that are no trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError, TensorError
from etn_gpu.network import Step, TensorTree
from etn_gpu.symmetry import Irreps


def node(*names: str | None, leg: str = "1x0e+1x1o") -> tn.Tensor:
    """A node with equal legs of the given names."""
    return tn.zeros((leg,) * len(names), names=names)


def test_bonds_and_open_legs(star: TensorTree) -> None:
    assert star.bonds == {f"bond{k}": (f"leaf{k}", "hub") for k in range(3)}
    assert star.open_legs == ("a0", "b0", "a1", "b1", "a2", "b2")
    assert star.neighbours("hub") == {"bond0": "leaf0", "bond1": "leaf1", "bond2": "leaf2"}
    assert star.neighbours("leaf1") == {"bond1": "hub"}
    assert star.leg("bond0") == Irreps("4x0e+3x1o+1x1e")
    assert star.leg("b2") == Irreps("1x0e+2x1o")
    assert repr(star).startswith("TensorTree(4 nodes, leaf0 -4x0e+3x1o+1x1e- hub, leaf1 ")
    assert star.n_parameters == sum(len(tensor.data) for tensor in star.nodes.values())


def test_walks(star: TensorTree, train: TensorTree) -> None:
    assert star.path("leaf0", "leaf2") == (Step("leaf0", "bond0", "hub"), Step("hub", "bond2", "leaf2"))
    assert star.path("hub", "hub") == ()
    assert [step.node for step in train.towards("G3")] == ["G4", "G1", "G2"]


@given(data=st.data())
def test_a_walk_comes_to_a_node_after_all_behind_it(data: st.DataObject, trees: Any) -> None:
    tree = data.draw(trees())
    centre = data.draw(st.sampled_from(sorted(tree.nodes)))
    steps = tree.towards(centre)
    assert {step.node for step in steps} == set(tree.nodes) - {centre}
    for k, step in enumerate(steps):
        assert set(tree.bonds[step.bond]) == {step.node, step.neighbour}
        assert all(later.neighbour != step.node for later in steps[k:])


@given(data=st.data())
def test_contraction_equals_the_dense_one(data: st.DataObject, trees: Any, dense: Any) -> None:
    tree = data.draw(trees())
    result = tree.to_tensor()
    assert result.names == tree.open_legs
    expected = dense(tree)
    np.testing.assert_allclose(tn.to_dense(result), expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1.0))


def test_one_node_is_a_tree() -> None:
    tree = TensorTree({"only": node("a", "b")}, "only")
    assert not tree.bonds
    assert tree.towards("only") == ()


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({}, "a tensor tree needs at least one node, got none"),
        ({"a": node("x", None)}, r"the legs of node 'a' need names, each its own; got \('x', None\)"),
        ({"a": node("x", "x")}, r"the legs of node 'a' need names, each its own; got \('x', 'x'\)"),
        ({"a": node("x"), "b": node("x"), "c": node("x")}, "the leg 'x' joins 3 nodes, a, b, c; a bond joins two"),
        ({"a": node("x"), "b": node("y")}, "the 2 nodes and 0 bonds are no tree"),
        ({"a": node("x", "y"), "b": node("x", "y")}, "the 2 nodes and 2 bonds are no tree.*got a -x- b, a -y- b"),
        (
            {"a": node("x", "y"), "b": node("x", "y"), "c": node("z")},
            "the 3 nodes and 2 bonds are no tree: a tree of n nodes is connected",
        ),
    ],
)
def test_what_is_no_tree(nodes: dict[str, tn.Tensor], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        TensorTree(nodes)


def test_ends_of_a_bond_that_differ() -> None:
    message = (
        r"leg 0 'x' \(1x0e\+1x1o\) of node 'a' and leg 1 'x' \(2x0e\+1x1o\) of node 'b' do not match: "
        "sector 0e has multiplicity 1 on the first and 2 on the second"
    )
    with pytest.raises(TensorError, match=message):
        TensorTree({"a": node("x"), "b": node("y", "x", leg="2x0e+1x1o")})


def test_unknown_names(star: TensorTree) -> None:
    with pytest.raises(NetworkError, match="there is no node 'leaf3'; the nodes are: leaf0, leaf1, leaf2, hub"):
        star.path("leaf0", "leaf3")
    with pytest.raises(NetworkError, match="there is no node 'leaf3'"):
        star.path("leaf3", "leaf0")
    with pytest.raises(NetworkError, match="there is no node 'leaf3'"):
        TensorTree(star.nodes, "leaf3")
    with pytest.raises(NetworkError, match="there is no bond 'a0'; the bonds are: bond0, bond1, bond2"):
        star.ends("a0")
    with pytest.raises(NetworkError, match="there is no leg 'c0'; the legs are: bond0, a0, b0"):
        star.leg("c0")
