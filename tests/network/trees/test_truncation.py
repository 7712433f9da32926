"""Truncation: the discarded weight is the squared error of the full tensor, for one bond, for all, for pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError, TensorError
from etn_gpu.network import TensorTree, canonicalise, compress, grow, live_bonds, merge, spectrum, split, truncate


def squared_distance(first: Any, second: Any) -> float:
    return float(np.sum((first - second) ** 2))


@given(data=st.data(), max_bond=st.integers(1, 4))
@settings(max_examples=40)
def test_one_bond(data: st.DataObject, trees: Any, dense: Any, max_bond: int) -> None:
    tree = data.draw(trees())
    bond = data.draw(st.sampled_from(sorted(tree.bonds)))
    full = dense(tree)
    with tn.debug():
        network, kept, weight = truncate(tree, bond, max_bond=max_bond)
    assert network.leg(bond).num_irreps <= max_bond
    assert kept.leg == network.leg(bond)
    assert network.centre in tree.bonds[bond]
    scale = np.sum(full**2)
    assert squared_distance(dense(network), full) == pytest.approx(weight, rel=1e-9, abs=1e-12 * scale)


@given(data=st.data(), max_bond=st.sampled_from((1, 2, 3, "1x0e+2x1o+1x1e", "2x0e+1x0o+1x2o")))
@settings(max_examples=60)
def test_all_bonds(
    data: st.DataObject, trees: Any, dense: Any, assert_canonical: Callable[..., None], max_bond: int | str
) -> None:
    """The weights discarded at the bonds add up to the squared error; no dead sector is left."""
    tree = data.draw(trees())
    centre = data.draw(st.sampled_from(sorted(tree.nodes)))
    result = compress(tree, centre, max_bond=max_bond)
    full = dense(tree)
    scale = np.sum(full**2)
    assert set(result.discarded_weights) == set(tree.bonds)
    assert squared_distance(dense(result.network), full) == pytest.approx(
        result.discarded_weight, rel=1e-9, abs=1e-12 * scale
    )
    assert result.relative_error == pytest.approx(np.sqrt(result.discarded_weight / scale), rel=1e-9)
    assert live_bonds(result.network) == {bond: result.network.leg(bond) for bond in tree.bonds}
    assert_canonical(result.network)


def test_the_spectrum_is_that_of_the_full_tensor(train: TensorTree, dense: Any) -> None:
    """Singular values of the dense matrix across a bond, each 2l+1 fold."""
    full = dense(train)
    dims = [train.leg(name).dim for name in train.open_legs]
    assert train.open_legs == ("source", "feature1", "feature2", "feature3", "target", "feature4")
    matrix = full.reshape(dims[0] * dims[1] * dims[2], -1)
    expected = np.linalg.svd(matrix, compute_uv=False)
    found = spectrum(train, "bond2")
    values = np.sort(np.concatenate([np.repeat(values, ir.dim) for ir, values in found.items()]))[::-1]
    np.testing.assert_allclose(values, expected[: len(values)], rtol=1e-10)
    np.testing.assert_allclose(expected[len(values) :], 0.0, atol=1e-10 * expected[0])


def test_no_other_truncation_of_a_bond_is_better(train: TensorTree, dense: Any) -> None:
    """Keeping other singular vectors of the same number costs more."""
    weight = truncate(train, "bond2", max_bond=4).discarded_weight
    for limits in ("4x0e", "2x0e+2x1o", "1x0e+1x1e+1x1o+1x2e", "4x1o"):
        assert truncate(train, "bond2", max_bond=limits).discarded_weight >= weight


def test_compression_is_quasi_optimal(train: TensorTree) -> None:
    """The squared error is at most the sum over bonds of the least error of a cut there alone."""
    result = compress(train, "G2", max_bond=3)
    alone = sum(truncate(train, bond, max_bond=3).discarded_weight for bond in train.bonds)
    assert 0 < result.discarded_weight <= alone * (1 + 1e-12)


def test_limits_by_bond(train: TensorTree) -> None:
    result = compress(train, "G1", max_bond={"bond2": "1x0e+2x1o", "bond3": 2})
    assert [str(result.network.leg(bond)) for bond in train.bonds][:2] == ["4x0e+3x1o+2x2e", "1x0e+2x1o"]
    assert result.network.leg("bond3").num_irreps == 2
    assert result.discarded_weights["bond1"] == 0.0


def test_cutoff_takes_away_what_is_not_there(train: TensorTree, dense: Any) -> None:
    """Doubling a network doubles its bonds; a cutoff far below all values finds the ranks again."""
    tree = canonicalise(train, "G1")
    ranks = [tree.leg(bond) for bond in tree.bonds]
    bigger = grow(tree, {"bond2": "6x0e+4x1e+5x1o+5x2e"}, rng=np.random.default_rng(0))
    result = compress(bigger, "G1", cutoff=1e-10)
    assert [result.network.leg(bond) for bond in tree.bonds] == ranks
    np.testing.assert_allclose(dense(result.network), dense(train), rtol=0, atol=1e-10)


def test_sectors_that_lead_nowhere_are_dropped(train: TensorTree, dense: Any) -> None:
    """Once bond 3 has only 0e, no feature takes 1e of bond 2 there: there is no feature 1e."""
    result = compress(train, "G4", max_bond={"bond2": "2x0e+2x1e+2x1o", "bond3": "2x0e"})
    assert str(result.network.leg("bond2")) == "2x0e+2x1o"
    assert squared_distance(dense(result.network), dense(train)) == pytest.approx(result.discarded_weight, rel=1e-10)


@pytest.mark.parametrize("centre", ["G2", "G3"])
def test_a_pair_is_merged_and_split(train: TensorTree, dense: Any, centre: str) -> None:
    network = canonicalise(train, "G3")
    pair = merge(network, "bond2")
    assert set(pair.names) == {"bond1", "feature2", "feature3", "bond3"}
    whole = split(network, "bond2", pair, centre=centre)
    assert whole.discarded_weight == 0.0
    np.testing.assert_allclose(dense(whole.network), dense(train), rtol=0, atol=1e-10)
    parts = split(network, "bond2", pair, centre=centre, max_bond=3)
    assert parts.network.centre == centre
    assert parts.discarded_weight == pytest.approx(truncate(train, "bond2", max_bond=3).discarded_weight, rel=1e-10)
    error = squared_distance(dense(parts.network), dense(train))
    assert error == pytest.approx(parts.discarded_weight, rel=1e-10)
    moved = canonicalise(parts.network, "G1")
    np.testing.assert_allclose(dense(moved), dense(parts.network), rtol=0, atol=1e-10)


def test_a_pair_with_new_numbers_adapts_the_ranks(train: TensorTree, dense: Any) -> None:
    """A two-site update may bring sectors and ranks that the bond did not have."""
    network = compress(train, "G2", max_bond={"bond2": "1x0e"}).network
    pair = merge(network, "bond2")
    rng = np.random.default_rng(3)
    noise = tn.random(pair.legs[: pair.n_rows], pair.legs[pair.n_rows :], rng=rng, names=pair.names)
    result = split(network, "bond2", pair + 0.1 * noise, centre="G3", cutoff=1e-3)
    assert result.network.leg("bond2").num_irreps > 1
    np.testing.assert_allclose(tn.to_dense(merge(result.network, "bond2")), tn.to_dense(pair + 0.1 * noise), atol=0.1)


def test_stars(star: TensorTree, dense: Any) -> None:
    """The hub has no open leg; sectors of different bonds depend on each other through it."""
    result = compress(star, "hub", max_bond=3)
    error = squared_distance(dense(result.network), dense(star))
    assert error == pytest.approx(result.discarded_weight, rel=1e-10)


def test_a_zero_network_has_no_error(train: TensorTree) -> None:
    nodes = {name: node * 0.0 for name, node in train.nodes.items()}
    assert compress(TensorTree(nodes), "G1", max_bond=2).relative_error == 0.0
    with pytest.raises(NetworkError, match=r"nothing is left of the bond 'bond3'.*or lower the cutoff"):
        compress(TensorTree(nodes), "G1", cutoff=1e-8)


def test_errors(train: TensorTree) -> None:
    with pytest.raises(NetworkError, match="there is no bond 'bond9'; the bonds are: bond1, bond2, bond3"):
        truncate(train, "bond9")
    with pytest.raises(NetworkError, match="there is no bond 'bnd1'"):
        compress(train, "G1", max_bond={"bnd1": 3})
    with pytest.raises(
        NetworkError, match=r"nothing is left of the bond 'bond1' \(4x0e\+3x1o\+2x2e\) between G1 and G2"
    ):
        truncate(train, "bond1", max_bond="4x3o")
    with pytest.raises(TensorError, match="max_bond must be an integer >= 1"):
        compress(train, "G1", max_bond=0)
    with pytest.raises(TensorError, match="cutoff is relative to the largest singular value"):
        truncate(train, "bond1", cutoff=-1.0)


def test_splitting_needs_the_centre(train: TensorTree) -> None:
    pair = merge(train, "bond2")
    with pytest.raises(NetworkError, match="needs the centre at G2 or G3, before and after; got None and G2"):
        split(train, "bond2", pair, centre="G2")
    network = canonicalise(train, "G2")
    with pytest.raises(NetworkError, match="before and after; got G2 and G1"):
        split(network, "bond2", pair, centre="G1")
    with pytest.raises(TensorError, match="there is no leg 'bond1'"):
        split(network, "bond2", merge(network, "bond3"), centre="G2")
    with pytest.raises(NetworkError, match="nothing is left of the bond 'bond2'"):
        split(network, "bond2", merge(network, "bond2"), centre="G2", max_bond="1x5o")
