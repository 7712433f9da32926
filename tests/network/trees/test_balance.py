"""The balanced gauge: the same tensor, both ends of a bond alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.network import Train, balance, from_train, to_train
from etn_gpu.symmetry import Irreps


@given(data=st.data())
@settings(max_examples=30)
def test_the_tensor_stays_and_squares_get_less(data: st.DataObject, trees: Any, dense: Any) -> None:
    tree = data.draw(trees())
    with tn.debug():
        balanced = balance(tree)
    full = dense(tree)
    np.testing.assert_allclose(dense(balanced), full, rtol=0, atol=1e-10 * max(1.0, np.abs(full).max()))
    assert balanced.centre is None
    before, after = (sum(node.squared_norm() for node in network.nodes.values()) for network in (tree, balanced))
    assert after <= before * (1 + 1e-12)


def test_both_ends_of_a_bond_have_the_same_gram_matrix() -> None:
    train = Train(Irreps("3x0e+2x1o"), (Irreps("2x0e+1x1o"), Irreps("2x0e+2x1o+1x2e"), Irreps("2x0e+2x1o")))
    rng = np.random.default_rng(3)
    network = from_train(train, {core.name: rng.normal(size=core.size) for core in train.cores})
    for _ in range(4):
        network = balance(network)
    for bond, ends in network.bonds.items():
        grams = []
        for end in ends:
            node = network.nodes[end]
            others = [str(name) for name in node.names if name != bond]
            grams.append(tn.contract(node, node.rename({bond: "again"}), [(name, name) for name in others]).data)
        np.testing.assert_allclose(grams[0], grams[1], rtol=0, atol=1e-3 * np.abs(grams[0]).max())
    assert to_train(network).train == train
