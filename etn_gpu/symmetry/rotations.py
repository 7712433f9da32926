"""Wigner matrices of O(3) in the real basis, and random rotations to test equivariance with."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.symmetry._checks import as_degree, as_orthogonal
from etn_gpu.symmetry.harmonics import solid_harmonics


def wigner_d(l: int, rotation: ArrayLike) -> NDArray[np.float64]:
    """The matrix D with Y_l(Q v) = D Y_l(v), for proper and improper Q.

    Parameters: degree `l` >= 0; `rotation` Q, orthogonal, of shape (..., 3, 3), acting on column vectors (x, y, z).
    Returns shape (..., 2l+1, 2l+1). The parity is that of the harmonics, (-1)^l; for the other one see
    :meth:`Irrep.wigner_d <etn_gpu.symmetry.Irrep.wigner_d>`.

    D[m, m'] is the integral over directions u of Y_lm(Q u) Y_lm'(u), polynomials of degree 2l that a product quadrature
    integrates exactly. No Clebsch-Gordan coefficient enters, so the two test each other.

    Raises :class:`~etn_gpu.errors.IrrepsError` for a bad l, a bad shape or a matrix that is not orthogonal to 1e-6.
    """
    l, rotation = as_degree(l, "l"), as_orthogonal(rotation)
    points, dual = _quadrature(l)
    rotated = solid_harmonics(l, points @ np.swapaxes(rotation, -1, -2))[..., l * l :]
    return np.matmul(np.swapaxes(rotated, -1, -2), dual)


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation matrix (3, 3), determinant +1, uniform over SO(3)."""
    # Uniform unit quaternions w + (x, y, z) are uniform rotations.
    w, x, y, z = rng.standard_normal(4)
    squared_norm = w * w + x * x + y * y + z * z
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + (w * cross + cross @ cross) * (2.0 / squared_norm)


def random_orthogonal(rng: np.random.Generator) -> NDArray[np.float64]:
    """An orthogonal matrix (3, 3), uniform over O(3): a random rotation, inverted or not with equal chances."""
    return random_rotation(rng) * rng.choice([-1.0, 1.0])


@cache
def _quadrature(l: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (K, 3) on the sphere and dual functions (K, 2l+1): R_l(points).T @ dual is the identity.

    Gauss-Legendre in cos(theta) times equally spaced phi, exact for polynomials of degree 2l.
    """
    cosines, weights = np.polynomial.legendre.leggauss(l + 1)
    azimuths = 2.0 * np.pi * np.arange(2 * l + 1) / (2 * l + 1)
    sines = np.sqrt(1.0 - cosines**2)
    x, y = np.outer(sines, np.cos(azimuths)), np.outer(sines, np.sin(azimuths))
    z = np.broadcast_to(cosines[:, None], x.shape)
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    # A point weighs weights / 2 / (2l+1) in the mean over the sphere, and the mean of R_lm^2 is 1 / (2l+1).
    dual = np.repeat(weights / 2.0, 2 * l + 1)[:, None] * solid_harmonics(l, points)[:, l * l :]
    return points, dual
