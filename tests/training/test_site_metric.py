"""The metric of the site vector: the formula of its docstring, its invariance, its derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.potential import Architecture
from etn_gpu.training.site_metric import SiteMetric

Array = NDArray[np.float64]
Parameters = dict[str, Array]
THREE = Architecture(("Nb", "Mo", "Ta"), 5.0, 1.5, 4, (2, 0, 3), 2, 3, ("1x0e+1x2e",))
NO_SCALARS = replace(THREE, channels=(0, 2))


def metric_of(architecture: Architecture) -> SiteMetric:
    rng = np.random.default_rng(0)
    sizes = {l: rng.uniform(0.5, 2.0, architecture.n_radial) for l, n in enumerate(architecture.channels) if n}
    return SiteMetric(architecture, sizes)


def draw(architecture: Architecture, seed: int = 1) -> Parameters:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in architecture.parameter_shapes.items()}


def functions(architecture: Architecture, parameters: Parameters, l: int) -> Array:
    """Every channel of degree l as numbers [channels, species of the neighbour, of the centre, functions].

    The functions are the radial ones in units of their natural size and, for the scalars, the constant.
    """
    n = architecture.n_species
    found = np.zeros((architecture.feature.count("0e") if l == 0 else architecture.channels[l], n, n, 1 + 4))
    start = 0
    if l == 0:
        found[0, :, :, 0] = 1.0
        found[1:, :, :, 0] = parameters["A"][:, None, :] if architecture.channels[0] else 0.0
        start = 1
    if architecture.channels[l]:
        size = metric_of(architecture).sizes[l]
        b, u, w = parameters[f"B{l}"], parameters["U"], parameters["W"]
        found[start:, :, :, 1:] = np.einsum("nbst,sc,tz->nczb", b / size[:, None, None], u, w)
    return found


@pytest.mark.parametrize("architecture", [THREE, NO_SCALARS])
def test_products_of_functions(architecture: Architecture) -> None:
    parameters = draw(architecture)
    found = metric_of(architecture)(parameters)
    assert set(found) == {(0, 1), *((l, (-1) ** l) for l, n in enumerate(architecture.channels) if n)}
    for (l, _), products in found.items():
        channels = functions(architecture, parameters, l)
        expected = np.einsum("nczb,mczb->nm", channels, channels) / architecture.n_species**2
        np.testing.assert_allclose(products, expected, rtol=1e-12, atol=1e-12)


def test_a_change_of_basis_of_the_embeddings_changes_nothing() -> None:
    parameters = draw(THREE)
    rng = np.random.default_rng(2)
    u, w = rng.standard_normal((2, 2)), rng.standard_normal((3, 3))
    moved = parameters | {"U": u @ parameters["U"], "W": w @ parameters["W"]}
    for l in (0, 2):
        moved[f"B{l}"] = parameters[f"B{l}"] @ np.linalg.inv(w)
        moved[f"B{l}"] = np.einsum("nbst,su->nbut", moved[f"B{l}"], np.linalg.inv(u))
    metric = metric_of(THREE)
    expected = metric(parameters)
    for key, products in metric(moved).items():
        np.testing.assert_allclose(products, expected[key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", [THREE, NO_SCALARS])
def test_derivatives_are_finite_differences(architecture: Architecture) -> None:
    metric, parameters, along = metric_of(architecture), draw(architecture), draw(architecture, 3)
    rng = np.random.default_rng(4)
    # symmetric and positive, as derivatives of a norm are
    bars = {key: x @ x.T for key, m in metric(parameters).items() for x in [rng.standard_normal(m.shape)]}

    def value(names: tuple[str, ...], t: float) -> float:
        moved = parameters | {name: parameters[name] + t * along[name] for name in names}
        return float(sum(np.sum(bars[key] * products) for key, products in metric(moved).items()))

    gradient, curvature = metric.gradient(parameters, bars), metric.curvature(parameters, bars)
    names = [name for name in architecture.parameter_shapes if name[0] in "BUWA"]
    assert set(gradient) == set(curvature) == set(names)
    for name in names:
        slope = float(np.sum(gradient[name] * along[name]))
        assert (value((name,), 1e-4) - value((name,), -1e-4)) / 2e-4 == pytest.approx(slope, rel=1e-6)
        # quadratic in each of them
        second = value((name,), 1.0) + value((name,), -1.0) - 2.0 * value((name,), 0.0)
        flat = along[name].ravel()
        assert 0.5 * second == pytest.approx(flat @ curvature[name] @ flat, rel=1e-9)
