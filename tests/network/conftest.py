"""Dense oracles of networks, and networks of every shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.plan import ContractionPlan, Core, NetworkExpression, Program, ProgramBuilder, VectorNode, lower_network
from etn_gpu.symmetry import clebsch_gordan

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]


def dense(core: Core, weights: Array) -> Array:
    """The full tensor [left, feature, out] from the reduced blocks: a matrix [c, (a, b)] for each sector of ``out``."""
    tensor = np.zeros((core.left.dim, core.feature.dim, core.out.dim))
    start = 0
    for (n_out, out), at_out in zip(core.out, core.out.slices(), strict=True):
        pairs = [
            (left, at_left, feature, at_feature)
            for left, at_left in zip(core.left, core.left.slices(), strict=True)
            for feature, at_feature in zip(core.feature, core.feature.slices(), strict=True)
            if out in tuple(left.ir * feature.ir)
        ]
        columns = sum(left.mul * feature.mul for left, _, feature, _ in pairs)
        matrix = weights[start : start + n_out * columns].reshape(n_out, columns)
        start += n_out * columns
        column = 0
        for left, at_left, feature, at_feature in pairs:
            width = left.mul * feature.mul
            block = matrix[:, column : column + width].reshape(n_out, left.mul, feature.mul)
            column += width
            coupled = np.einsum("cab,mnp->ambncp", block, clebsch_gordan(left.ir.l, feature.ir.l, out.l))
            tensor[at_left, at_feature, at_out] += coupled.reshape(left.dim, feature.dim, n_out * out.dim)
    assert start == len(weights)
    return tensor


def contract(network: NetworkExpression, weights: Arrays, vectors: Arrays) -> Array:
    """The whole network as one einsum over full tensors, [atoms, output components]; the atom index is Z."""
    letters = {label: chr(ord("a") + i) for i, label in enumerate(network.legs)}
    terms, arrays = [], []
    for node in network.nodes:
        if isinstance(node, VectorNode):
            terms.append("Z" + letters[node.label])
            arrays.append(vectors[node.name])
        else:
            tensor = dense(node.core, weights[node.core.name])
            keep = tuple(slice(None) if label else 0 for label in node.labels)
            terms.append("".join(letters[label] for label in node.open))
            arrays.append(tensor[keep])
    out = "Z" + (letters[network.output] if network.output else "")
    result = np.einsum(f"{','.join(terms)}->{out}", *arrays, optimize="greedy")
    return result.reshape(len(result), -1)


def lowered(network: NetworkExpression, plan: ContractionPlan) -> Program:
    """The Program of a planned network: inputs are its vectors and the weights of its cores, the output is 'out'."""
    builder = ProgramBuilder()
    names = {}
    for node in network.nodes:
        if isinstance(node, VectorNode):
            names[node.name] = builder.input(node.name, "atom", network.legs[node.label].dim).name
        else:
            names[node.core.name] = builder.input(node.core.name, "param", node.core.size).name
    return builder.build({"out": lower_network(builder, network, plan, names, names).name})


def random_arrays(network: NetworkExpression, atoms: int, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Weights by core and vectors by node."""
    rng = np.random.default_rng(seed)
    weights, vectors = {}, {}
    for node in network.nodes:
        if isinstance(node, VectorNode):
            vectors[node.name] = rng.standard_normal((atoms, network.legs[node.label].dim))
        else:
            weights[node.core.name] = rng.standard_normal(node.core.size) / np.sqrt(max(node.core.left.dim, 1))
    return weights, vectors


def execute_all(program: Program, weights: Arrays, vectors: Arrays, backend: str = "numpy") -> dict[str, Array]:
    """All outputs of a Program of vectors and weights; there are no edges."""
    atoms = len(next(iter(vectors.values())))
    geometry = Geometry(np.zeros(atoms + 1, np.int64), np.zeros(atoms, np.int32), np.zeros(0, np.int32))
    results = run(program, {**weights, **vectors}, geometry, backend=backend)
    return {name: value.astype(np.float64) for name, value in results.items()}


def execute(program: Program, weights: Arrays, vectors: Arrays, backend: str = "numpy") -> Array:
    """The output 'out' of :func:`execute_all`."""
    return execute_all(program, weights, vectors, backend)["out"]


class Oracle:
    """The helpers of this folder under one name."""

    dense = staticmethod(dense)
    contract = staticmethod(contract)
    lowered = staticmethod(lowered)
    random_arrays = staticmethod(random_arrays)
    execute = staticmethod(execute)
    execute_all = staticmethod(execute_all)


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """Dense tensors, contractions of full tensors, and the Program of a network."""
    return Oracle()


@pytest.fixture(scope="session")
def assert_equal() -> Callable[[Any, Any], None]:
    """Equal up to rounding, relative to the largest component."""

    def check(result: Array, expected: Array) -> None:
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-11 * (1e-30 + np.abs(expected).max(initial=0)))

    return check
