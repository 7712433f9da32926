"""Real solid and spherical harmonics and their gradients, without singularities at the poles.

Component (l, m), m = -l..l, has index l^2 + l + m, so degree l fills the slice l^2 : (l+1)^2. The basis is that of
:mod:`etn_gpu.symmetry`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etn_gpu.symmetry._checks import as_degree, as_vectors
from etn_gpu.symmetry.coupling import clebsch_gordan, stretch_factor

#: Cartesian axes of the components m = -1, 0, 1 of l = 1, and the place of x, y, z among those components.
XYZ_TO_YZX = [1, 2, 0]
YZX_TO_XYZ = [2, 0, 1]

# Shorter vectors have no direction: the reciprocals of their lengths come close to overflow.
_SHORTEST = 1e-300


def solid_harmonics(lmax: int, vectors: ArrayLike) -> NDArray[np.float64]:
    """Racah-normalised regular solid harmonics R_lm = sqrt(4 pi / (2l+1)) r^l Y_lm, homogeneous of degree l.

    R_0 = 1, R_1 = (y, z, x), and the squares of R_lm sum over m to r^(2l). They are polynomials, so the poles and zero
    are points like any other; only r^l itself may under- or overflow.

    Parameters: `lmax` >= 0; `vectors` of shape (..., 3), components x, y, z. Returns shape (..., (lmax+1)^2).

    Raises :class:`~etn_gpu.errors.IrrepsError` for a bad lmax, a bad shape or numbers that are not finite.

    With (x + iy)^m = c_m + i s_m, R_lm = F_lm c_m and R_l,-m = F_lm s_m for m > 0. The polynomials F_lm(z, r^2) follow
    the three-term recursion in l of the Schmidt semi-normalised Legendre functions; the split into two factors without
    trigonometry is that of F. Bigi et al., J. Chem. Phys. 159, 064802 (2023).
    """
    lmax, vectors = as_degree(lmax, "lmax"), as_vectors(vectors)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    r2 = x * x + y * y + z * z
    harmonics = np.empty((*vectors.shape[:-1], (lmax + 1) ** 2))
    c, s = np.ones_like(z), np.zeros_like(z)
    for m in range(lmax + 1):
        if m > 0:
            c, s = x * c - y * s, x * s + y * c
        f, below = np.full_like(z, _sectoral_factor(m)), np.zeros_like(z)
        for l in range(m, lmax + 1):
            if l > m:
                ahead = (2 * l - 1) * z * f - math.sqrt((l - 1) ** 2 - m**2) * r2 * below
                f, below = ahead / math.sqrt(l**2 - m**2), f
            harmonics[..., l * l + l + m] = f * c
            if m > 0:
                harmonics[..., l * l + l - m] = f * s
    return harmonics


def solid_harmonics_gradient(lmax: int, vectors: ArrayLike) -> NDArray[np.float64]:
    """Gradient of :func:`solid_harmonics` with respect to x, y, z.

    Takes `vectors` of shape (..., 3), returns shape (..., 3, (lmax+1)^2), raises as :func:`solid_harmonics`. The
    gradient of degree l is linear in the harmonics of degree l - 1: see :func:`~etn_gpu.symmetry.stretch_factor`.
    """
    lmax, vectors = as_degree(lmax, "lmax"), as_vectors(vectors)
    return _gradient_from_values(solid_harmonics(lmax, vectors), lmax)


def spherical_harmonics(lmax: int, vectors: ArrayLike) -> NDArray[np.float64]:
    """Real spherical harmonics Y_lm(v / |v|), orthonormal on the unit sphere.

    Parameters: `lmax` >= 0; `vectors` of shape (..., 3) and any length, components x, y, z. Returns shape
    (..., (lmax+1)^2). A vector whose components are all below 1e-300, zero included, has no direction: its Y_lm is the
    average over the sphere, 1/sqrt(4 pi) for l = 0 and 0 for l > 0.

    Raises :class:`~etn_gpu.errors.IrrepsError` for a bad lmax, a bad shape or numbers that are not finite.
    """
    lmax, vectors = as_degree(lmax, "lmax"), as_vectors(vectors)
    directions, _ = _directions(vectors)
    values = solid_harmonics(lmax, directions)
    values *= _orthonormal_factors(lmax)
    return values


def spherical_harmonics_gradient(lmax: int, vectors: ArrayLike) -> NDArray[np.float64]:
    """Gradient of :func:`spherical_harmonics`, that is of Y_lm(v / |v|), with respect to the components x, y, z of v.

    Takes `vectors` of shape (..., 3), returns shape (..., 3, (lmax+1)^2) in the reciprocal unit of `vectors`, raises as
    :func:`spherical_harmonics`. Nothing is divided by sin(theta), so the poles are points like any other. The gradient
    of a vector without a direction is 0.

    With u = v / |v|, and Euler's theorem for the radial part: |v| grad R_l(v / |v|) = (grad R_l)(u) - l R_l(u) u.
    """
    lmax, vectors = as_degree(lmax, "lmax"), as_vectors(vectors)
    directions, inverse_lengths = _directions(vectors)
    values = solid_harmonics(lmax, directions)
    degrees = np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)
    gradient = _gradient_from_values(values, lmax)
    gradient -= directions[..., :, None] * (degrees * values)[..., None, :]
    gradient *= _orthonormal_factors(lmax)
    gradient *= inverse_lengths[..., None, None]
    return gradient


def _sectoral_factor(m: int) -> float:
    """F_mm: sqrt(2 (2m)!) / (2^m m!), but 1 for m = 0."""
    return math.sqrt((2 if m else 1) * math.comb(2 * m, m) / 4**m)


def _orthonormal_factors(lmax: int) -> NDArray[np.float64]:
    """sqrt((2l+1) / 4 pi) of every component."""
    dims = 2 * np.arange(lmax + 1) + 1
    return np.repeat(np.sqrt(dims / (4 * math.pi)), dims)


def _directions(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (..., 3) and inverse lengths (...), both zero for vectors without a direction."""
    # Divided by the largest component first, so that no square under- or overflows.
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    pointed = largest >= _SHORTEST
    scale = np.where(pointed, largest, 1.0)
    scaled = np.where(pointed, vectors, 0.0) / scale
    norm = np.where(pointed, np.sqrt((scaled**2).sum(axis=-1, keepdims=True)), 1.0)
    inverse_lengths = np.where(pointed, 1.0 / norm / scale, 0.0)
    return scaled / norm, inverse_lengths[..., 0]


def _gradient_from_values(values: NDArray[np.float64], lmax: int) -> NDArray[np.float64]:
    """Gradients (..., 3, (lmax+1)^2) of solid harmonics from their values (..., (lmax+1)^2)."""
    gradient = np.zeros((*values.shape[:-1], 3, values.shape[-1]))
    for l in range(1, lmax + 1):
        # The first leg is the differentiated R_1 = (y, z, x); the gradient is wanted in the order x, y, z.
        coupling = l * stretch_factor(l) * clebsch_gordan(1, l - 1, l)[YZX_TO_XYZ]
        gradient[..., l * l : (l + 1) ** 2] = np.tensordot(values[..., (l - 1) ** 2 : l * l], coupling, axes=(-1, 1))
    return gradient
