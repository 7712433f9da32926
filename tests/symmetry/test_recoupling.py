"""6j symbols and the exchange of two degrees: sympy and explicit couplings as oracles, then symmetries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry import clebsch_gordan
from etn_gpu.symmetry.recoupling import coupled_degrees, exchange_degrees, exchange_matrix, six_j, triangle

degrees = st.integers(0, 4)


def three_j(l1: int, l2: int, l3: int) -> np.ndarray:
    return clebsch_gordan(l1, l2, l3) / np.sqrt(2 * l3 + 1)


@pytest.mark.parametrize("seed", range(12))
def test_against_sympy(seed: int) -> None:
    from sympy.physics.wigner import wigner_6j

    rng = np.random.default_rng(seed)
    while True:
        j1, j2, j4, j5 = (int(j) for j in rng.integers(0, 9, 4))
        both = [set(coupled_degrees(j1, j2)) & set(coupled_degrees(j4, j5))]
        both.append(set(coupled_degrees(j1, j5)) & set(coupled_degrees(j4, j2)))
        if all(both):
            break
    j3, j6 = (int(rng.choice(sorted(found))) for found in both)
    assert six_j(j1, j2, j3, j4, j5, j6) == pytest.approx(
        float(wigner_6j(j1, j2, j3, j4, j5, j6)), rel=1e-14, abs=1e-300
    )


@given(degrees, degrees, degrees, degrees, degrees, degrees)
def test_four_couplings_joined_to_a_tetrahedron(j1: int, j2: int, j3: int, j4: int, j5: int, j6: int) -> None:
    triads = [(j1, j2, j3), (j1, j5, j6), (j4, j2, j6), (j4, j5, j3)]
    if not all(triangle(*triad) for triad in triads):
        assert six_j(j1, j2, j3, j4, j5, j6) == 0.0
        return
    joined = np.einsum("abc,aef,dbf,dec->", *(three_j(*triad) for triad in triads), optimize=True)
    assert six_j(j1, j2, j3, j4, j5, j6) == pytest.approx(joined, abs=1e-14)


@given(degrees, degrees, degrees, degrees, degrees, degrees)
def test_symmetries(j1: int, j2: int, j3: int, j4: int, j5: int, j6: int) -> None:
    value = six_j(j1, j2, j3, j4, j5, j6)
    columns = [(j1, j4), (j2, j5), (j3, j6)]
    for a, b, c in itertools.permutations(columns):
        assert six_j(a[0], b[0], c[0], a[1], b[1], c[1]) == value
    assert six_j(j1, j5, j6, j4, j2, j3) == value


def test_values_of_varshalovich() -> None:
    # {a b c; 0 c b} = (-1)^(a+b+c) / sqrt((2b+1)(2c+1)), section 9.5.
    assert six_j(1, 2, 3, 0, 3, 2) == pytest.approx((-1) ** 6 / np.sqrt(5 * 7), rel=1e-15)
    assert six_j(1, 1, 1, 1, 1, 1) == pytest.approx(1 / 6, rel=1e-15)
    assert six_j(1, 1, 3, 1, 1, 1) == 0.0


def test_high_degrees_do_not_overflow() -> None:
    total = sum((2 * j + 1) * 61 * six_j(30, 30, j, 30, 30, 30) ** 2 for j in range(61))
    assert total == pytest.approx(1.0, rel=1e-12)


@given(degrees, degrees, degrees, degrees)
def test_exchange_is_what_the_couplings_do(e: int, a: int, b: int, g: int) -> None:
    before, after = exchange_degrees(e, a, b, g), exchange_degrees(e, b, a, g)
    if not before:
        with pytest.raises(IrrepsError, match=f"the degrees {e}, {a} and {b} do not couple to {g}"):
            exchange_matrix(e, a, b, g)
        return
    matrix = exchange_matrix(e, a, b, g)
    assert matrix.shape == (len(after), len(before))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(after)), atol=1e-13)
    for column, f in enumerate(before):
        first = np.einsum("eaf,fbg->eabg", clebsch_gordan(e, a, f), clebsch_gordan(f, b, g))
        expected = sum(
            matrix[row, column] * np.einsum("ebf,fag->eabg", clebsch_gordan(e, b, new), clebsch_gordan(new, a, g))
            for row, new in enumerate(after)
        )
        np.testing.assert_allclose(first, expected, atol=1e-13)


@given(degrees, degrees, degrees, degrees)
def test_exchanging_twice_changes_nothing(e: int, a: int, b: int, g: int) -> None:
    if exchange_degrees(e, a, b, g):
        twice = exchange_matrix(e, b, a, g) @ exchange_matrix(e, a, b, g)
        np.testing.assert_allclose(twice, np.eye(len(twice)), atol=1e-13)


def test_the_cache_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        exchange_matrix(1, 1, 1, 1)[0, 0] = 2.0


@pytest.mark.parametrize(("arguments", "name"), [((-1, 0, 0, 0, 0, 0), "j1"), ((1, 1, 1, 1, 1, 0.5), "j6")])
def test_degrees_that_are_no_degrees(arguments: tuple[int, ...], name: str) -> None:
    with pytest.raises(IrrepsError, match=f"{name} must be an integer >= 0, got"):
        six_j(*arguments)
