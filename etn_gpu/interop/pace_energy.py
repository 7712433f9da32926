"""From the densities of an atom to its energy in PACE: embedding functions and the switch to the core repulsion."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

import numpy as np
from numpy.typing import NDArray

from etn_gpu.interop.pace_file import Embedding
from etn_gpu.interop.pace_pairs import fade
from etn_gpu.plan.formula import Formula, Number
from etn_gpu.plan.operations import Functions

#: Below 1 / STEEP the square root of FinnisSinclair goes over into a line.
STEEP = 1e6
#: Densities that count as zero, and exponents that count as 1.
TINY = 1e-10


class Embeddings:
    """The functions that all species need, and the weights [species, functions * densities] of each of them.

    Function f of density p is component f * ``n_densities`` + p of ``operation``.
    """

    def __init__(self, embeddings: Sequence[Embedding]) -> None:
        self.n_densities = max(e.n_densities for e in embeddings)
        kinds = sorted({_kind(e, p) for e in embeddings for p in range(e.n_densities)})
        formula = Formula()
        self.operation: Functions = formula.functions(
            [_function(formula.variable, *kind) for kind in kinds], self.n_densities
        )
        self.weights: NDArray[np.float64] = np.zeros((len(embeddings), len(kinds) * self.n_densities))
        for species, e in enumerate(embeddings):
            for p in range(e.n_densities):
                self.weights[species, kinds.index(_kind(e, p)) * self.n_densities + p] = e.parameters[2 * p]


def _kind(embedding: Embedding, density: int) -> tuple[str, float]:
    """Name and exponent; the exponent 1 is the density itself, whatever the name."""
    exponent = embedding.parameters[2 * density + 1]
    if isclose(exponent, 1.0, rel_tol=0.0, abs_tol=TINY) and (embedding.kind != "FinnisSinclair" or exponent == 1.0):
        return ("linear", 1.0)
    return (embedding.kind, exponent)


def _function(rho: Number, kind: str, exponent: float) -> Number:
    if kind == "linear":
        return rho
    size = rho.below(0.0, -rho, rho)
    sign = rho.below(0.0, -1.0, 1.0)
    value = _shifted(size, exponent) if kind == "FinnisSinclairShiftedScaled" else _root_and_line(size, exponent)
    return sign * value


def _shifted(a: Number, m: float) -> Number:
    """(a + x e^-a)^m - y e^-a, with x and y such that it is 0 at 0 with a slope."""
    n = 1.0 / m
    decay = (-a).exp()
    return _power(a + n ** (n / (1.0 - n)) * decay, m) - n ** (1.0 / (1.0 - n)) * decay


def _root_and_line(a: Number, m: float) -> Number:
    """a^m, and below 1e-6 a line."""
    line = (1.0 / STEEP) ** (m - 1.0) * a
    inside = a.below(TINY, 1.0, a)
    cube = (STEEP * inside) ** 3
    rest = cube.below(30.0, (-cube).exp(), 0.0)
    return a.below(TINY, line, (1.0 - rest) * _power(inside, m) + rest * line)


def _power(a: Number, m: float) -> Number:
    return a**m if float(2 * m).is_integer() else (m * a.log()).exp()


def core_switch() -> Functions:
    """What the energy of the densities is multiplied by, for u from 0 (all of it) to 1 (core repulsion alone)."""
    formula = Formula()
    return formula.functions([fade(formula.variable)])


def core_ramp(embedding: Embedding) -> tuple[float, float]:
    """Factor and offset of the density of cores that give u."""
    if not embedding.core_width:
        return 0.0, 0.0
    return 1.0 / embedding.core_width, 1.0 - embedding.core_cutoff / embedding.core_width
