r"""Truncation of a bond by what the loss loses, not by singular values alone.

Singular vectors are the basis of the bond; which of them to drop, the loss decides. It is quadratic in the core at the
centre, with second derivatives H and its minimum at x. Without the component k of the bond, whose weights are x_k, and
with the other weights moved to where the loss is least then, the loss rises by

    1/2 x_k^T ((H^-1)_kk)^-1 x_k

(Hassibi, Stork, NIPS 5, 164: the optimal brain surgeon). Components are dropped one after the other, each time the one
with the least rise for what an evaluation costs less without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from etn_gpu.symmetry import Irrep, Irreps

Array = NDArray[np.float64]
SCALAR = Irrep(0, 1)


@dataclass(frozen=True, eq=False)
class Component:
    """A component of a bond: its irrep, its number in the sector, and which unknowns are its weights."""

    ir: Irrep
    index: int
    unknowns: NDArray[np.int64]


@dataclass(frozen=True)
class Elimination:
    """The components that are kept, the new minimum, and the rise of the loss."""

    kept: tuple[Component, ...]
    x: Array
    rise: float


def eliminate(
    matrix: Array,
    x: Array,
    components: Sequence[Component],
    cost: Callable[[Irreps], float],
    most: float,
    allowed: float,
) -> Elimination:
    """Drop components until their cost is at most ``most``, and on as long as the loss rises by at most ``allowed``.

    Parameters: ``matrix`` [n, n], the second derivatives; ``x`` [n], the minimum; ``cost`` of a bond. The last scalar
    is never dropped: with one on each bond there is a path through the train.
    """
    n = len(x)
    inverse = scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix), np.eye(n))
    x = x.copy()
    kept = list(components)
    total, rise = cost(_leg(kept)), 0.0
    while len(kept) > 1:
        scalars = sum(component.ir == SCALAR for component in kept)
        choices = [component for component in kept if component.ir != SCALAR or scalars > 1]
        savings = {ir: total - cost(_leg(kept, without=ir)) for ir in {component.ir for component in choices}}
        rises = [_rise(inverse, x, component.unknowns) for component in choices]
        k = int(np.argmin([r / savings[component.ir] for r, component in zip(rises, choices, strict=True)]))
        if total <= most and rise + rises[k] > allowed:
            break
        at = choices[k].unknowns
        gain = np.linalg.solve(inverse[np.ix_(at, at)], np.column_stack((inverse[at], x[at])))
        correction = inverse[:, at] @ gain
        inverse = inverse - correction[:, :-1]
        x = x - correction[:, -1]
        x[at] = 0.0
        rise += rises[k]
        total -= savings[choices[k].ir]
        kept.remove(choices[k])
    return Elimination(tuple(kept), x, rise)


def _leg(components: Sequence[Component], without: Irrep | None = None) -> Irreps:
    """The bond of these components, and one less of the sector ``without``."""
    counts = Counter(component.ir for component in components)
    if without is not None:
        counts[without] -= 1
    return Irreps([(n, ir) for ir, n in counts.items() if n]).sort()


def _rise(inverse: Array, x: Array, at: NDArray[np.int64]) -> float:
    return 0.5 * float(x[at] @ np.linalg.solve(inverse[np.ix_(at, at)], x[at]))
