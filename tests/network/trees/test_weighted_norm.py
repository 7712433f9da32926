"""The norm of a train in a metric on its feature legs, against the dense coefficient tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from etn_gpu.network import Train, canonicalise, from_train, norm_derivatives, squared_norm, to_train
from etn_gpu.network.weighted_norm import Matrices
from etn_gpu.plan.cores import sectors

Array = NDArray[np.float64]
Trains = Callable[..., st.SearchStrategy[tuple[Train, dict[str, Array]]]]
Coefficients = Callable[[Train, dict[str, Array]], Array]


def identity(train: Train) -> Matrices:
    return {(s.l, s.p): np.eye(s.mul) for s in sectors(train.feature)}


def random_metric(train: Train, seed: int) -> Matrices:
    """Symmetric, for every irrep of the feature leg."""
    rng = np.random.default_rng(seed)
    roots = {key: unit + 0.5 * rng.standard_normal(unit.shape) for key, unit in identity(train).items()}
    return {key: root @ root.T for key, root in roots.items()}


def dense_square(coefficients: Array, train: Train, metric: Matrices) -> float:
    """The definition: the metric on every feature leg of the dense tensor [1, features, target]."""
    full = np.zeros((train.feature.dim,) * 2)
    for s in sectors(train.feature):
        at = slice(s.offset, s.offset + s.mul * s.dim)
        full[at, at] = np.kron(metric[s.l, s.p], np.eye(s.dim))
    turned = coefficients
    for axis in range(1, train.order + 1):
        turned = np.moveaxis(np.tensordot(turned, full, ((axis,), (0,))), -1, axis)
    return float(np.sum(turned * coefficients))


@given(st.data(), st.integers(0, 2**32 - 1))
def test_it_is_that_of_the_dense_tensor(
    trains: Trains, coefficients: Coefficients, data: st.DataObject, seed: int
) -> None:
    train, weights = data.draw(trains(max_order=3))
    metric = random_metric(train, seed)
    expected = dense_square(coefficients(train, weights), train, metric)
    assert squared_norm(train, weights, metric) == pytest.approx(expected, rel=1e-9)
    assert norm_derivatives(train, weights, metric).value == pytest.approx(expected, rel=1e-9)


@given(st.data(), st.integers(0, 2**32 - 1))
def test_gradients_are_finite_differences(trains: Trains, data: st.DataObject, seed: int) -> None:
    """Along a random direction, which Euler's theorem for homogeneous functions turns into an exact number as well."""
    train, weights = data.draw(trains())
    metric = random_metric(train, seed)
    found = norm_derivatives(train, weights, metric)
    for core in train.cores:
        assert found.weights[core.name] @ weights[core.name] == pytest.approx(2.0 * found.value, rel=1e-9)
    rng = np.random.default_rng(seed)
    along = {name: rng.standard_normal(w.shape) for name, w in weights.items()}
    bent = {key: 0.1 * (x + x.T) for key, m in metric.items() for x in [rng.standard_normal(m.shape)]}
    step = 1e-5

    def at(t: float) -> float:
        moved = {name: w + t * along[name] for name, w in weights.items()}
        return squared_norm(train, moved, {key: m + t * bent[key] for key, m in metric.items()})

    slope = sum(float(found.weights[name] @ along[name]) for name in weights)
    slope += sum(float(np.sum(found.metrics[key] * bent[key])) for key in metric)
    assert (at(step) - at(-step)) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6 * abs(found.value))


@given(st.data(), st.integers(0, 2**32 - 1))
def test_it_is_the_quadratic_form_of_its_curvature_in_each_core(trains: Trains, data: st.DataObject, seed: int) -> None:
    train, weights = data.draw(trains())
    metric = random_metric(train, seed)
    found = norm_derivatives(train, weights, metric)
    other = np.random.default_rng(seed)
    for core in train.cores:
        form = found.curvature(core)
        np.testing.assert_allclose(form, form.T, atol=1e-9 * np.abs(form).max())
        w = other.standard_normal(core.size)
        changed = squared_norm(train, weights | {core.name: w}, metric)
        assert w @ form @ w == pytest.approx(changed, rel=1e-8, abs=1e-9 * found.value)


@given(st.data())
def test_with_the_centre_at_a_core_nothing_else_multiplies_it(trains: Trains, data: st.DataObject) -> None:
    """In canonical form every component of the centre counts as often as its coupled sector has components."""
    train, weights = data.draw(trains())
    core = data.draw(st.sampled_from(train.cores))
    canonical, moved = to_train(canonicalise(from_train(train, weights), core.name))
    (core,) = (c for c in canonical.cores if c.name == core.name)
    form = norm_derivatives(canonical, moved, identity(canonical)).curvature(core)
    counts = np.zeros(core.size)
    for path in core.paths:
        counts[path.places] = path.out.dim
    np.testing.assert_allclose(form, np.diag(counts), atol=1e-10)
