"""The canonical form of a layer of message passing: its head is an isometry, and what takes h has absorbed the rest.

The components of h are as good as any linear combinations of them, sector by sector. In canonical form all cores of the
head are isometric towards its output, so that the components are orthonormal as tensors: sizes are in the cores that
mix messages, in the readout and in the matrices of attention alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import NetworkError
from etn_gpu.network.cores import canonicalise_train
from etn_gpu.network.messages import MessageLayer
from etn_gpu.network.train import Train
from etn_gpu.symmetry import Irreps

Array = NDArray[np.float64]
Factors = dict[tuple[int, int], Array]


def canonicalise_layer(
    layer: MessageLayer,
    number: int,
    feature: Irreps,
    degrees: tuple[int, ...],
    target: Irreps,
    parameters: Mapping[str, Array],
) -> tuple[MessageLayer, dict[str, Array]]:
    """The same layer in canonical form; bonds of the head that are larger than a side of theirs can use shrink.

    ``number`` (from 1), ``feature``, ``degrees`` and ``target`` as in the architecture that the layer belongs to;
    ``parameters`` may hold others. Returns the layer and those parameters that are the layer's.

    Raises:
        NetworkError: h has more components of an irrep than the last bond and the feature leg give, so that they
            cannot be orthonormal; :func:`~etn_gpu.network.canonicalise` raises others.
    """
    head = layer.head(feature, number)
    plain = Train(head.feature, head.bonds, head.target)
    weights = {p.name: np.asarray(parameters[h.name]) for p, h in zip(plain.cores, head.cores, strict=True)}
    state = canonicalise_train(plain, weights, plain.order)
    layer = replace(layer, bonds=tuple(str(bond) for bond in state.train.bonds))
    changed = {f"H{number}_{t}": state.weights[f"G{t}"].copy() for t in range(1, plain.order + 1)}
    factors = _orthonormal(state.train, changed[f"H{number}_{plain.order}"])
    for l, places in layer.places(degrees).items():
        mixing = changed[f"M{number}_{l}"] = np.array(parameters[f"M{number}_{l}"])
        for place in places:
            factor = factors[place.hidden.l, place.hidden.p]
            mixing[:, :, place.at] = np.einsum("nbct,cd->nbdt", mixing[:, :, place.at], factor)
    if (sector := layer.readout_sector(target)) is not None:
        changed[f"P{number}"] = factors[sector.l, sector.p].T @ parameters[f"P{number}"]
    if layer.attention:
        queries = changed[f"Q{number}"] = np.array(parameters[f"Q{number}"])
        for place in layer.queries:
            factor = factors[place.hidden.l, place.hidden.p]
            queries[place.at] = (factor.T @ queries[place.at].reshape(factor.shape) @ factor).ravel()
    return layer, changed


def _orthonormal(head: Train, weights: Array) -> Factors:
    """Make the last core an isometry, in place; h was these factors times what it is now."""
    factors: Factors = {}
    for key in {(path.out.l, path.out.p): None for path in head.cores[-1].paths}:
        paths = [path for path in head.cores[-1].paths if (path.out.l, path.out.p) == key]
        mul, columns = paths[0].out.mul, paths[0].row_stride
        if columns < mul:
            raise NetworkError(
                f"h has {mul} components of degree {key[0]}, and only {columns} combinations of the last bond and the "
                "feature leg lead to them: they cannot be orthonormal. Give the last bond more, or h fewer"
            )
        at = np.arange(mul * columns) + paths[0].weight
        q, r = np.linalg.qr(weights[at].reshape(mul, columns).T)
        factors[key] = r.T
        weights[at] = q.T.ravel()
    return factors
