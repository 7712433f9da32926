r"""The metric of the site vector: how large its channels are as functions of distance and species, not as numbers.

Channel n of degree l is a combination of radial functions for every pair of species, c of the neighbour and z of the
centre (see :mod:`etn_gpu.potential.architecture`),

    v[l, n] = sum_{b, c} R[l, n, b](c, z) S[b, c, l],
    R[l, n, b](c, z) = sum_{s, t} B[l, n, b, s, t] U[s, c] W[t, z].

Its products with other channels of that degree are

    M[l][n, n'] = mean over c, z of sum_b R[n, b](c, z) R[n', b](c, z) / size[l, b]^2,

where ``size`` is the natural size of a coefficient. The constant channel is 1, and the shift A of the others is their
part along it. A change of basis of the channels or of the embeddings leaves functions as they are, and what is measured
in this metric too.

Species count alike and on their own. That deviations from the mean of all species should cost more than the mean
itself sounds reasonable, and is not: with all alloys of two elements left out, their energies came out worse the more
the deviations cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.network.weighted_norm import Matrices
from etn_gpu.potential import Architecture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SiteMetric:
    """Metric of the site vector of an architecture; ``sizes[l]`` [n_radial] of the radial coefficients."""

    architecture: Architecture
    sizes: Mapping[int, Array]

    def __call__(self, parameters: Mapping[str, Array]) -> Matrices:
        """The matrices M[l], each of them [channels, channels], the constant included."""
        shifts = _shifts(parameters)
        found: Matrices = {(0, 1): np.asarray(mean_product(shifts))}
        for l in self.sizes:
            radial = self._radial(parameters, l)
            products = np.tensordot(self._turned(parameters, radial), radial, ((1, 2, 3), (1, 2, 3)))
            if l:
                found[l, (-1) ** l] = products
            else:
                found[0, 1][1:, 1:] += products
        return found

    def gradient(self, parameters: Mapping[str, Array], metrics: Matrices) -> dict[str, Array]:
        """Gradient with respect to B, U, W and A of a function whose gradient with respect to M is ``metrics``."""
        n, u, w = self.architecture.n_species, parameters["U"], parameters["W"]
        out: dict[str, Array] = {"U": np.zeros_like(u), "W": np.zeros_like(w)}
        if self.architecture.channels[0]:
            out["A"] = 2.0 / n * (metrics[0, 1] @ _shifts(parameters))[1:]
        for l, size in self.sizes.items():
            radial, bar = self._radial(parameters, l), self._bar(metrics, l)
            turned = np.tensordot(bar, self._turned(parameters, radial), 1)
            out[f"B{l}"] = 2.0 * turned / size[:, None, None]
            u_bar, w_bar = self._embeddings(parameters, radial, bar)
            out["U"] += 2.0 / n * u_bar @ u
            out["W"] += 2.0 / n * w_bar @ w
        return out

    def curvature(self, parameters: Mapping[str, Array], metrics: Matrices) -> dict[str, Array]:
        """Second derivatives of half that function in each of B, U, W and A, with its ``metrics`` held fixed."""
        u, w = parameters["U"], parameters["W"]
        species = np.eye(self.architecture.n_species) / self.architecture.n_species
        out: dict[str, Array] = {"U": np.zeros((u.size, u.size)), "W": np.zeros((w.size, w.size))}
        if self.architecture.channels[0]:
            out["A"] = np.asarray(np.kron(metrics[0, 1][1:, 1:], species), np.float64)
        for l, size in self.sizes.items():
            radial, bar = self._radial(parameters, l), self._bar(metrics, l)
            out[f"B{l}"] = np.kron(np.kron(bar, np.diag(size**-2.0)), np.kron(mean_product(u), mean_product(w)))
            u_bar, w_bar = self._embeddings(parameters, radial, bar)
            out["U"] += np.kron(u_bar, species)
            out["W"] += np.kron(w_bar, species)
        return out

    def _radial(self, parameters: Mapping[str, Array], l: int) -> Array:
        """B in units of its natural size [n, b, s, t]."""
        return parameters[f"B{l}"] / self.sizes[l][:, None, None]

    def _turned(self, parameters: Mapping[str, Array], radial: Array) -> Array:
        """``radial`` times the mean products of both embeddings."""
        return np.matmul(np.matmul(mean_product(parameters["U"]), radial), mean_product(parameters["W"]))

    def _bar(self, metrics: Matrices, l: int) -> Array:
        """The part of ``metrics`` that belongs to the channels of degree l."""
        return metrics[l, (-1) ** l] if l else metrics[0, 1][1:, 1:]

    def _embeddings(self, parameters: Mapping[str, Array], radial: Array, bar: Array) -> tuple[Array, Array]:
        """Derivatives with respect to the mean products of the embeddings U and W."""
        barred = np.tensordot(bar, radial, 1)
        with_w, with_u = (
            np.matmul(radial, mean_product(parameters["W"])),
            np.matmul(mean_product(parameters["U"]), radial),
        )
        return (
            np.tensordot(barred, with_w, ((0, 1, 3), (0, 1, 3))),
            np.tensordot(barred, with_u, ((0, 1, 2), (0, 1, 2))),
        )


def mean_product(embedding: Array) -> Array:
    """Products of the components, averaged over the species."""
    return embedding @ embedding.T / embedding.shape[1]


def _shifts(parameters: Mapping[str, Array]) -> Array:
    """The constant part of the scalar channels for each species of the centre, the constant channel's first."""
    one = np.ones((1, parameters["W"].shape[1]))
    return np.vstack((one, parameters["A"])) if "A" in parameters else one
