"""Units against ASE's, Voigt order against ASE's."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from etn_gpu.structures import GPA, KBAR, matrix_from_voigt, pressure, voigt_from_matrix


def test_pressure_units() -> None:
    assert pytest.approx(units.GPa, rel=1e-6) == GPA
    assert pytest.approx(1e8 * units.Pascal, rel=1e-6) == KBAR


def test_voigt_order_is_ases() -> None:
    rng = np.random.default_rng(0)
    voigt = rng.normal(size=(4, 6))
    matrix = matrix_from_voigt(voigt)
    assert matrix.shape == (4, 3, 3)
    for six, square in zip(voigt, matrix, strict=True):
        assert np.array_equal(square, voigt_6_to_full_3x3_stress(six))
        assert np.array_equal(square, square.T)
    assert np.array_equal(voigt_from_matrix(matrix), voigt)
    lopsided = rng.normal(size=(3, 3))
    assert np.allclose(voigt_from_matrix(lopsided), full_3x3_to_voigt_6_stress(lopsided))


def test_pressure_is_positive_under_compression() -> None:
    assert pressure([-1.0, -2.0, -3.0, 5.0, 5.0, 5.0]) == pytest.approx(2.0)
    assert pressure(np.zeros((3, 6))).shape == (3,)
