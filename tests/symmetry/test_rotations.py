"""Wigner matrices: they rotate harmonics, represent O(3), and have the known characters."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry import (
    Irrep,
    Irreps,
    random_orthogonal,
    random_rotation,
    solid_harmonics,
    spherical_harmonics,
    spherical_harmonics_gradient,
    wigner_d,
)

# NumPy's default relative tolerance of 1e-7 would hide everything that is tested here.
assert_close = partial(np.testing.assert_allclose, rtol=0.0)
LMAX = 8
seeds = st.integers(0, 2**32 - 1)


def rotation_about_z(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@given(seeds)
def test_harmonics_are_equivariant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    orthogonal, vectors = random_orthogonal(rng), rng.standard_normal((4, 3))
    matrix = Irreps.spherical_harmonics(LMAX).wigner_d(orthogonal)
    turned = vectors @ orthogonal.T
    assert_close(spherical_harmonics(LMAX, turned), spherical_harmonics(LMAX, vectors) @ matrix.T, atol=1e-13)
    gradients = spherical_harmonics_gradient(LMAX, vectors) * np.linalg.norm(vectors, axis=1)[:, None, None]
    turned_gradients = spherical_harmonics_gradient(LMAX, turned) * np.linalg.norm(vectors, axis=1)[:, None, None]
    assert_close(turned_gradients, orthogonal @ gradients @ matrix.T, atol=1e-12)


@given(seeds, st.integers(0, LMAX))
def test_representation_of_the_orthogonal_group(seed: int, l: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_orthogonal(rng), random_orthogonal(rng)
    for p in (1, -1):
        ir = Irrep(l, p)
        matrix = ir.wigner_d(first)
        assert_close(matrix @ ir.wigner_d(second), ir.wigner_d(first @ second), atol=1e-13)
        assert_close(matrix @ matrix.T, np.eye(ir.dim), atol=1e-13)
        assert_close(ir.wigner_d(first.T), matrix.T, atol=1e-13)


@pytest.mark.parametrize("l", range(LMAX + 1))
def test_identity_and_inversion(l: int) -> None:
    identity = np.eye(2 * l + 1)
    assert_close(wigner_d(l, np.eye(3)), identity, atol=1e-14)
    assert_close(wigner_d(l, -np.eye(3)), (-1) ** l * identity, atol=1e-14)
    for p in (1, -1):
        assert_close(Irrep(l, p).wigner_d(-np.eye(3)), p * identity, atol=1e-14)


def test_parity_tells_vectors_from_pseudovectors() -> None:
    orthogonal = -random_rotation(np.random.default_rng(1))
    # The components of l = 1 are y, z, x.
    vector = np.roll(orthogonal, (-1, -1), axis=(0, 1))
    assert_close(Irrep.parse("1o").wigner_d(orthogonal), vector, atol=1e-14)
    assert_close(Irrep.parse("1e").wigner_d(orthogonal), -vector, atol=1e-14)
    assert_close(Irrep.parse("0o").wigner_d(orthogonal), [[-1.0]], atol=1e-14)


@pytest.mark.parametrize("l", range(LMAX + 1))
def test_rotation_about_z_mixes_plus_and_minus_m(l: int) -> None:
    angle = 0.7
    expected = np.zeros((2 * l + 1, 2 * l + 1))
    expected[l, l] = 1.0
    for m in range(1, l + 1):
        c, s = math.cos(m * angle), math.sin(m * angle)
        expected[np.ix_([l - m, l + m], [l - m, l + m])] = [[c, s], [-s, c]]
    assert_close(wigner_d(l, rotation_about_z(angle)), expected, atol=1e-14)


@given(seeds, st.integers(0, LMAX))
def test_character_depends_on_the_angle_only(seed: int, l: int) -> None:
    rotation = random_rotation(np.random.default_rng(seed))
    angle = math.acos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0))
    character = 1 + 2 * sum(math.cos(m * angle) for m in range(1, l + 1))
    assert np.trace(wigner_d(l, rotation)) == pytest.approx(character, abs=1e-11)


def test_accuracy_at_every_degree_to_8() -> None:
    rng = np.random.default_rng(8)
    for orthogonal in (random_rotation(rng), -random_rotation(rng)):
        directions = rng.standard_normal((200, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        before, after = solid_harmonics(LMAX, directions), solid_harmonics(LMAX, directions @ orthogonal.T)
        for l in range(LMAX + 1):
            degree = slice(l * l, (l + 1) ** 2)
            assert_close(after[:, degree], before[:, degree] @ wigner_d(l, orthogonal).T, atol=1e-13)


def test_wigner_matrix_of_a_leg_is_block_diagonal() -> None:
    rotation = -random_rotation(np.random.default_rng(6))
    irreps = Irreps("2x1o+0x4e+1x2o+3x0e")
    matrix = irreps.wigner_d(rotation)
    assert matrix.shape == (irreps.dim, irreps.dim)
    vector, pseudotensor = Irrep(1, -1).wigner_d(rotation), Irrep(2, -1).wigner_d(rotation)
    blocks = [vector, vector, pseudotensor, np.eye(1), np.eye(1), np.eye(1)]
    expected = np.zeros_like(matrix)
    start = 0
    for block in blocks:
        where = slice(start, start + len(block))
        expected[where, where] = block
        start = where.stop
    assert_close(matrix, expected, atol=1e-14)
    assert Irreps("").wigner_d(rotation).shape == (0, 0)


def test_many_rotations_at_once() -> None:
    rng = np.random.default_rng(9)
    rotations = np.array([[random_orthogonal(rng) for _ in range(3)] for _ in range(2)])
    irreps = Irreps("2x1e+1x2e")
    matrices, batched = irreps.wigner_d(rotations), wigner_d(2, rotations)
    assert matrices.shape == (2, 3, 11, 11)
    for index in np.ndindex(2, 3):
        assert_close(matrices[index], irreps.wigner_d(rotations[index]), atol=1e-14)
        assert_close(batched[index], wigner_d(2, rotations[index]), atol=1e-14)
    assert wigner_d(2, np.zeros((0, 3, 3))).shape == (0, 5, 5)


def test_against_e3nn() -> None:
    o3 = pytest.importorskip("e3nn.o3", reason="e3nn is not in the test extra: it pulls torch")
    torch = pytest.importorskip("torch", reason="e3nn needs torch")
    orthogonal = -random_rotation(np.random.default_rng(10))
    reordered = torch.from_numpy(orthogonal[np.ix_([1, 2, 0], [1, 2, 0])].copy())
    for text in ("0o", "1o", "1e", "2e", "3o", "4o", "5e"):
        expected = o3.Irrep(text).D_from_matrix(reordered).numpy()
        # The tables behind e3nn's matrices have single precision.
        assert_close(Irrep.parse(text).wigner_d(orthogonal), expected, atol=5e-6)


def test_random_rotations_are_uniform() -> None:
    rng = np.random.default_rng(12)
    rotations = np.array([random_rotation(rng) for _ in range(4000)])
    assert_close(rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (4000, 3, 3)), atol=1e-14)
    assert_close(np.linalg.det(rotations), 1.0, atol=1e-14)
    # Over the Haar measure every matrix element has mean 0 and variance 1 / (2l+1).
    for l in (1, 2, 3):
        matrices = wigner_d(l, rotations)
        assert_close(matrices.mean(axis=0), 0.0, atol=0.05)
        assert_close((matrices**2).mean(axis=0), 1 / (2 * l + 1), atol=0.05)


def test_random_orthogonal_matrices_are_proper_half_of_the_time() -> None:
    rng = np.random.default_rng(13)
    determinants = np.linalg.det([random_orthogonal(rng) for _ in range(400)])
    assert_close(np.abs(determinants), 1.0, atol=1e-14)
    assert 150 < np.count_nonzero(determinants > 0) < 250


def test_bad_arguments() -> None:
    irreps, ir = Irreps("1o"), Irrep(1, -1)
    for function in (lambda rotation: wigner_d(1, rotation), irreps.wigner_d, ir.wigner_d):
        with pytest.raises(
            IrrepsError, match=r"rotation must be orthogonal, but Q Q\^T deviates from the identity by 3"
        ):
            function(2 * np.eye(3))
        with pytest.raises(IrrepsError, match=r"rotation must have shape \(\.\.\., 3, 3\), got shape \(3,\)"):
            function(np.ones(3))
        with pytest.raises(IrrepsError, match=r"rotation must be finite, but 9 of 9 numbers are not"):
            function(np.full((3, 3), np.nan))
    with pytest.raises(IrrepsError, match=r"l must be an integer >= 0, got -1"):
        wigner_d(-1, np.eye(3))
