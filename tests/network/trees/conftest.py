"""Random trees and trains of tensors, and their dense contraction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network import TensorTree, Train, from_train
from etn_gpu.symmetry import Irrep, Irreps

Array = NDArray[np.float64]
#: Pseudo-irreps 0o, 1e, 2o among them.
IRREPS = tuple(map(Irrep.parse, ("1o", "0o", "1e", "2e", "2o")))


def legs_of(most: int, sectors: int = 2) -> st.SearchStrategy[Irreps]:
    """Legs of 0e, so that no network vanishes, and up to `sectors` others, with multiplicities 1 to `most`."""
    multiplicity = st.integers(1, most)
    others = st.dictionaries(st.sampled_from(IRREPS), multiplicity, max_size=sectors)
    return st.builds(lambda mul, leg: Irreps([(mul, "0e"), *((n, ir) for ir, n in leg.items())]), multiplicity, others)


@st.composite
def trees_of(draw: st.DrawFn, max_nodes: int = 5) -> TensorTree:
    """Trees of every shape: nodes with 0 to 2 open legs, legs in any order, any number of them rows."""
    count = draw(st.integers(2, max_nodes))
    legs: list[dict[str, Irreps]] = [{} for _ in range(count)]
    for node in range(1, count):
        parent = draw(st.integers(0, node - 1))
        legs[node][f"bond{node}"] = legs[parent][f"bond{node}"] = draw(legs_of(3))
    for node in range(count):
        for k in range(draw(st.sampled_from((1, 1, 1, 2, 0) if count < 5 else (1, 1, 1, 0)))):
            legs[node][f"open{node}{k}"] = draw(legs_of(2, 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes = {}
    for node, named in enumerate(legs):
        names = draw(st.permutations(list(named)))
        split = draw(st.integers(0, len(names)))
        zero = tn.zeros([named[x] for x in names[:split]], [named[x] for x in names[split:]])
        nodes[f"node{node}"] = tn.Tensor(zero.structure, rng.standard_normal(zero.structure.size), tuple(names))
    return TensorTree(nodes)


@st.composite
def trains_of(draw: st.DrawFn, max_order: int = 4) -> tuple[Train, dict[str, Array]]:
    """A train of order 2 to 4, scalar or covariant, with random weights."""
    bonds = draw(st.lists(legs_of(3), min_size=1, max_size=max_order - 1))
    target = draw(st.sampled_from(("1x0e", "1x0e", "1x1o", "1x1e", "1x0o")))
    feature = Irreps("2x0e") + draw(st.sampled_from(("1x1o", "2x1o", "1x1o+1x2e", "1x1e")))
    try:
        train = Train(feature, tuple(bonds), Irreps(target))
    except NetworkError:
        assume(False)
        raise
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return train, {core.name: rng.standard_normal(core.size) for core in train.cores}


def contracted(network: TensorTree) -> Array:
    """The full tensor over the open legs, one einsum over the dense nodes."""
    letters: dict[Any, str] = {}
    for tensor in network.nodes.values():
        for name in tensor.names:
            letters.setdefault(name, chr(ord("a") + len(letters)))
    terms = ["".join(letters[name] for name in tensor.names) for tensor in network.nodes.values()]
    equation = f"{','.join(terms)}->{''.join(letters[name] for name in network.open_legs)}"
    return np.einsum(equation, *map(tn.to_dense, network.nodes.values()), optimize="greedy")


def require_canonical(network: TensorTree) -> None:
    """Each node, as a dense matrix from the bond towards the centre to all other legs, has orthonormal columns."""
    assert network.centre is not None
    for step in network.towards(network.centre):
        node = network.nodes[step.node]
        axis = node.axis(step.bond)
        matrix = np.moveaxis(tn.to_dense(node), axis, -1).reshape(-1, node.legs[axis].dim)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), rtol=0, atol=1e-12)


@pytest.fixture(scope="session")
def trees() -> Callable[..., st.SearchStrategy[TensorTree]]:
    """Strategy for tensor trees; ``trees(max_nodes=5)``."""
    return trees_of


@pytest.fixture(scope="session")
def trains() -> Callable[..., st.SearchStrategy[tuple[Train, dict[str, Array]]]]:
    """Strategy for trains with weights; ``trains(max_order=4)``."""
    return trains_of


@pytest.fixture(scope="session")
def dense() -> Callable[[TensorTree], Array]:
    """The full tensor of a tree, over its open legs in their order."""
    return contracted


@pytest.fixture(scope="session")
def assert_canonical() -> Callable[[TensorTree], None]:
    """Every node is isometric towards the centre."""
    return require_canonical


@pytest.fixture(scope="session")
def coefficients(oracle: Any) -> Callable[[Train, Mapping[str, Array]], Array]:
    """The coefficient tensor of a train, its target (and trivial source) included, without the tensor library."""

    def contract(train: Train, weights: Mapping[str, Array]) -> Array:
        full = np.ones((1, 1))
        for core in train.cores:
            full = np.tensordot(full, oracle.dense(core, weights[core.name]), axes=1)
        return full

    return contract


@pytest.fixture
def train() -> TensorTree:
    """A train of order 4 with every kind of sector, as a tree."""
    bonds = ("4x0e+3x1o+2x2e", "2x0e+2x1e+3x1o+2x2e", "4x0e+3x1o")
    cores = Train(Irreps("4x0e+3x1o+2x2e"), tuple(map(Irreps, bonds)))
    rng = np.random.default_rng(0)
    return from_train(cores, {core.name: rng.standard_normal(core.size) for core in cores.cores})


@pytest.fixture
def star() -> TensorTree:
    """Three leaves with two open legs each around a node without any."""
    rng = np.random.default_rng(1)
    bond = "4x0e+3x1o+1x1e"
    nodes = {
        f"leaf{k}": tn.random((bond,), ("2x0e+2x1o", "1x0e+2x1o"), rng=rng, names=(f"bond{k}", f"a{k}", f"b{k}"))
        for k in range(3)
    }
    nodes["hub"] = tn.random((bond,), (bond, bond), rng=rng, names=("bond0", "bond1", "bond2"))
    return TensorTree(nodes)
