"""Canonical forms: the network does not change, every node is isometric towards the centre, in full tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError, TensorError
from etn_gpu.network import TensorTree, canonicalise, norm


@given(data=st.data())
@settings(max_examples=40)
def test_any_node_can_be_the_centre(
    data: st.DataObject, trees: Any, dense: Any, assert_canonical: Callable[..., None]
) -> None:
    tree = data.draw(trees())
    centre = data.draw(st.sampled_from(sorted(tree.nodes)))
    with tn.debug():
        result = canonicalise(tree, centre)
    expected = dense(tree)
    np.testing.assert_allclose(dense(result), expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1e-300))
    assert result.centre == centre
    assert_canonical(result)


@given(data=st.data())
def test_the_norm_is_that_of_the_centre(data: st.DataObject, trees: Any, dense: Any) -> None:
    tree = data.draw(trees())
    full = np.linalg.norm(dense(tree))
    assert norm(tree) == pytest.approx(full, rel=1e-12)
    result = canonicalise(tree, next(iter(tree.nodes)))
    assert result.nodes[str(result.centre)].norm() == pytest.approx(full, rel=1e-12)


@pytest.mark.parametrize(("start", "end", "moved"), [("G1", "G3", {"G1", "G2", "G3"}), ("G4", "G3", {"G3", "G4"})])
def test_moving_the_centre_touches_the_nodes_on_the_way(
    train: TensorTree, dense: Any, assert_canonical: Callable[..., None], start: str, end: str, moved: set[str]
) -> None:
    before = canonicalise(train, start)
    after = canonicalise(before, end)
    assert {name for name in train.nodes if after.nodes[name] is not before.nodes[name]} == moved
    assert_canonical(after)
    np.testing.assert_allclose(dense(after), dense(train), rtol=0, atol=1e-10)


def test_layout_of_the_nodes_is_kept(star: TensorTree) -> None:
    result = canonicalise(star, "leaf2")
    for name, node in star.nodes.items():
        assert result.nodes[name].names == node.names
        assert result.nodes[name].n_rows == node.n_rows


def test_bonds_shrink_to_what_their_sides_can_use() -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "a": tn.random(("9x0e+2x1o+1x1e",), ("2x0e+1x1o",), rng=rng, names=("bond", "left")),
        "b": tn.random(("9x0e+2x1o+1x1e",), ("3x0e+2x1o",), rng=rng, names=("bond", "right")),
    }
    assert str(canonicalise(TensorTree(nodes), "b").leg("bond")) == "2x0e+1x1o"
    assert str(canonicalise(TensorTree(nodes), "a").leg("bond")) == "3x0e+2x1o"


def test_complex_numbers_and_single_precision(star: TensorTree, dense: Any) -> None:
    for dtype, tolerance in (("complex128", 1e-11), ("float32", 1e-3)):
        rng = np.random.default_rng(2)
        nodes = {
            name: tn.random(t.legs[:1], t.legs[1:], rng=rng, names=t.names, dtype=dtype)
            for name, t in star.nodes.items()
        }
        tree = TensorTree(nodes)
        result = canonicalise(tree, "leaf0")
        assert {str(t.dtype) for t in result.nodes.values()} == {dtype}
        np.testing.assert_allclose(dense(result), dense(tree), rtol=0, atol=tolerance)


def test_rank_deficient_nodes(train: TensorTree, dense: Any, assert_canonical: Callable[..., None]) -> None:
    """A core of zeros gives an isometry all the same, and the network stays zero."""
    nodes = dict(train.nodes)
    nodes["G2"] = nodes["G2"] * 0.0
    result = canonicalise(TensorTree(nodes), "G4")
    assert_canonical(result)
    assert not dense(result).any()


def test_unknown_centre(train: TensorTree) -> None:
    with pytest.raises(NetworkError, match="there is no node 'G9'; the nodes are: G1, G2, G3, G4"):
        canonicalise(train, "G9")


def test_legs_that_do_not_couple() -> None:
    nodes = {
        "a": tn.zeros(("2x1o",), ("3x0e",), names=("bond", "left")),
        "b": tn.zeros(("2x1o",), ("3x1o",), names=("bond", "right")),
    }
    with pytest.raises(NetworkError, match=r"nothing is left of the bond 'bond' \(2x1o\) between a and b: no sector"):
        canonicalise(TensorTree(nodes), "b")


def test_numbers_that_are_not_finite(train: TensorTree) -> None:
    nodes = dict(train.nodes)
    nodes["G1"] = nodes["G1"] * float("nan")
    with pytest.raises(TensorError, match="numbers that are not finite in the coupled sectors"):
        canonicalise(TensorTree(nodes), "G4")
