"""Trees with nodes of zeros, of numbers that are not finite, with empty bonds: a clear error or the right result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError, TensorError
from etn_gpu.network import (
    TensorTree,
    Train,
    canonicalise,
    compress,
    from_train,
    grow,
    merge,
    norm,
    spectrum,
    split,
    to_train,
    truncate,
)
from etn_gpu.symmetry import Irreps

OPERATIONS: dict[str, Callable[[TensorTree], Any]] = {
    "canonicalise": lambda tree: canonicalise(tree, "G2"),
    "norm": norm,
    "spectrum": lambda tree: spectrum(tree, "bond2"),
    "truncate": lambda tree: truncate(tree, "bond2", max_bond=2),
    "compress": lambda tree: compress(tree, "G2", max_bond=2),
    "split": lambda tree: split(TensorTree(tree.nodes, "G2"), "bond2", merge(tree, "bond2"), centre="G2"),
}


def with_factor(tree: TensorTree, node: str, factor: float) -> TensorTree:
    return TensorTree({**tree.nodes, node: tree.nodes[node] * factor})


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("node", ["G2", "G3"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_numbers_that_are_not_finite(train: TensorTree, operation: str, node: str, wrong: float) -> None:
    """Wherever they are: at the centre no decomposition would notice them."""
    with pytest.raises(TensorError, match="numbers that are not finite in the coupled sectors"):
        OPERATIONS[operation](with_factor(train, node, wrong))


def test_a_single_node_that_is_not_finite() -> None:
    """There is no bond to decompose at; the relative error of its compression would read 0."""
    tree = TensorTree({"only": tn.identity(["1x1o"], names=("a", "b")) * np.nan})
    with pytest.raises(TensorError, match="numbers that are not finite in the coupled sectors 1o"):
        compress(tree, "only")


def test_a_node_of_zeros_truncates_to_what_was_asked_for(train: TensorTree, dense: Any) -> None:
    result = compress(with_factor(train, "G3", 0.0), "G2", max_bond=1)
    assert [result.network.leg(bond).num_irreps for bond in result.network.bonds] == [1, 1, 1]
    assert (result.discarded_weight, result.relative_error) == (0.0, 0.0)
    assert not dense(result.network).any()


@pytest.mark.parametrize("sector", ["0e", "1o", "2e"])
def test_a_sector_of_zeros_leaves_its_bond(train: TensorTree, dense: Any, sector: str) -> None:
    """A bond of which one sector is zero loses it to the smallest cutoff, and the tensor does not change."""
    kept = Irreps([(mul, ir) for mul, ir in train.leg("bond2") if str(ir) != sector])
    blocks = {ir: np.eye(mul) for mul, ir in kept}
    projection = tn.from_blocks([train.leg("bond2")], [train.leg("bond2")], blocks, names=(None, "bond2"))
    core = train.nodes["G2"]
    projected = tn.permute(tn.contract(core, projection, [("bond2", 0)]), ["bond2"], ["bond1", "feature2"])
    tree = TensorTree({**train.nodes, "G2": projected})
    result = compress(tree, "G1", cutoff=1e-12).network
    assert sector not in str(result.leg("bond2"))
    np.testing.assert_allclose(dense(result), dense(tree), rtol=0, atol=1e-10)
    back = to_train(result)
    assert sector not in str(back.train.bonds[1])


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_numbers_far_from_one(train: TensorTree, scale: float) -> None:
    """The norm, and which singular values are kept, do not depend on the scale."""
    scaled = with_factor(train, "G3", scale)
    assert norm(scaled) == pytest.approx(scale * norm(train), rel=1e-12)
    with np.errstate(over="ignore"):  # in the weight that is discarded
        found = truncate(scaled, "bond2", max_bond=3).network.leg("bond2")
    assert found == truncate(train, "bond2", max_bond=3).network.leg("bond2")


def test_an_empty_bond_cannot_grow() -> None:
    nodes = {
        "a": tn.zeros(("",), ("3x0e",), names=("bond", "left")),
        "b": tn.zeros(("",), ("3x0e",), names=("bond", "right")),
    }
    with pytest.raises(NetworkError, match=r"nothing is left of the bond 'bond' \(\) between a and b"):
        grow(TensorTree(nodes), {"bond": "2x0e"}, rng=np.random.default_rng(0))


def test_weights_that_are_no_numbers() -> None:
    train = Train(Irreps("3x0e"), (Irreps("2x0e"),))
    with pytest.raises(TensorError, match="a tensor holds one of float32, float64, complex64, complex128, got <U1"):
        from_train(train, {"G1": np.array(["a"] * 6), "G2": np.zeros(6)})
