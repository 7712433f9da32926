"""Trains as trees of tensors and back; what that means for the energies of a potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError, TensorError
from etn_gpu.network import (
    TensorTree,
    Train,
    canonicalise_train,
    compress_train,
    from_train,
    grow_train,
    to_train,
)
from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.symmetry import Irreps

Array = NDArray[np.float64]
BONDS = ("6x0e+3x1o+3x2e", "3x0e+3x1o+2x1e+3x2e", "4x0e+4x1o+3x2e")


@pytest.fixture(scope="module")
def potential() -> ETNPotential:
    """Order 4, two species, bonds with 1e; without reference energies, so that energies are those of the train."""
    architecture = Architecture(("Al", "Ni"), 4.0, 1.5, 4, (3, 2, 2), 2, 2, BONDS)
    rng = np.random.default_rng(0)
    parameters = {name: 0.5 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    return ETNPotential(architecture, parameters | {"E0": np.zeros(2)})


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    """A rattled crystal and a cluster."""
    crystal = bulk("Al", cubic=True)
    cluster = bulk("Ni", cubic=True)
    cluster.pbc = False
    for k, atoms in enumerate((crystal, cluster)):
        atoms.rattle(0.1, seed=k)
        atoms.symbols[:2] = ["Al", "Ni"]
    return [crystal, cluster]


def with_train(potential: ETNPotential, train: Train, weights: Mapping[str, Array]) -> ETNPotential:
    """The potential with another train."""
    architecture = replace(potential.architecture, bonds=tuple(map(str, train.bonds)))
    return ETNPotential(architecture, {**potential.parameters, **weights})


def assert_same_results(first: ETNPotential, second: ETNPotential, structures: list[Atoms]) -> None:
    """Energies of the atoms and forces agree to 1e-12 of the largest."""
    before, after = (model.evaluate(structures, backend="numpy") for model in (first, second))
    for name in ("energies", "forces"):
        expected = np.concatenate([result[name] for result in before])
        found = np.concatenate([result[name] for result in after])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("centre", [1, 2, 3, 4])
def test_canonicalising_changes_no_energy(potential: ETNPotential, structures: list[Atoms], centre: int) -> None:
    train, weights = canonicalise_train(potential.architecture.train, potential.parameters, centre)
    assert any(np.abs(weights["G2"][:5] - potential.parameters["G2"][:5]) > 1e-3)
    assert_same_results(potential, with_train(potential, train, weights), structures)


def test_growing_changes_no_energy(potential: ETNPotential, structures: list[Atoms]) -> None:
    bonds = ("7x0e+4x1o+3x2e", "4x0e+4x1o+3x1e+1x2o+4x2e", "4x0e+4x1o+3x2e")
    train, weights = grow_train(potential.architecture.train, potential.parameters, bonds, rng=np.random.default_rng(0))
    # Larger than the features allow in front of it: 6x0e is all that the first bond can use, yet it may grow.
    assert train.bonds == tuple(Irreps(bond).sort() for bond in bonds)
    assert_same_results(potential, with_train(potential, train, weights), structures)


def test_compression_changes_energies_by_little(potential: ETNPotential, structures: list[Atoms]) -> None:
    """A train that was padded is compressed to what it was; cut further, it has fewer parameters and other energies."""
    bonds = tuple(str(Irreps([(mul + 2, ir) for mul, ir in Irreps(bond)])) for bond in BONDS)
    original = canonicalise_train(potential.architecture.train, potential.parameters, 4)
    bigger = grow_train(*original, bonds, rng=np.random.default_rng(0))
    state, compression = compress_train(*bigger, cutoff=1e-12)
    assert compression.relative_error < 1e-12
    assert state.train == canonicalise_train(*original, 1).train
    assert_same_results(potential, with_train(potential, *state), structures)
    smaller, compression = compress_train(*state, max_bond=("4x0e+2x1o+2x2e", 6, "2x0e+2x1o+1x2e"), centre=2)
    model = with_train(potential, *smaller)
    assert model.n_parameters < potential.n_parameters
    assert 0.01 < compression.relative_error < 1


@given(data=st.data())
def test_weights_become_tensors_and_come_back(data: st.DataObject, trains: Any) -> None:
    train, weights = data.draw(trains())
    network = from_train(train, weights)
    for core in train.cores:
        assert np.shares_memory(network.nodes[core.name].data, weights[core.name])
    state = to_train(network)
    assert state.train.cores == train.cores
    for core in train.cores:
        np.testing.assert_array_equal(state.weights[core.name], weights[core.name])


@given(data=st.data())
def test_the_tree_is_the_coefficient_tensor(data: st.DataObject, trains: Any, coefficients: Any) -> None:
    train, weights = data.draw(trains())
    network = from_train(train, weights)
    order = ["source", *(f"feature{t + 1}" for t in range(train.order)), "target"]
    full = tn.to_dense(tn.permute(network.to_tensor(), order))
    expected = coefficients(train, weights)
    np.testing.assert_allclose(full, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@given(data=st.data())
@settings(max_examples=40)
def test_canonical_trains(data: st.DataObject, trains: Any, coefficients: Any, oracle: Any) -> None:
    """The coefficient tensor is kept; full cores are isometric from the left and from the right of the centre."""
    train, weights = data.draw(trains())
    centre = data.draw(st.integers(1, train.order))
    found, canonical = canonicalise_train(train, weights, centre)
    expected = coefficients(train, weights)
    np.testing.assert_allclose(coefficients(found, canonical), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    for t, core in enumerate(found.cores, start=1):
        full = oracle.dense(core, canonical[core.name])
        if t < centre:
            matrix = full.reshape(-1, full.shape[-1])
        elif t > centre:
            matrix = full.reshape(len(full), -1).T
        else:
            continue
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), rtol=0, atol=1e-12)


@given(data=st.data(), max_bond=st.integers(1, 4))
@settings(max_examples=40)
def test_compressed_trains(data: st.DataObject, trains: Any, coefficients: Any, max_bond: int) -> None:
    """Without the tensor library: the squared error of the coefficient tensor is the discarded weight."""
    train, weights = data.draw(trains())
    centre = data.draw(st.integers(1, train.order))
    state, compression = compress_train(train, weights, max_bond=max_bond, centre=centre)
    expected = coefficients(train, weights)
    error = np.sum((coefficients(*state) - expected) ** 2)
    assert error == pytest.approx(compression.discarded_weight, rel=1e-9, abs=1e-12 * np.sum(expected**2))
    assert all(bond.num_irreps <= max_bond for bond in state.train.bonds)
    assert state.train.bonds == state.train.reachable_bonds


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"G1": np.zeros(6)}, r"core G2 \(2x0e x 3x0e -> 1x0e\) needs 6 weights, got nothing"),
        (
            {"G1": np.zeros(5), "G2": np.zeros(6)},
            r"core G1 \(1x0e x 3x0e -> 2x0e\) needs 6 weights, got an array of shape \(5,\)",
        ),
        ({"G1": np.full(6, np.inf), "G2": np.zeros(6)}, "core G1 has weights that are not finite"),
    ],
)
def test_weights_that_do_not_fit(weights: dict[str, Array], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        from_train(Train(Irreps("3x0e"), (Irreps("2x0e"),)), weights)


def test_trees_that_are_no_trains(star: TensorTree, train: TensorTree) -> None:
    with pytest.raises(NetworkError, match=r"a train has the nodes G1 .*; got leaf0 \(bond0, a0, b0\), leaf1"):
        to_train(star)
    nodes = dict(train.nodes)
    nodes["G4"] = tn.zeros(("1x0e",), (train.leg("bond3"), "9x0e"), names=nodes["G4"].names)
    with pytest.raises(NetworkError, match="where source is 1x0e and all feature legs are equal"):
        to_train(TensorTree(nodes))


def test_wrong_number_of_bonds(train: TensorTree) -> None:
    state = to_train(train)
    with pytest.raises(NetworkError, match=r"the train has 3 bonds and needs as many values, got \('2x0e',\)"):
        compress_train(*state, max_bond=("2x0e",))
    with pytest.raises(NetworkError, match="the train has 3 bonds and needs as many values, got '9x0e'"):
        grow_train(*state, "9x0e")


def test_bad_limits_and_cores(train: TensorTree) -> None:
    state = to_train(train)
    with pytest.raises(NetworkError, match="there is no node 'G5'; the nodes are: G1, G2, G3, G4"):
        canonicalise_train(*state, 5)
    with pytest.raises(NetworkError, match=r"nothing is left of the bond 'bond2' .* A bond needs at least one irrep"):
        compress_train(*state, max_bond=("4x0e", "4x3o", "4x0e"))
    with pytest.raises(TensorError, match="max_bond must be an integer >= 1"):
        compress_train(*state, max_bond=0)
    with pytest.raises(TensorError, match=r"a tensor holds one of float32.*got int64"):
        from_train(state.train, {name: w.astype(int) for name, w in state.weights.items()})
