"""Bond expansion: the tensor stays, new components are orthonormal and lie along the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network import (
    TensorTree,
    Train,
    canonicalise,
    from_train,
    probe,
    room,
    select,
    sort_by_gradient,
    truncate,
    turn_to_singular,
    turn_towards,
)
from etn_gpu.network.canonical import as_map
from etn_gpu.network.expansion import near_node
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor import Tensor

CENTRES = (("G2", "bond1"), ("G1", "bond1"), ("G2", "bond2"), ("G3", "bond2"))


@pytest.fixture
def network() -> TensorTree:
    train = Train(Irreps("3x0e+2x1o+1x2e"), (Irreps("2x0e+1x1o"), Irreps("2x0e+2x1o")))
    rng = np.random.default_rng(0)
    return from_train(train, {core.name: rng.normal(size=core.size) for core in train.cores})


def pair_gradient(network: TensorTree, bond: str, slope: Tensor, node: str) -> Tensor:
    """Gradient with respect to a node, for a function of gradient `slope` with respect to the merged pair."""
    other = next(end for end in network.ends(bond) if end != node)
    shared = [str(name) for name in network.nodes[other].names if name in slope.names]
    found = tn.contract(slope, network.nodes[other], [(name, name) for name in shared])
    like = network.nodes[node]
    names = [str(name) for name in like.names]
    return tn.permute(found, names[: like.n_rows], names[like.n_rows :])


def slope_of(network: TensorTree, bond: str, rank: int) -> Tensor:
    """A random gradient with respect to the merged pair, of a low rank in every sector."""
    first, second = (network.nodes[end] for end in network.ends(bond))
    pair = tn.contract(first, second, [(bond, bond)])
    rng = np.random.default_rng(5)
    slope = tn.random(pair.legs[: pair.n_rows], pair.legs[pair.n_rows :], rng=rng, names=pair.names)
    factors = tn.truncated_svd(slope, max_bond=Irreps([(rank, ir) for ir in slope.blocks]))
    return tn.contract(tn.contract(factors.u, factors.s.tensor(), [(-1, 0)]), factors.v, [(-1, 0)])


@pytest.mark.parametrize(("centre", "bond"), CENTRES)
def test_enough_components_hold_all_of_the_gradient(
    centre: str, bond: str, network: TensorTree, dense: Any, assert_canonical: Any
) -> None:
    network = canonicalise(network, centre)
    full, old = dense(network), network.leg(bond)
    slope = slope_of(network, bond, rank=2)
    extra = Irreps([(min(2, mul), ir) for mul, ir in room(network, bond)])
    near = near_node(network, bond)
    with tn.debug():
        probed = probe(network, bond, extra, np.random.default_rng(1))
        turned = turn_towards(probed, bond, old, pair_gradient(probed, bond, slope, near))
        found, promised = sort_by_gradient(turned, bond, old, pair_gradient(turned, bond, slope, centre))
    for changed in (probed, turned, found):
        np.testing.assert_allclose(dense(changed), full, rtol=0, atol=1e-12 * np.abs(full).max())
        assert changed.leg(bond) == (old + extra).sort().simplify()
    assert_canonical(turned)
    assert_canonical(found)

    # What the near node lets through of the slope is all of it, and the promise is what the new part gets.
    reached = as_map(pair_gradient(found, bond, slope, centre), bond)
    for ir, matrix in reached.blocks.items():
        new = matrix[:, old.count(ir) :]
        np.testing.assert_allclose(np.linalg.norm(new, axis=0), promised.get(ir, np.empty(0)), atol=1e-10)
        assert np.all(np.diff(promised.get(ir, np.empty(0))) <= 0)
    assert reached.squared_norm() == pytest.approx(slope.squared_norm(), rel=1e-10)


@given(data=st.data())
@settings(max_examples=30)
def test_room_is_the_complement_at_the_near_node(data: st.DataObject, trees: Any) -> None:
    tree = data.draw(trees())
    bond = data.draw(st.sampled_from(sorted(tree.bonds)))
    tree = canonicalise(tree, tree.ends(bond)[0])
    centre, near = (tree.nodes[end] for end in tree.ends(bond))
    pair = tn.contract(near, centre, [(bond, bond)])
    rows, cols = ([str(name) for name in node.names if name != bond] for node in (near, centre))
    full = tn.permute(pair, rows, cols)
    expected = {ir: len(matrix) - tree.leg(bond).count(ir) for ir, matrix in full.blocks.items()}
    assert {ir: mul for mul, ir in room(tree, bond)} == {ir: mul for ir, mul in expected.items() if mul > 0}


def test_singular_basis_and_selection(network: TensorTree, dense: Any, assert_canonical: Any) -> None:
    network = canonicalise(network, "G2")
    full = dense(network)
    turned, turns = turn_to_singular(network, "bond2", network.leg("bond2"))
    np.testing.assert_allclose(dense(turned), full, rtol=0, atol=1e-12 * np.abs(full).max())
    assert_canonical(turned)
    for ir, matrix in as_map(turned.nodes["G2"], "bond2").blocks.items():
        gram = matrix.T @ matrix
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12 * gram.max())
        assert np.all(np.diff(np.diag(gram)) <= 0)
        np.testing.assert_allclose(as_map(network.nodes["G2"], "bond2").blocks[ir] @ turns[ir], matrix, atol=1e-12)

    # Keeping the first singular vectors is truncation.
    smaller = select(turned, "bond2", {Irrep(0, 1): [0], Irrep(1, -1): [0, 1]})
    expected = dense(truncate(network, "bond2", max_bond="1x0e+2x1o").network)
    np.testing.assert_allclose(dense(smaller), expected, rtol=0, atol=1e-12 * np.abs(full).max())
    assert str(smaller.leg("bond2")) == "1x0e+2x1o"
    assert_canonical(smaller)


def test_a_centre_elsewhere(network: TensorTree) -> None:
    with pytest.raises(NetworkError, match=r"needs the centre at G1 or G2, got G3; call canonicalise"):
        probe(canonicalise(network, "G3"), "bond1", Irreps("1x0e"), np.random.default_rng(0))


def test_nothing_selected(network: TensorTree) -> None:
    with pytest.raises(NetworkError, match="nothing is left of the bond 'bond1'"):
        select(canonicalise(network, "G1"), "bond1", {})
