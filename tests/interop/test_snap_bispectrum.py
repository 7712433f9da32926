"""The bispectrum by couplings of O(3) against the complex formula of LAMMPS."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import eval_gegenbauer
from sympy import Rational
from sympy.physics.wigner import wigner_9j

from etn_gpu.interop.snap_bispectrum import components, degrees, radial_factor
from etn_gpu.interop.snap_layout import Layout, terms, weight_table, weights
from etn_gpu.symmetry import clebsch_gordan, solid_harmonics
from tests.interop.snap_formula import invariant, wigner_u

Array = NDArray[np.float64]


def _sums(twojmax: int, rng: np.random.Generator) -> tuple[list[NDArray[np.complex128]], dict[tuple[int, int], Array]]:
    """Sums over four neighbours and the atom itself: as matrices, and by (q, l)."""
    vectors, weight = rng.normal(size=(4, 3)), rng.normal(size=4)
    r = np.linalg.norm(vectors, axis=1)
    theta = 0.99 * pi * r / (1.1 * r.max())
    matrices = [
        np.einsum("e,eab->ab", weight, u) + np.eye(q + 1) for q, u in enumerate(wigner_u(twojmax, vectors, theta))
    ]
    angular = solid_harmonics(twojmax, vectors / r[:, None])
    sums = {}
    for q in range(twojmax + 1):
        for l in range(q + 1):
            f = radial_factor(q, l) * np.sin(theta) ** l * eval_gegenbauer(q - l, l + 1, np.cos(theta))
            sums[q, l] = np.einsum("e,em->m", weight * f, angular[:, l * l : (l + 1) ** 2])
        sums[q, 0] = sums[q, 0] + np.sqrt(q + 1)
    return matrices, sums


@pytest.mark.parametrize(("twojmax", "count"), [(0, 1), (2, 5), (4, 14), (6, 30), (8, 55), (10, 91)])
def test_there_are_as_many_components_as_in_lammps(twojmax: int, count: int) -> None:
    assert len(components(twojmax)) == count


def test_the_order_is_that_of_lammps() -> None:
    assert components(2) == ((0, 0, 0), (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 2, 2))


def test_sums_have_the_norm_of_the_matrices() -> None:
    matrices, sums = _sums(5, np.random.default_rng(1))
    for q, matrix in enumerate(matrices):
        norm = sum(np.sum(sums[q, l] ** 2) for l in range(q + 1))
        assert norm == pytest.approx(np.sum(np.abs(matrix) ** 2), rel=1e-13)


def test_components_are_those_of_the_complex_formula() -> None:
    matrices, sums = _sums(5, np.random.default_rng(2))
    for triple in components(5):
        found = 0.0
        for ls, c in degrees(triple):
            table = clebsch_gordan(*ls) / np.sqrt(2 * ls[2] + 1)
            found += c * np.einsum("abc,a,b,c", table, *(sums[q, l] for q, l in zip(triple, ls, strict=True)))
        expected = invariant([matrices[q] for q in triple], *triple)
        assert found == pytest.approx(expected, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize(("triple", "ls"), [((3, 2, 5), (3, 1, 4)), ((4, 4, 6), (2, 4, 4)), ((6, 5, 5), (6, 3, 3))])
def test_coefficients_are_9j_symbols(triple: tuple[int, int, int], ls: tuple[int, int, int]) -> None:
    rows = [(Rational(q, 2), Rational(q, 2), l) for q, l in zip(triple, ls, strict=True)]
    nine = float(wigner_9j(*(x for row in rows for x in row)))
    expected = (triple[2] + 1) * np.sqrt(np.prod([2 * l + 1 for l in ls])) * nine
    assert dict(degrees(triple))[ls] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(("twojmax", "channels"), [(0, 1), (1, 2), (3, 1), (4, 2)])
def test_every_component_of_a_layout_has_one_place(twojmax: int, channels: int) -> None:
    layout = Layout(twojmax, channels)
    assert layout.size == channels * sum((q + 1) ** 2 for q in range(twojmax + 1))
    places = {
        layout.start(l, q % 2) + layout.place(e, q, l) * (2 * l + 1) + m
        for q in range(twojmax + 1)
        for l in range(q + 1)
        for e in range(channels)
        for m in range(2 * l + 1)
    }
    assert places == set(range(layout.size))
    for ls in layout.triples:
        reached = set()
        for block in layout.blocks(ls):
            for b in range(block.counts[0]):
                for a in range(block.counts[1]):
                    reached.add(block.offsets[2] + (b * block.strides[2][0] + a) * (2 * ls[2] + 1))
        assert reached == set(range(0, layout.pairs(ls), 2 * ls[2] + 1))


@pytest.mark.parametrize(("twojmax", "channels"), [(3, 1), (2, 2)])
def test_weights_hold_all_terms_of_the_components(twojmax: int, channels: int) -> None:
    layout = Layout(twojmax, channels)
    beta = np.random.default_rng(3).normal(size=(2, channels**3 * len(components(twojmax))))
    table = weight_table(layout, beta, normalised=True)
    for species in range(2):
        total = sum(np.sum(t.coefficient * beta[species, t.invariant]) for t in terms(layout, True).values())
        assert np.sum(table[species]) == pytest.approx(total, rel=1e-12)
    assert table.shape[1] == sum(w.size for w in weights(layout))
