r"""Fusion trees: bases of the equivariant tensors over several irreps, and the moves between them.

**One side.** The irreps l_1, ..., l_p couple from left to right, ((l_1 l_2)e_2 l_3)e_3 ... to c = e_p. The sequence
(e_1 = l_1, e_2, ..., e_p = c) is the *spine* of the tree. Its tensor W, one C(e_{k-1} l_k -> e_k) after the other, is
an isometry from the irrep c: summed over the components of l_1, ..., l_p, W[..., m] W'[..., m'] is delta(m, m') for
equal trees and 0 for different ones. No irreps at all have one tree, c = 0.

**Two sides.** Rows l_1 ... l_p and columns l'_1 ... l'_q that couple to the same c give the invariant tensor
Phi = sum over m of W[..., m] W'[..., m], with squared norm 2c + 1. These tensors are an orthogonal basis: a matrix
from columns to rows, block by block in c.

**Moves.** A two-sided tree opens into a one-sided one over l_1 ... l_p, l'_q ... l'_1 that couples to 0: bending a leg
around turns C(f l' -> c) into C(c l' -> f) times a factor, and all factors together are

.. math:: \Phi = (-1)^{c + l'_1 + \dots + l'_q} \sqrt{2c+1}\ \Phi_\text{open} .

Neighbours in the open tree are exchanged by :func:`~etn_gpu.symmetry.recoupling.exchange_matrix` (a 6j symbol), and
reading the open tree from its other end gives the sign (-1)^(l_1 + ... + l'_q). Every permutation and every division
into rows and columns is a product of these three. Parity takes no part, except that all parities multiply to +1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.symmetry.coupling import clebsch_gordan
from etn_gpu.symmetry.recoupling import coupled_degrees, exchange_degrees, exchange_matrix

Degrees = tuple[int, ...]
Spine = tuple[int, ...]
#: Spines of the rows and of the columns; both end in the coupled degree.
TreePair = tuple[Spine, Spine]


@lru_cache(maxsize=65536)
def spines(degrees: Degrees) -> tuple[Spine, ...]:
    """The spines of all trees over `degrees`, in lexicographic order; ``((),)`` for no degrees."""
    if len(degrees) <= 1:
        return (degrees,)
    return tuple((*head, e) for head in spines(degrees[:-1]) for e in coupled_degrees(head[-1], degrees[-1]))


def coupled_degree(spine: Spine) -> int:
    """The degree c to which a tree couples: the end of its spine, 0 if it has no legs."""
    return spine[-1] if spine else 0


@lru_cache(maxsize=65536)
def tree_pairs(rows: Degrees, cols: Degrees) -> tuple[TreePair, ...]:
    """All pairs of a tree over the degrees `rows` and one over `cols` that couple to the same degree, rows first."""
    return tuple(
        (left, right)
        for left in spines(rows)
        for right in spines(cols)
        if coupled_degree(left) == coupled_degree(right)
    )


@lru_cache(maxsize=4096)
def tree_tensor(degrees: Degrees, spine: Spine) -> NDArray[np.float64]:
    """The isometry W of a tree, of shape (2 l_1 + 1, ..., 2 l_p + 1, 2c + 1): cached and read-only."""
    tensor = np.ones((1,))
    coupled = 0
    for degree, target in zip(degrees, spine, strict=True):
        tensor = np.tensordot(tensor, clebsch_gordan(coupled, degree, target), axes=1)
        coupled = target
    tensor.flags.writeable = False
    return tensor


@lru_cache(maxsize=65536)
def recoupling_matrix(
    row_degrees: Degrees, col_degrees: Degrees, rows: tuple[int, ...], cols: tuple[int, ...]
) -> NDArray[np.float64]:
    r"""Coefficients of the two-sided trees over permuted and regrouped legs.

    Legs are numbered rows first; `rows` and `cols` hold the numbers of the legs that become rows and columns. An
    invariant tensor with coefficients x over ``tree_pairs(row_degrees, col_degrees)`` has the coefficients U x over the
    tree pairs of the new rows and columns. U (new, old) is cached and read-only; with c' and c the coupled degrees,
    U[new, old] sqrt((2c' + 1) / (2c + 1)) is orthogonal.
    """
    degrees = row_degrees + col_degrees
    old = tree_pairs(row_degrees, col_degrees)
    new = tree_pairs(tuple(degrees[i] for i in rows), tuple(degrees[i] for i in cols))
    start = (*range(len(row_degrees)), *reversed(range(len(row_degrees), len(degrees))))
    goal = rows + cols[::-1]
    order, paths = list(start), [_open(pair) for pair in old]
    matrix = np.diag([_bend_factor(pair, col_degrees) for pair in old])
    if _inversions(start[::-1], goal) < _inversions(start, goal):
        order.reverse()
        paths = [(*path[-2::-1], 0) for path in paths]
        matrix *= (-1) ** sum(degrees)
    place = {leg: k for k, leg in enumerate(goal)}
    for k in _exchanges([place[leg] for leg in order]):
        paths, matrix = _exchange(paths, matrix, k, degrees[order[k]], degrees[order[k + 1]])
        order[k], order[k + 1] = order[k + 1], order[k]
    row_of = {path: i for i, path in enumerate(paths)}
    matrix = matrix[[row_of[_open(pair)] for pair in new]]
    matrix /= np.array([_bend_factor(pair, tuple(degrees[i] for i in cols)) for pair in new]).reshape(-1, 1)
    matrix.flags.writeable = False
    return matrix


def _open(pair: TreePair) -> Spine:
    """The spine of the open tree, which ends in 0."""
    left, right = pair
    return (*left, *right[-2::-1], 0) if right else left


def _bend_factor(pair: TreePair, col_degrees: Degrees) -> float:
    coupled = coupled_degree(pair[1])
    sign: int = (-1) ** (coupled + sum(col_degrees))
    return sign * math.sqrt(2 * coupled + 1)


def _exchanges(places: list[int]) -> list[int]:
    """Positions k of exchanges (k, k + 1), in order, that sort `places`: as many as it has inversions."""
    places = list(places)
    out = []
    for end in range(1, len(places)):
        for k in range(end - 1, -1, -1):
            if places[k] < places[k + 1]:
                break
            places[k], places[k + 1] = places[k + 1], places[k]
            out.append(k)
    return out


def _inversions(order: tuple[int, ...], goal: tuple[int, ...]) -> int:
    place = {leg: k for k, leg in enumerate(goal)}
    return len(_exchanges([place[leg] for leg in order]))


def _exchange(
    paths: list[Spine], matrix: NDArray[np.float64], k: int, a: int, b: int
) -> tuple[list[Spine], NDArray[np.float64]]:
    """Exchange the legs a and b at positions k and k + 1 of the open trees `paths`, whose coefficients are `matrix`."""
    new: dict[Spine, int] = {}
    entries: list[tuple[int, int, float]] = []
    for column, path in enumerate(paths):
        e, f, g = path[k - 1] if k else 0, path[k], path[k + 1]
        source = exchange_degrees(e, a, b, g).index(f)
        for degree, value in zip(exchange_degrees(e, b, a, g), exchange_matrix(e, a, b, g)[:, source], strict=True):
            target = (*path[:k], degree, *path[k + 1 :])
            entries.append((new.setdefault(target, len(new)), column, value))
    step = np.zeros((len(new), len(paths)))
    for row, column, value in entries:
        step[row, column] = value
    return list(new), step @ matrix
