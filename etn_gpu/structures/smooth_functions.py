"""Smooth functions of a structure that a linear fit of energies and forces is made of, with their derivatives.

A rough potential, linear in its coefficients: functions of distance for each pair of elements, the square root and the
square of a density of neighbours (which metals need), and the squared length of the density's vector and tensor (which
angles need). It is fitted in a moment and good enough to tell the sign and the unit of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.units import VOIGT_COLUMNS, VOIGT_ROWS

if TYPE_CHECKING:
    from etn_gpu.structures.batch import StructureBatch

Array = NDArray[np.float64]
#: Functions of distance for each pair of elements.
_RADIAL = 6
#: Reach of the densities, in cutoffs.
_REACHES = (1.0, 0.75)
#: So many pairs of elements, the most frequent ones, have functions of their own.
_PAIRS = 40
#: What all pairs share is stiffer than what sets one apart: few structures then teach something about every pair.
_SHARED = 3.0


@dataclass(frozen=True)
class SmoothFunctions:
    """C functions of S structures with N atoms.

    values [S, C]; forces [N, 3, C], minus their derivatives by positions; strain [S, 6, C], their derivatives by a
    strain, Voigt: the stress times the volume.
    """

    values: Array
    forces: Array
    strain: Array

    @classmethod
    def of(cls, batch: StructureBatch) -> SmoothFunctions:
        """The functions, cut off where the neighbour list ends; the batch must have at least one edge."""
        edges = _Edges(batch)
        parts = [*_of_distance(edges), *_of_density(edges)]
        values, forces, strain = (np.concatenate([part[k] for part in parts], axis=-1) for k in range(3))
        return cls(values, forces, strain)


class _Edges:
    """Directed edges with what all functions need."""

    def __init__(self, batch: StructureBatch) -> None:
        self.batch = batch
        self.centre = batch.centre
        self.length = np.linalg.norm(batch.vectors, axis=1)
        self.unit = batch.vectors / self.length[:, None]
        self.structure = batch.structure_of_atom[self.centre]
        self.element = batch.species_index.astype(np.int64)
        self.n_elements = len(batch.species)

    def gathered(self, energies: Array, slopes: Array, place: NDArray[np.int64], n: int) -> tuple[Array, Array, Array]:
        """Values, forces and strain derivatives of n functions.

        ``energies`` [E] of the edges; ``slopes`` [E, 3], derivatives by the vector of the edge, of what an edge adds
        to the function ``place`` [E].
        """
        batch = self.batch
        s, i, j = (k * n + place for k in (self.structure, self.centre, batch.neighbour))
        count, atoms = batch.n_structures * n, batch.n_atoms * n
        values: Any = np.bincount(s, energies, count)
        forces: list[Any] = [np.bincount(i, slope, atoms) - np.bincount(j, slope, atoms) for slope in slopes.T]
        vectors = batch.vectors
        strain: list[Any] = [
            np.bincount(s, slopes[:, p] * vectors[:, q], count) for p, q in zip(VOIGT_ROWS, VOIGT_COLUMNS, strict=True)
        ]
        return (
            values.reshape(-1, n),
            np.stack(forces, axis=-1).reshape(batch.n_atoms, n, 3).swapaxes(1, 2),
            np.stack(strain, axis=-1).reshape(batch.n_structures, n, 6).swapaxes(1, 2),
        )


def _of_distance(edges: _Edges) -> list[tuple[Array, Array, Array]]:
    """Chebyshev polynomials of the distance, times (1 - r/cutoff)^3, for each pair of elements and for all of them."""
    first, second = edges.element[edges.centre], edges.element[edges.batch.neighbour]
    pair = np.minimum(first, second) * edges.n_elements + np.maximum(first, second)
    _, pair, counts = np.unique(pair, return_inverse=True, return_counts=True)
    if len(counts) > _PAIRS:
        place = np.full(len(counts), _PAIRS - 1)
        place[np.sort(np.argsort(-counts, kind="stable")[: _PAIRS - 1])] = np.arange(_PAIRS - 1)
        pair = place[pair]
    n = min(len(counts), _PAIRS)
    cutoff, least = edges.batch.cutoff, edges.length.min()
    x = 2.0 * (edges.length - least) / (cutoff - least) - 1.0
    dx = 2.0 / (cutoff - least)
    fade = 1.0 - edges.length / cutoff
    envelope, envelope_slope = fade**3, -3.0 * fade**2 / cutoff
    polynomial, slope = np.ones_like(x), np.zeros_like(x)
    following, following_slope = x, np.full_like(x, 1.0)
    parts = []
    for _ in range(_RADIAL):
        value = 0.5 * envelope * polynomial
        derivative = 0.5 * (envelope_slope * polynomial + envelope * slope * dx)
        own = edges.gathered(value, derivative[:, None] * edges.unit, pair, n)
        parts.append(own)
        if n > 1:
            parts.append(tuple(_SHARED * part.sum(axis=-1, keepdims=True) for part in own))
        polynomial, slope, following, following_slope = (
            following, following_slope,
            2.0 * x * following - polynomial, 2.0 * following + 2.0 * x * following_slope - slope,
        )  # fmt: skip
    return parts


def _of_density(edges: _Edges) -> list[tuple[Array, Array, Array]]:
    """Functions of the density of neighbours, its vector and its tensor, for each element of the central atom."""
    batch, unit, centre, n = edges.batch, edges.unit, edges.centre, edges.n_elements
    place = edges.element[centre]
    each = 1.0 / np.maximum(np.diff(batch.edge_offsets), 1)[centre]  # an atom's value, spread over its edges
    parts = []

    def add(values: Array, slopes: Array) -> None:
        parts.append(edges.gathered(each * values[centre], slopes, place, n))

    for reach in _REACHES:
        fade = np.maximum(1.0 - edges.length / (reach * batch.cutoff), 0.0)
        weight, slope = fade**3, -3.0 * fade**2 / (reach * batch.cutoff)
        if reach == 1.0:
            density = np.asarray(np.bincount(centre, weight, batch.n_atoms) + 1e-9, dtype=np.float64)
            for value, derivative in ((np.sqrt(density), 0.5 / np.sqrt(density)), (density**2, 2.0 * density)):
                add(value, (derivative[centre] * slope)[:, None] * unit)
        across = (weight / edges.length)[:, None]
        vector = _sums(centre, weight[:, None] * unit, batch.n_atoms)
        near = vector[centre]
        along = np.einsum("ex,ex->e", near, unit)[:, None]
        add((vector**2).sum(axis=1), 2.0 * (slope[:, None] * along * unit + across * (near - along * unit)))
        dyads = weight[:, None, None] * unit[:, :, None] * unit[:, None, :]
        tensor = _sums(centre, dyads.reshape(-1, 9), batch.n_atoms)
        near = np.einsum("exy,ey->ex", tensor.reshape(-1, 3, 3)[centre], unit)
        along = np.einsum("ex,ex->e", near, unit)[:, None]
        add((tensor**2).sum(axis=1), 2.0 * (slope[:, None] * along * unit + 2.0 * across * (near - along * unit)))
    return parts


def _sums(centre: NDArray[np.int64], values: Array, n: int) -> Array:
    """The sums of values [E, K] over the edges of each atom [n, K]."""
    return np.stack([np.bincount(centre, column, n) for column in values.T], axis=1)
