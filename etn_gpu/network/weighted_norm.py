r"""Norm of the coefficient tensor of a train in a metric on its feature legs, with derivatives.

With a symmetric matrix M[f] on the components of each irrep f of the feature leg the squared norm of the tensor T is

    |T|^2 = sum T[n_1 .. n_d] M[n_1, n'_1] ... M[n_d, n'_d] T[n'_1 .. n'_d],

summed over all components. Clebsch-Gordan coefficients are isometric, so that Schur's lemma leaves one small matrix
E_t[l] for each irrep l of each bond: with the reduced blocks G[c, a, n] of a core

    E_t[c, c'] = sum over triples (l, f) -> l'  of  G[c, a, n] E_{t-1}[a, a'] M[n, n'] G[c', a', n'].

It is quadratic in each core, and what multiplies a core from both sides is its second derivative. In canonical form
with the centre at that core, and an identity for a metric, it is the identity as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.network.train import Train
from etn_gpu.plan import Core
from etn_gpu.plan.cores import Sector

Array = NDArray[np.float64]
#: One matrix for each irrep (l, p) of a leg.
Matrices = dict[tuple[int, int], Array]


@dataclass(frozen=True)
class NormDerivatives:
    """``value`` |T|^2 and what it changes by.

    ``weights``: gradient with respect to each core [size of the core]; ``metrics``: with respect to each matrix of the
    metric [n, n], as if its entries were independent. ``left``, ``right``: what surrounds each core on its bonds.
    """

    train: Train
    metric: Matrices
    value: float
    weights: dict[str, Array]
    metrics: Matrices
    left: tuple[Matrices, ...]
    right: tuple[Matrices, ...]

    def curvature(self, core: Core) -> Array:
        """Second derivatives of |T|^2 / 2 with respect to the weights of a core, [size, size]; they are exact."""
        place = self.train.cores.index(core)
        out = np.zeros((core.size, core.size))
        for path in core.paths:
            at = path.places.ravel()
            left, right = self.left[place][_key(path.left)], self.right[place][_key(path.out)]
            out[np.ix_(at, at)] = np.kron(np.kron(right, left), self.metric[_key(path.feature)])
        return out


def squared_norm(train: Train, weights: Mapping[str, Array], metric: Matrices) -> float:
    """|T|^2 of a train whose cores have these weights; one matrix of the metric for each irrep of the feature leg."""
    return _total(train, _from_left(train, weights, metric)[-1])


def gram(train: Train, weights: Mapping[str, Array], metric: Matrices) -> Matrices:
    """Products of the components of the target, one matrix for each of its irreps: |T|^2 is the sum of their traces,
    each times 2l+1."""
    return _from_left(train, weights, metric)[-1]


def norm_derivatives(
    train: Train, weights: Mapping[str, Array], metric: Matrices, right: Matrices | None = None
) -> NormDerivatives:
    """|T|^2 with its derivatives; or of the sum of the products of ``right`` with the matrices of :func:`gram`."""
    lefts = _from_left(train, weights, metric)
    gradients = {core.name: np.zeros(core.size) for core in train.cores}
    metrics = {key: np.zeros_like(matrix) for key, matrix in metric.items()}
    if right is None:
        right = {(ir.l, ir.p): ir.dim * np.eye(mul) for mul, ir in train.target}
    value = float(sum(np.sum(right[key] * matrix) for key, matrix in lefts[-1].items()))
    rights: list[Matrices] = []
    for core, left in zip(reversed(train.cores), reversed(lefts[:-1]), strict=True):
        rights.append(right)
        before = _zeros(path.left for path in core.paths)
        for path in core.paths:
            block = weights[core.name][path.places]
            matrix = metric[_key(path.feature)]
            turned = (right[_key(path.out)] @ block.reshape(len(block), -1)).reshape(block.shape)
            outer = np.matmul(left[_key(path.left)], turned)
            gradients[core.name][path.places] = 2.0 * np.matmul(outer, matrix)
            metrics[_key(path.feature)] += _products(outer, block, 2)
            before[_key(path.left)] += _products(np.matmul(turned, matrix), block, 1)
        right = before
    return NormDerivatives(train, metric, value, gradients, metrics, tuple(lefts[:-1]), tuple(rights[::-1]))


def _from_left(train: Train, weights: Mapping[str, Array], metric: Matrices) -> list[Matrices]:
    """The matrices E_0 .. E_d."""
    found: list[Matrices] = [{(0, 1): np.ones((1, 1))}]
    for core in train.cores:
        after = _zeros(path.out for path in core.paths)
        for path in core.paths:
            block = weights[core.name][path.places]
            outer = np.matmul(np.matmul(found[-1][_key(path.left)], block), metric[_key(path.feature)])
            after[_key(path.out)] += _products(outer, block, 0)
        found.append(after)
    return found


def _products(a: Array, b: Array, axis: int) -> Array:
    """Products of all slices of ``a`` along an axis with all of ``b``, each a sum over the other two axes."""
    order = (axis, *(k for k in range(3) if k != axis))
    first, second = (array.transpose(order).reshape(array.shape[axis], -1) for array in (a, b))
    return first @ second.T  # `tensordot` takes several times as long to find that out


def _total(train: Train, last: Matrices) -> float:
    return float(sum(ir.dim * np.trace(last[ir.l, ir.p]) for _, ir in train.target))


def _zeros(sectors: Iterable[Sector]) -> Matrices:
    return {_key(sector): np.zeros((sector.mul, sector.mul)) for sector in sectors}


def _key(sector: Sector) -> tuple[int, int]:
    return (sector.l, sector.p)
