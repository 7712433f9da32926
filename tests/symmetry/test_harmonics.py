"""Harmonics and gradients: sphericart and finite differences as oracles, then poles, tiny vectors and zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry import (
    solid_harmonics,
    solid_harmonics_gradient,
    spherical_harmonics,
    spherical_harmonics_gradient,
)

# NumPy's default relative tolerance of 1e-7 would hide everything that is tested here.
assert_close = partial(np.testing.assert_allclose, rtol=0.0)
LMAX = 8
POLES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
FUNCTIONS = [solid_harmonics, solid_harmonics_gradient, spherical_harmonics, spherical_harmonics_gradient]
component = st.floats(-10.0, 10.0).filter(lambda x: x == 0.0 or abs(x) > 1e-12)


@pytest.fixture
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    near_poles = POLES + 1e-9 * rng.standard_normal((2, 3))
    return np.concatenate([rng.standard_normal((40, 3)), POLES, near_poles, np.eye(3), -np.eye(3)])


def central_differences(function: Callable[[int, np.ndarray], np.ndarray], vectors: np.ndarray) -> np.ndarray:
    step = 1e-5
    return np.stack(
        [(function(LMAX, vectors + h) - function(LMAX, vectors - h)) / (2 * step) for h in step * np.eye(3)], axis=-2
    )


def test_spherical_harmonics_against_sphericart(vectors: np.ndarray) -> None:
    import sphericart

    for scaled in (vectors, 7.5 * vectors):
        values, gradients = sphericart.SphericalHarmonics(LMAX).compute_with_gradients(scaled)
        assert_close(spherical_harmonics(LMAX, scaled), values, atol=1e-12)
        assert_close(spherical_harmonics_gradient(LMAX, scaled), gradients, atol=1e-11)


def test_solid_harmonics_against_sphericart(vectors: np.ndarray) -> None:
    import sphericart

    values, gradients = sphericart.SolidHarmonics(LMAX).compute_with_gradients(vectors)
    racah = np.concatenate([np.full(2 * l + 1, math.sqrt(4 * math.pi / (2 * l + 1))) for l in range(LMAX + 1)])
    scale = np.linalg.norm(vectors, axis=1).max() ** LMAX
    assert_close(solid_harmonics(LMAX, vectors), racah * values, atol=1e-13 * scale)
    assert_close(solid_harmonics_gradient(LMAX, vectors), racah * gradients, atol=1e-12 * scale)


def test_against_e3nn(vectors: np.ndarray) -> None:
    o3 = pytest.importorskip("e3nn.o3", reason="e3nn is not in the test extra: it pulls torch")
    torch = pytest.importorskip("torch", reason="e3nn needs torch")
    reordered = torch.from_numpy(vectors[:, [1, 2, 0]].copy())
    expected = o3.spherical_harmonics(list(range(LMAX + 1)), reordered, normalize=True, normalization="integral")
    assert_close(spherical_harmonics(LMAX, vectors), expected.numpy(), atol=1e-12)


def test_low_degrees_in_closed_form(vectors: np.ndarray) -> None:
    x, y, z = vectors.T
    s = math.sqrt(3.0)
    expected = [np.ones_like(x), y, z, x]
    expected += [s * x * y, s * y * z, z**2 - (x**2 + y**2) / 2, s * x * z, s * (x**2 - y**2) / 2]
    assert_close(solid_harmonics(2, vectors), np.stack(expected, axis=-1), atol=1e-14)


def test_orthonormal_on_the_sphere() -> None:
    cosines, weights = np.polynomial.legendre.leggauss(LMAX + 1)
    azimuths = 2 * np.pi * np.arange(2 * LMAX + 1) / (2 * LMAX + 1)
    theta, phi = (grid.ravel() for grid in np.meshgrid(np.arccos(cosines), azimuths, indexing="ij"))
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    areas = np.repeat(weights, len(azimuths)) * 2 * np.pi / len(azimuths)
    values = spherical_harmonics(LMAX, points)
    assert_close(values.T @ (areas[:, None] * values), np.eye((LMAX + 1) ** 2), atol=1e-13)


def test_gradients_against_finite_differences() -> None:
    vectors = np.random.default_rng(4).uniform(-1.0, 1.0, (20, 3))
    vectors = vectors[np.linalg.norm(vectors, axis=1) > 0.5]
    vectors = np.concatenate([vectors, POLES])
    for function, gradient in (
        (solid_harmonics, solid_harmonics_gradient),
        (spherical_harmonics, spherical_harmonics_gradient),
    ):
        assert_close(gradient(LMAX, vectors), central_differences(function, vectors), atol=2e-7)


def test_values_at_the_poles_are_exact() -> None:
    for l in range(LMAX + 1):
        expected = np.zeros(2 * l + 1)
        expected[l] = 1.0
        np.testing.assert_array_equal(solid_harmonics(l, POLES)[0, l * l :], expected)
        np.testing.assert_array_equal(solid_harmonics(l, POLES)[1, l * l :], (-1) ** l * expected)


@given(st.tuples(component, component, component), st.integers(-400, 400))
def test_homogeneous_of_degree_zero(vector: tuple[float, float, float], exponent: int) -> None:
    # Powers of two scale exactly, so that nothing but the exponent changes.
    unscaled, scaled = np.array(vector), np.ldexp(vector, exponent)
    assert_close(spherical_harmonics(LMAX, scaled), spherical_harmonics(LMAX, unscaled), atol=1e-14)
    gradient = spherical_harmonics_gradient(LMAX, unscaled)
    scaled_back = np.ldexp(spherical_harmonics_gradient(LMAX, scaled), exponent)
    assert_close(scaled_back, gradient, atol=1e-13 * (1.0 + np.abs(gradient).max()))


@given(st.tuples(component, component, component))
def test_addition_theorem_parity_and_euler(vector: tuple[float, float, float]) -> None:
    r = math.hypot(*vector)
    values, inverted = (solid_harmonics(LMAX, sign * np.array(vector)) for sign in (1.0, -1.0))
    gradient = solid_harmonics_gradient(LMAX, vector)
    for l in range(LMAX + 1):
        degree = slice(l * l, (l + 1) ** 2)
        assert np.linalg.norm(values[degree]) == pytest.approx(r**l, rel=1e-13, abs=0.0)
        np.testing.assert_array_equal(inverted[degree], (-1) ** l * values[degree])
        assert_close(np.array(vector) @ gradient[:, degree], l * values[degree], atol=1e-12 * r**l)


@pytest.mark.parametrize("length", [1e-150, 1e-299, 1e150, 1e307])
def test_tiny_and_huge_vectors_keep_their_direction(length: float) -> None:
    directions = np.concatenate([np.eye(3), POLES, [[0.6, 0.0, 0.8]], [[-2 / 7, 3 / 7, 6 / 7]]])
    vectors = length * directions
    assert_close(spherical_harmonics(LMAX, vectors), spherical_harmonics(LMAX, directions), atol=1e-14)
    assert_close(
        spherical_harmonics_gradient(LMAX, vectors) * length,
        spherical_harmonics_gradient(LMAX, directions),
        atol=1e-13,
    )


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [-0.0, 1e-301, 5e-324]])
def test_vectors_without_a_direction(vector: list[float]) -> None:
    average = np.zeros((LMAX + 1) ** 2)
    average[0] = 1 / math.sqrt(4 * math.pi)
    assert_close(spherical_harmonics(LMAX, vector), average, rtol=1e-15)
    np.testing.assert_array_equal(spherical_harmonics_gradient(LMAX, vector), 0.0)


def test_solid_harmonics_at_zero() -> None:
    values, gradient = solid_harmonics(LMAX, np.zeros(3)), solid_harmonics_gradient(LMAX, np.zeros(3))
    assert values[0] == 1.0
    np.testing.assert_array_equal(values[1:], 0.0)
    np.testing.assert_array_equal(gradient[:, 1:4], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(np.delete(gradient, [1, 2, 3], axis=1), 0.0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shapes_and_types(function: Callable[..., np.ndarray]) -> None:
    single = np.array([0.3, -0.4, 1.2], dtype=np.float32)
    expected = function(3, single.astype(np.float64))
    tail = expected.shape
    assert tail in ((16,), (3, 16))
    for batch in ((), (0,), (2,), (2, 0), (3, 2)):
        result = function(3, np.broadcast_to(single, (*batch, 3)))
        assert result.dtype == np.float64
        assert_close(result, np.broadcast_to(expected, (*batch, *tail)), atol=1e-14)
    assert function(0, single).shape == (*tail[:-1], 1)
    assert_close(function(np.int64(3), [1, 2, 3]), function(3, (1.0, 2.0, 3.0)), atol=0.0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_arguments(function: Callable[..., np.ndarray]) -> None:
    for lmax in (-1, 2.0, None):
        with pytest.raises(IrrepsError, match=r"lmax must be an integer >= 0, got"):
            function(lmax, [0.0, 0.0, 1.0])
    for shape in ((), (2,), (3, 2), (3, 0)):
        with pytest.raises(IrrepsError, match=r"vectors must have shape \(\.\.\., 3\), components x, y, z, got shape"):
            function(2, np.zeros(shape))
    for bad in (math.nan, math.inf):
        with pytest.raises(IrrepsError, match=r"vectors must be finite, but 1 of 6 numbers are not"):
            function(2, [[0.0, 0.0, 1.0], [bad, 0.0, 0.0]])
    for unreadable in ("up", [[1.0, 2.0], [3.0]], [1j, 0, 0], None):
        with pytest.raises(IrrepsError, match=r"vectors must be"):
            function(2, unreadable)
