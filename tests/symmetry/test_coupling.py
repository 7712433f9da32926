"""Clebsch-Gordan coefficients: sympy as the oracle, then isometry, equivariance and the documented signs."""

from __future__ import annotations

import math
import re
from functools import partial

import numpy as np
import pytest

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry import Irrep, clebsch_gordan, random_orthogonal, solid_harmonics, stretch_factor

# NumPy's default relative tolerance of 1e-7 would hide everything that is tested here.
assert_close = partial(np.testing.assert_allclose, rtol=0.0)


def triples(lmax: int) -> list[tuple[int, int, int]]:
    degrees = range(lmax + 1)
    return [(a, b, c) for a in degrees for b in degrees for c in range(abs(a - b), min(a + b, lmax) + 1)]


def unit_vector(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def complex_to_real(l: int) -> np.ndarray:
    """U with Y_real = U Y_complex, Y_complex with the Condon-Shortley phase; rows and columns m = -l..l."""
    u = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    u[l, l] = 1.0
    for m in range(1, l + 1):
        u[l + m, [l - m, l + m]] = np.array([1.0, (-1) ** m]) / math.sqrt(2.0)
        u[l - m, [l - m, l + m]] = np.array([1.0, -((-1) ** m)]) * 1j / math.sqrt(2.0)
    return u


@pytest.mark.parametrize(
    ("l1", "l2", "l3"), [*triples(2), (3, 1, 2), (3, 2, 4), (4, 4, 3), (5, 3, 8), (6, 7, 4), (8, 8, 8), (8, 8, 15)]
)
def test_against_sympy(l1: int, l2: int, l3: int) -> None:
    from sympy.physics.wigner import wigner_3j

    complex_3j = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            m3 = -m1 - m2
            complex_3j[l1 + m1, l2 + m2, l3 + m3] = float(wigner_3j(l1, l2, l3, m1, m2, m3))
    real_3j = np.einsum(
        "abc,Aa,Bb,Cc->ABC", complex_3j, complex_to_real(l1), complex_to_real(l2), complex_to_real(l3), optimize=True
    )
    expected = (-1j) ** (l1 + l2 + l3) * math.sqrt(2 * l3 + 1) * real_3j
    assert_close(expected.imag, 0.0, atol=1e-14)
    assert_close(clebsch_gordan(l1, l2, l3), expected.real, atol=1e-14)


def test_against_e3nn_up_to_sign() -> None:
    o3 = pytest.importorskip("e3nn.o3", reason="e3nn is not in the test extra: it pulls torch")
    torch = pytest.importorskip("torch", reason="e3nn needs torch")
    for l1, l2, l3 in triples(4):
        expected = math.sqrt(2 * l3 + 1) * o3.wigner_3j(l1, l2, l3, dtype=torch.float64).numpy()
        coefficients = clebsch_gordan(l1, l2, l3)
        sign = np.sign(np.vdot(expected, coefficients))
        assert_close(sign * coefficients, expected, atol=1e-12)


@pytest.mark.parametrize("l1", range(9))
def test_isometric_and_together_orthogonal(l1: int) -> None:
    for l2 in range(9):
        matrices = [clebsch_gordan(l1, l2, l3).reshape(-1, 2 * l3 + 1) for l3 in range(abs(l1 - l2), l1 + l2 + 1)]
        change_of_basis = np.concatenate(matrices, axis=1)
        assert_close(change_of_basis.T @ change_of_basis, np.eye(len(change_of_basis)), atol=1e-14)


def test_isometric_at_high_degree() -> None:
    matrix = clebsch_gordan(30, 25, 20).reshape(-1, 41)
    assert_close(matrix.T @ matrix, np.eye(41), atol=1e-13)


@pytest.mark.parametrize("parities", [(1, 1), (1, -1), (-1, -1)])
def test_equivariant_under_rotation_and_inversion(parities: tuple[int, int]) -> None:
    rng = np.random.default_rng(11)
    rotation = random_orthogonal(rng)
    for orthogonal in (rotation, -rotation):
        for l1, l2, _ in triples(3):
            first, second = Irrep(l1, parities[0]), Irrep(l2, parities[1])
            x, y = rng.standard_normal(first.dim), rng.standard_normal(second.dim)
            for third in first * second:
                coefficients = clebsch_gordan(l1, l2, third.l)
                turned_first = np.einsum(
                    "abc,a,b->c", coefficients, first.wigner_d(orthogonal) @ x, second.wigner_d(orthogonal) @ y
                )
                turned_last = third.wigner_d(orthogonal) @ np.einsum("abc,a,b->c", coefficients, x, y)
                assert_close(turned_first, turned_last, atol=1e-13)


def test_equivariant_at_degree_8() -> None:
    rng = np.random.default_rng(3)
    rotation = random_orthogonal(rng)
    turn = Irrep(8, 1).wigner_d(rotation)
    x, y = rng.standard_normal((2, 17))
    for l3 in range(17):
        coefficients = clebsch_gordan(8, 8, l3)
        turned_first = np.einsum("abc,a,b->c", coefficients, turn @ x, turn @ y)
        turned_last = Irrep(l3, 1).wigner_d(rotation) @ np.einsum("abc,a,b->c", coefficients, x, y)
        assert_close(turned_first, turned_last, atol=1e-12)


@pytest.mark.parametrize(("l1", "l2", "l3"), triples(5))
def test_harmonics_of_one_direction_couple_positively(l1: int, l2: int, l3: int) -> None:
    harmonics = solid_harmonics(5, unit_vector(np.random.default_rng(5)))
    first, second, third = (harmonics[l * l : (l + 1) ** 2] for l in (l1, l2, l3))
    coupled = np.einsum("abc,a,b->c", clebsch_gordan(l1, l2, l3), first, second)
    if (l1 + l2 + l3) % 2:
        assert_close(coupled, 0.0, atol=1e-14)
    else:
        factor = coupled @ third
        assert factor > 0.01
        assert_close(coupled, factor * third, atol=1e-14)


@pytest.mark.parametrize("l", range(9))
def test_coupling_with_or_to_a_scalar(l: int) -> None:
    identity = np.eye(2 * l + 1)
    np.testing.assert_array_equal(clebsch_gordan(l, 0, l)[:, 0, :], identity)
    np.testing.assert_array_equal(clebsch_gordan(0, l, l)[0], identity)
    assert_close(clebsch_gordan(l, l, 0)[:, :, 0], identity / math.sqrt(2 * l + 1), rtol=1e-15, atol=0)


def test_two_vectors_couple_to_dot_and_cross_product() -> None:
    u, v = np.random.default_rng(2).standard_normal((2, 3))

    def couple(l3: int) -> np.ndarray:
        # The components of l = 1 are y, z, x.
        return np.einsum("abc,a,b->c", clebsch_gordan(1, 1, l3), np.roll(u, -1), np.roll(v, -1))

    assert_close(couple(0), [u @ v / math.sqrt(3)], rtol=1e-14)
    assert_close(np.roll(couple(1), 1), np.cross(u, v) / math.sqrt(2), rtol=1e-13)


@pytest.mark.parametrize(("l1", "l2", "l3"), triples(4))
def test_permuted_legs(l1: int, l2: int, l3: int) -> None:
    symbol = clebsch_gordan(l1, l2, l3) / math.sqrt(2 * l3 + 1)
    cyclic = clebsch_gordan(l2, l3, l1) / math.sqrt(2 * l1 + 1)
    swapped = clebsch_gordan(l2, l1, l3) / math.sqrt(2 * l3 + 1)
    assert_close(symbol, cyclic.transpose(2, 0, 1), atol=1e-15)
    assert_close(symbol, (-1) ** (l1 + l2 + l3) * swapped.transpose(1, 0, 2), atol=1e-15)


@pytest.mark.parametrize("l", range(1, 9))
def test_stretched_recursion_of_solid_harmonics(l: int) -> None:
    vectors = np.random.default_rng(l).standard_normal((5, 3))
    harmonics = solid_harmonics(l, vectors)
    first, below, top = harmonics[:, 1:4], harmonics[:, (l - 1) ** 2 : l * l], harmonics[:, l * l :]
    recursion = stretch_factor(l) * np.einsum("abc,na,nb->nc", clebsch_gordan(1, l - 1, l), first, below)
    assert_close(recursion, top, atol=1e-13 * np.abs(top).max())


def test_zeros_are_exact_and_the_cache_is_read_only() -> None:
    coefficients = clebsch_gordan(3, 4, 5)
    assert np.all((coefficients == 0.0) | (np.abs(coefficients) > 1e-4))
    assert not np.signbit(coefficients[coefficients == 0.0]).any()
    assert clebsch_gordan(3, 4, 5) is coefficients
    assert clebsch_gordan(np.int64(3), np.int8(4), 5) is coefficients  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read-only"):
        coefficients[0, 0, 0] = 1.0


@pytest.mark.parametrize("degrees", [(1, 1, 3), (2, 0, 1), (0, 0, 1), (1, 4, 2)])
def test_degrees_that_do_not_couple(degrees: tuple[int, int, int]) -> None:
    l1, l2, l3 = degrees
    message = (
        f"degrees l1={l1} and l2={l2} do not couple to l3={l3}: "
        f"expected l3 from |l1 - l2| = {abs(l1 - l2)} to l1 + l2 = {l1 + l2}"
    )
    with pytest.raises(IrrepsError, match=re.escape(message)):
        clebsch_gordan(*degrees)


@pytest.mark.parametrize(
    ("degrees", "name"), [((-1, 1, 1), "l1"), ((1, 1.0, 1), "l2"), ((1, 1, "1"), "l3"), ((1, 0.5, 0.5), "l2")]
)
def test_degrees_that_are_no_degrees(degrees: tuple[int, int, int], name: str) -> None:
    with pytest.raises(IrrepsError, match=f"{name} must be an integer >= 0, got"):
        clebsch_gordan(*degrees)


def test_stretch_factor_starts_at_degree_1() -> None:
    assert stretch_factor(1) == 1.0
    with pytest.raises(IrrepsError, match=r"has a factor for l >= 1, got l = 0"):
        stretch_factor(0)
    with pytest.raises(IrrepsError, match=r"l must be an integer >= 0, got -2"):
        stretch_factor(-2)
