"""The cores of a train as tensors: weights of a potential become a tensor tree, and a tree becomes weights again.

A core is the tensor (out | left, feature), whose buffer is the weight array of :class:`etn_gpu.plan.Core`, number by
number: nothing is converted. The legs of core t are named as in ``Train.expression``: bond t-1, feature t, bond t, with
'source' (1x0e) at the beginning and 'target' at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network.canonical import canonicalise
from etn_gpu.network.ranks import grow, relabel_bond
from etn_gpu.network.train import SCALAR, Train
from etn_gpu.network.tree import TensorTree
from etn_gpu.network.truncation import BondLimit, Compression, compress
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor import Tensor
from etn_gpu.tensor.create import layout

Array = NDArray[np.float64]
T = TypeVar("T")


class TrainState(NamedTuple):
    """A train, and the weights of its cores by name.

    For a potential: ``replace(architecture, bonds=tuple(map(str, train.bonds)))``, and the weights in place of the
    parameters of the same names.
    """

    train: Train
    weights: dict[str, Array]


def from_train(train: Train, weights: Mapping[str, Array]) -> TensorTree:
    """The train as a tensor tree with the nodes G1 ... Gd; the weight arrays are shared, not copied.

    `weights` holds one flat array per core; other entries (all parameters of a potential) are ignored.

    Raises :class:`~etn_gpu.errors.NetworkError` if the weights of a core are missing, misshapen or not finite, and
    :class:`~etn_gpu.errors.TensorError` if they are no real or complex numbers.
    """
    nodes = {}
    for names, core in zip(_leg_names(train.order), train.cores, strict=True):
        data = np.asarray(weights.get(core.name, ()))
        if data.shape != (core.size,):
            got = f"an array of shape {data.shape}" if core.name in weights else "nothing"
            raise NetworkError(
                f"core {core.name} ({core.left} x {core.feature} -> {core.out}) needs {core.size} weights, got {got}"
            )
        nodes[core.name] = Tensor(layout((core.out,), (core.left, core.feature)), data, names)
        if not np.isfinite(data).all():
            raise NetworkError(f"core {core.name} has weights that are not finite")
    return TensorTree(nodes)


def to_train(network: TensorTree) -> TrainState:
    """The train that a tree with the nodes and legs of :func:`from_train` is, and its weights.

    Sectors of bonds that are on no path through the train are dropped, and the others sorted, as in a Train. Weights of
    cores that need no rearrangement are the buffers of the tree, not copies.

    Raises :class:`~etn_gpu.errors.NetworkError` for any other tree, or if nothing is left of a bond.
    """
    names = _leg_names(len(network.nodes))
    expected = {f"G{t + 1}": set(legs) for t, legs in enumerate(names)}
    features = {network.leg(name) for name in network.open_legs if name.startswith("feature")}
    is_train = {node: set(tensor.names) for node, tensor in network.nodes.items()} == expected
    if not is_train or len(features) != 1 or network.leg("source") != SCALAR:
        found = ", ".join(f"{node} ({', '.join(map(str, tensor.names))})" for node, tensor in network.nodes.items())
        raise NetworkError(
            "a train has the nodes G1 (bond1, source, feature1), G2 (bond2, bond1, feature2), ..., Gd (target, ...), "
            f"where source is 1x0e and all feature legs are equal; got {found}"
        )
    (feature,) = features
    bonds = [f"bond{t + 1}" for t in range(len(names) - 1)]
    train = Train(feature, tuple(network.leg(bond) for bond in bonds), network.leg("target"))
    train = Train(feature, train.reachable_bonds, train.target)
    for bond, irreps in zip(bonds, train.bonds, strict=True):
        network = relabel_bond(network, bond, irreps)
    weights = {
        core.name: tn.permute(network.nodes[core.name], [out], [left, site]).data
        for core, (out, left, site) in zip(train.cores, names, strict=True)
    }
    return TrainState(train, weights)


def canonicalise_train(train: Train, weights: Mapping[str, Array], centre: int) -> TrainState:
    """The same train in the canonical form with core `centre` (1 ... d) as its centre: 1 is the right canonical form, d
    the left one, any other one mixed. Bonds that are larger than a side of theirs can use shrink.

    Raises :class:`~etn_gpu.errors.NetworkError` as :func:`from_train` does, and for a core that there is not.
    """
    return to_train(canonicalise(from_train(train, weights), f"G{centre}"))


def compress_train(
    train: Train,
    weights: Mapping[str, Array],
    *,
    max_bond: BondLimit | Sequence[BondLimit] = None,
    cutoff: float = 0.0,
    centre: int = 1,
) -> tuple[TrainState, Compression]:
    """The train with smaller bonds, and the weights discarded: the exact error of the coefficient tensor.

    Parameters: `max_bond`, a limit for every bond or a sequence with one for each; `cutoff`, relative to the largest
    singular value of a bond; `centre`, the core (1 ... d) that is the centre of the result.

    Raises :class:`~etn_gpu.errors.NetworkError` as :func:`from_train` does, for the wrong number of limits, for a core
    that there is not, or if nothing is left of a bond; :class:`~etn_gpu.errors.TensorError` for bad limits.
    """
    network = from_train(train, weights)
    limits: BondLimit | Mapping[str, BondLimit]
    if isinstance(max_bond, Sequence) and not isinstance(max_bond, str):
        limits = _by_bond(network, max_bond)
    else:
        limits = max_bond
    result = compress(network, f"G{centre}", max_bond=limits, cutoff=cutoff)
    return to_train(result.network), result


def grow_train(
    train: Train,
    weights: Mapping[str, Array],
    bonds: Sequence[Irreps | str],
    *,
    rng: np.random.Generator | None = None,
    noise: float = 0.1,
) -> TrainState:
    """The same function with larger bonds, one for each; see :func:`~etn_gpu.network.grow`.

    Raises :class:`~etn_gpu.errors.NetworkError` as :func:`from_train` and :func:`~etn_gpu.network.grow` do, and for the
    wrong number of bonds.
    """
    network = from_train(train, weights)
    return to_train(grow(network, _by_bond(network, bonds), rng=rng, noise=noise))


def _by_bond(network: TensorTree, values: Sequence[T]) -> dict[str, T]:
    if isinstance(values, str) or len(values) != len(network.bonds):
        raise NetworkError(f"the train has {len(network.bonds)} bonds and needs as many values, got {values!r}")
    return {f"bond{t + 1}": value for t, value in enumerate(values)}


def _leg_names(order: int) -> list[tuple[str, str, str]]:
    """Names of the legs (out, left, feature) of every core."""
    chain = ["source", *(f"bond{t + 1}" for t in range(order - 1)), "target"]
    return [(chain[t + 1], chain[t], f"feature{t + 1}") for t in range(order)]
