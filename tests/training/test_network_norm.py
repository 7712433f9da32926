"""The norm of networks with layers of messages: its derivatives, and the gauge of what is passed on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.network import MessageLayer
from etn_gpu.potential import Architecture
from etn_gpu.training.network_norm import NetworkNorm
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
FIRST = MessageLayer("2x0e+1x1o", ("2x0e+1x1o",), 1, 2)
LAYERS = {
    "none": (),
    "messages": (FIRST,),
    "attention, two layers": (FIRST, MessageLayer("1x0e+2x1o", ("2x0e+2x1o",), 1, 3, attention=2)),
    "no readout": (MessageLayer("2x1o", ("1x0e+1x1o",), 1, 1, attention=1, readout=False),),
}


@pytest.fixture(params=LAYERS)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return Architecture(("Cu", "Au"), 5.0, 1.5, 3, (2, 2), 2, 2, ("2x0e+1x1o",), layers=LAYERS[request.param])


@pytest.fixture
def norm(architecture: Architecture) -> NetworkNorm:
    rng = np.random.default_rng(0)
    return NetworkNorm(architecture, {l: rng.uniform(0.5, 2.0, architecture.n_radial) for l in range(2)})


@pytest.fixture
def parameters(architecture: Architecture) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {name: 0.4 * rng.normal(size=shape) for name, shape in architecture.network_shapes.items()}


def test_gradient_by_finite_differences(norm: NetworkNorm, parameters: dict[str, Array]) -> None:
    layout = ParameterVector({name: value.shape for name, value in parameters.items()})
    theta = layout.pack(parameters)
    found = norm.derivatives(parameters).gradient
    assert set(found) == set(parameters)
    steps = 1e-5 * np.eye(len(theta))
    expected = [(norm.value(layout.unpack(theta + s)) - norm.value(layout.unpack(theta - s))) / 2e-5 for s in steps]
    np.testing.assert_allclose(layout.pack(found), expected, rtol=1e-6, atol=1e-8 * norm.value(parameters))


def test_curvature_is_that_of_a_quadratic_form_where_it_is_one(
    norm: NetworkNorm, parameters: dict[str, Array], architecture: Architecture
) -> None:
    """In each core of the last train, and in what layers add to the output."""
    blocks = norm.derivatives(parameters, curvature=True).curvature
    quadratic = [core.name for core in architecture.train.cores] + [name for name in blocks if name.startswith("P")]
    for name, block in blocks.items():
        assert np.linalg.eigvalsh(block).min() > -1e-9 * np.abs(block).max(), name
        if name not in quadratic:
            continue
        step = np.random.default_rng(2).normal(size=parameters[name].shape)
        values = [norm.value({**parameters, name: parameters[name] + t * step}) for t in (-1.0, 0.0, 1.0)]
        expected = step.ravel() @ block @ step.ravel()
        assert 0.5 * (values[0] - 2 * values[1] + values[2]) == pytest.approx(expected, rel=1e-8), name


def test_another_basis_of_what_is_passed_on_changes_nothing() -> None:
    """h is turned by a matrix among its scalars, and what takes it, by the inverse."""
    a = Architecture(
        ("Cu", "Au"), 5.0, 1.5, 3, (2, 2), 2, 2, ("2x0e+1x1o",), layers=LAYERS["attention, two layers"][:1]
    )
    rng = np.random.default_rng(3)
    parameters = {name: rng.normal(size=shape) for name, shape in a.network_shapes.items()}
    norm = NetworkNorm(a, {l: rng.uniform(0.5, 2.0, 3) for l in range(2)})
    turn = rng.normal(size=(2, 2))
    inverse = np.linalg.inv(turn)
    turned = {name: value.copy() for name, value in parameters.items()}
    for path in a.heads[0].cores[-1].paths:
        if path.out.l == 0:
            block = parameters["H1_2"][path.places]
            turned["H1_2"][path.places] = np.tensordot(turn, block, 1)
    turned["P1"] = inverse.T @ parameters["P1"]
    for l, paths in a.layers[0].paths(a.degrees).items():
        start = 0
        for taken in paths:
            if taken.hidden.l == 0:
                part = np.s_[:, :, start : start + 2]
                turned[f"M1_{l}"][part] = np.einsum("cd,nbct->nbdt", inverse, parameters[f"M1_{l}"][part])
            start += taken.hidden.mul
    assert norm.value(turned) == pytest.approx(norm.value(parameters), rel=1e-10)
    assert not np.allclose(turned["H1_2"], parameters["H1_2"])
