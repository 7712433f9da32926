"""Features of a site that tell whether a network knows it, and their leverage: steps added to the gradient Program.

With the site vector v_i and the adjoint w_i = de_i/dv_i, which the gradient of the energy has anyway, the features are

    b_i = (v_i[l, n] . v_i[l, n'] for n <= n',  v_i[l, n] . w_i[l, n'])      for each l, summed over m.

The first are the power spectrum of the surroundings. The second are the derivatives of the site energy with respect to
matrices that mix the channels of v_i, one for each l, inserted in front of all cores at once: directions in which
training could have moved the model. All of them are invariant.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.cores import Sector, sectors
from etn_gpu.plan.operations import Couple, CoupleBlock, Mix, MixBlock
from etn_gpu.plan.program import Value
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.programs import programs

#: Name of the parameter input with the factors, [n_species, n_features, n_features], of the square root of the grade.
FACTORS = "grade_factors"
_SITE, _ADJOINT = "v", "v~"
#: Where the network has lost nearly all of its weight nothing is known of the site: this is the most its grade rises.
MOST_LOST = 1e3

Array = NDArray[np.float64]


def n_features(architecture: Architecture) -> int:
    """How many features a site has."""
    return sum(n * (n + 1) // 2 + n * n for n in (s.mul for s in sectors(architecture.feature)))


def site_grades(squares: NDArray[np.floating], weights: Array | None) -> Array:
    """Grades [N] from the ``q`` [N] of the graded Program and the weights [N] of the network, None where all are 1.

    Where the terms beside the network take its weight away, nobody has seen such surroundings: the grade rises by
    (1 - g)/g, at most ``MOST_LOST``. What has overflowed is as far outside as can be, and has no threshold above it.
    """
    from etn_gpu.backend.cpu.grades import grades_of_sites

    grades = np.empty(len(squares))
    grades_of_sites(squares, weights, MOST_LOST, grades)
    return grades


@lru_cache(maxsize=32)
def feature_program(architecture: Architecture) -> Program:
    """``e``, and ``b`` [atom, n_features]; inputs as of the gradient Program."""
    builder = ProgramBuilder(programs(architecture).gradient)
    features = _features(builder, architecture)
    return builder.build({"e": programs(architecture).energy.output_names["e"], "b": features.name})


@lru_cache(maxsize=32)
def graded_program(architecture: Architecture) -> Program:
    """``e``, ``g`` as of the gradient Program, and ``q`` [atom, 1] = |F[z] b|^2 with the additional input F."""
    gradient = programs(architecture).gradient
    builder = ProgramBuilder(gradient)
    features = _features(builder, architecture)
    n, species = features.size, architecture.n_species
    factors = builder.input(FACTORS, "param", species * n * n)
    product = Mix((factors.size, n, n), (MixBlock(0, n, n, n, 1, 0, 0),), n * n)
    y = builder.step("grade_y", "atom", (Term(product, 2, (factors.name, features.name)),))
    square = CoupleBlock((0, 0, 0), (0, 0, 0), (n, 1, 1), ((1, 0, 0), (1, 0, 0), (0, 0, 0)))
    q = builder.step("grade", "atom", (Term(Couple((n, n, 1), (square,)), 2, (y.name, y.name)),))
    return builder.build(dict(gradient.outputs) | {"q": q.name})


def _features(builder: ProgramBuilder, architecture: Architecture) -> Value:
    legs = sectors(architecture.feature)
    size, dim = n_features(architecture), architecture.feature.dim
    spectrum, place = [], 0
    for s in legs:
        for first in range(s.mul):
            spectrum.append(_pairs(s, first, 1, first, s.mul - first, place))
            place += s.mul - first
    mixing = []
    for s in legs:
        mixing.append(_pairs(s, 0, s.mul, 0, s.mul, place))
        place += s.mul**2
    terms = [
        Term(Couple((dim, dim, size), tuple(blocks)), 2, (_SITE, other))
        for blocks, other in ((spectrum, _SITE), (mixing, _ADJOINT))
    ]
    return builder.step("grade_b", "atom", terms)


def _pairs(s: Sector, first: int, rows: int, second: int, columns: int, place: int) -> CoupleBlock:
    """Scalar products of ``rows`` copies of a sector from ``first`` on with ``columns`` from ``second`` on."""
    return CoupleBlock(
        (s.l, s.l, 0),
        (s.offset + first * s.dim, s.offset + second * s.dim, place),
        (rows, columns, 1),
        ((1, 0, 0), (0, 1, 0), (columns, 1, 0)),
        float(s.dim) ** 0.5,
    )
