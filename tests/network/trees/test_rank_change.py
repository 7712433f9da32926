"""Ranks: sectors on no path are cut, bonds grow without a change of the tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network import TensorTree, canonicalise, cut_dead_sectors, grow, live_bonds
from etn_gpu.symmetry import Irreps

LARGER = {"bond1": "5x0e+3x1o+2x2e", "bond2": "4x0e+1x0o+3x1e+3x1o+2x2e+1x2o"}


@given(data=st.data())
def test_live_sectors_of_trains_are_the_reachable_ones(data: st.DataObject, trains: Any) -> None:
    """The search on trees finds what the search of a Train finds on its chain."""
    train, _ = data.draw(trains())
    chain = (Irreps("1x0e"), *train.bonds, train.target)
    nodes = {
        f"G{t}": tn.zeros((chain[t + 1],), (chain[t], train.feature), names=(f"b{t + 1}", f"b{t}", f"f{t}"))
        for t in range(train.order)
    }
    live = live_bonds(TensorTree(nodes))
    assert tuple(leg.sort() for leg in live.values()) == train.reachable_bonds


@given(data=st.data())
def test_cutting_dead_sectors_changes_nothing(
    data: st.DataObject, trees: Any, dense: Any, assert_canonical: Callable[..., None]
) -> None:
    tree = data.draw(trees())
    cut = cut_dead_sectors(tree)
    expected = dense(tree)
    np.testing.assert_allclose(dense(cut), expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1.0))
    assert live_bonds(cut) == {bond: cut.leg(bond) for bond in cut.bonds}
    # Isometries stay isometries.
    assert_canonical(cut_dead_sectors(canonicalise(tree, next(iter(tree.nodes)))))


@given(data=st.data(), seed=st.integers(0, 99), noisy=st.booleans())
def test_growing_changes_nothing(data: st.DataObject, trees: Any, dense: Any, seed: int, noisy: bool) -> None:
    tree = data.draw(trees())
    bonds = data.draw(st.sets(st.sampled_from(sorted(tree.bonds)), min_size=1))
    more = {bond: Irreps([(mul + 2, ir) for mul, ir in tree.leg(bond)]) + "1x3o" for bond in bonds}
    bigger = grow(tree, more, rng=np.random.default_rng(seed) if noisy else None)
    live = live_bonds(tree)
    for bond in bonds:
        assert all(bigger.leg(bond).count(ir) == mul + 2 for mul, ir in live[bond])
    expected = dense(tree)
    np.testing.assert_allclose(dense(bigger), expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1.0))


def test_new_components_are_random_at_the_first_end(train: TensorTree) -> None:
    bigger = grow(train, {"bond2": "4x0e+2x1e+3x1o+2x2e"}, rng=np.random.default_rng(0), noise=0.1)
    first, second = bigger.nodes["G2"], bigger.nodes["G3"]
    new = slice(2, 4)
    added = tn.to_dense(first)[new]
    kept = tn.to_dense(train.nodes["G2"])
    # Per number: as many as there are places for them.
    sizes = {name: tree.nodes["G2"].structure.size for name, tree in (("old", train), ("new", bigger))}
    share = np.sum(added**2) / (sizes["new"] - sizes["old"]) / (np.sum(kept**2) / sizes["old"])
    assert 0.05**2 < share < 0.2**2
    assert not tn.to_dense(second)[:, new].any()
    assert bigger.centre is None


def test_growing_without_noise_pads_with_zeros(train: TensorTree) -> None:
    bigger = grow(train, LARGER)
    for name, node in bigger.nodes.items():
        assert np.count_nonzero(node.data) == np.count_nonzero(train.nodes[name].data)
    assert str(bigger.leg("bond2")) == "4x0e+3x1o+3x1e+1x2o+2x2e"  # no path leads to 0o


def test_growth_in_canonical_form_is_a_subspace_expansion(
    train: TensorTree, dense: Any, assert_canonical: Callable[..., None]
) -> None:
    """Towards the second end the present isometry is kept and the new columns are orthonormal to it."""
    tree = canonicalise(train, "G3")
    bigger = canonicalise(grow(tree, {"bond2": "4x0e+3x1e+4x1o+4x2e"}, rng=np.random.default_rng(0)), "G3")
    assert_canonical(bigger)
    for ir, matrix in tree.nodes["G2"].blocks.items():
        larger = bigger.nodes["G2"].blocks[ir]
        assert len(larger) > len(matrix) or ir.l == 0
        np.testing.assert_allclose(np.abs(larger @ matrix.T)[: len(matrix)], np.eye(len(matrix)), atol=1e-10)
    np.testing.assert_allclose(dense(bigger), dense(train), rtol=0, atol=1e-10)


@pytest.mark.parametrize("noise", [-1.0, float("nan")])
def test_noise_that_cannot_be(train: TensorTree, noise: float) -> None:
    with pytest.raises(NetworkError, match="the noise of new components must be a number >= 0, got"):
        grow(train, LARGER, rng=np.random.default_rng(0), noise=noise)


def test_growing_to_less(train: TensorTree) -> None:
    message = (
        r"growing the bond 'bond1' from 4x0e\+3x1o\+2x2e to 9x0e\+2x1o would lose components of 3x1o, 2x2e; "
        "ask for at least as many, and reduce ranks with compress or truncate"
    )
    with pytest.raises(NetworkError, match=message):
        grow(train, {"bond1": "9x0e+2x1o"})


def test_growing_an_unknown_bond(train: TensorTree) -> None:
    with pytest.raises(NetworkError, match="there is no bond 'bond4'; the bonds are: bond1, bond2, bond3"):
        grow(train, {"bond4": "9x0e"})


def test_no_path() -> None:
    nodes = {
        "a": tn.zeros(("2x1o",), ("3x0e+1x1o",), names=("bond", "left")),
        "b": tn.zeros(("2x1o",), ("3x0e",), names=("bond", "right")),
    }
    with pytest.raises(NetworkError, match=r"nothing is left of the bond 'bond' \(2x1o\)"):
        cut_dead_sectors(TensorTree(nodes))


def test_unsorted_bonds(dense: Any) -> None:
    """Growth sorts the sectors of a bond; components move with them."""
    rng = np.random.default_rng(0)
    bonds = "2x1o+3x0e"
    nodes = {
        "a": tn.random((bonds,), ("2x0e+2x1o",), rng=rng, names=("bond", "left")),
        "b": tn.random((bonds,), ("2x0e+2x1o",), rng=rng, names=("bond", "right")),
    }
    tree = TensorTree(nodes)
    bigger = grow(tree, {"bond": "2x1o+4x0e"})
    assert str(bigger.leg("bond")) == "4x0e+2x1o"
    np.testing.assert_allclose(dense(bigger), dense(tree), rtol=0, atol=1e-12)
