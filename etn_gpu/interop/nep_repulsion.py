"""The core repulsion of NEP potentials, V(r) = K Z Z' / r sum_i a_i exp(-b_i r / l) f(r).

f falls from 1 at the inner radius to 0 at the outer one as (1 + cos)/2; l = 0.4685 A / (Z^0.23 + Z'^0.23). Universal
numbers a, b: Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985); flexible ones
belong to a pair of species. GPUMD runs it over its angular neighbours: it ends at the largest angular cutoff.
"""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.terms import DECAYS, SHARES
from etn_gpu.interop.nep_file import CoreRepulsion, NepFile
from etn_gpu.plan.formula import Formula, Number
from etn_gpu.structures.elements import SYMBOLS

Array = NDArray[np.float64]

#: Constants as GPUMD has them: K in eV A, 1/A for the screening length.
COULOMB, SCREENING = 14.399645, 2.134563
#: Covalent radii in pm from H to Pu: Pyykko and Atsumi, Chem. Eur. J. 15, 186 (2009), those of metals less 10 %.
RADII = (
    32, 46, 120, 94, 77, 75, 71, 63, 64, 67, 140, 125, 113, 104, 110, 102, 99, 96, 176, 154, 133, 122, 121, 110, 107,
    104, 100, 99, 101, 109, 112, 109, 115, 110, 114, 117, 189, 167, 147, 139, 132, 124, 115, 113, 113, 108, 115, 123,
    128, 126, 126, 123, 132, 131, 209, 176, 162, 147, 158, 157, 156, 155, 151, 152, 151, 150, 149, 149, 148, 153, 146,
    137, 131, 123, 118, 116, 111, 112, 113, 132, 130, 130, 136, 131, 138, 142, 201, 181, 167, 158, 152, 153, 154, 155,
)  # fmt: skip


def pair_numbers(file: NepFile, chosen: NDArray[np.int64]) -> Array:
    """Numbers of each pair of the species ``chosen``, [species, species, numbers], that :func:`potential` takes."""
    repulsion = file.repulsion
    assert repulsion is not None
    charges = np.array([SYMBOLS.index(file.species[t]) + 1 for t in chosen], np.float64)
    strength = COULOMB * np.outer(charges, charges)
    inverse = (charges[:, None] ** 0.23 + charges**0.23) * SCREENING
    columns = []
    if fixed_radii(repulsion) is None:
        inner, outer = _radii(file, repulsion, chosen)
        columns = [inner, 1.0 / (outer - inner)]
    if repulsion.pairs is None:
        return np.stack([*columns, strength, inverse], axis=-1)
    pairs = _square(repulsion.pairs, len(file.species))[np.ix_(chosen, chosen)]
    columns += [strength * pairs[..., k] for k in (2, 4, 6, 8)]
    return np.stack([*columns, *(inverse * pairs[..., k] for k in (3, 5, 7, 9))], axis=-1)


def fixed_radii(repulsion: CoreRepulsion) -> tuple[float, float] | None:
    """Inner and outer radius in A where they are the same for all pairs."""
    return (repulsion.inner, repulsion.outer) if repulsion.pairs is None and repulsion.factor is None else None


def reach(file: NepFile, chosen: NDArray[np.int64]) -> float:
    """Largest outer radius in A of the species ``chosen``, without regard to the angular cutoff."""
    assert file.repulsion is not None
    return float(_radii(file, file.repulsion, chosen)[1].max())


def potential(
    formula: Formula, r: Number, first: int, radii: tuple[float, float] | None, flexible: bool, cutoff: float | None
) -> Number:
    """V(r) with the pair numbers from ``first`` on; zero from ``cutoff`` on where there is one."""
    if radii is None:
        u = (r - formula.parameter(first)) * formula.parameter(first + 1)
        first += 2
    else:
        u = (r - radii[0]) / (radii[1] - radii[0])
    u = u.below(0.0, 0.0, u.below(1.0, u, 1.0))
    switch = 0.5 * (pi * u).cos() + 0.5
    if flexible:
        terms = [formula.parameter(first + k) * (-1.0 * (formula.parameter(first + 4 + k) * r)).exp() for k in range(4)]
        value = sum(terms[1:], terms[0]) / r * switch
    else:
        strength, inverse = (formula.parameter(first + k) for k in range(2))
        x = inverse * r
        terms = [share * (-decay * x).exp() for share, decay in zip(SHARES, DECAYS, strict=True)]
        value = strength * sum(terms[1:], terms[0]) / r * switch
    return value if cutoff is None else formula.variable.below(cutoff**2, value, 0.0)


def _radii(file: NepFile, repulsion: CoreRepulsion, chosen: NDArray[np.int64]) -> tuple[Array, Array]:
    """Inner and outer radius of each pair of the species ``chosen``."""
    n = len(chosen)
    if repulsion.pairs is not None:
        pairs = _square(repulsion.pairs, len(file.species))[np.ix_(chosen, chosen)]
        return pairs[..., 0], pairs[..., 1]
    if repulsion.factor is None:
        return np.full((n, n), repulsion.inner), np.full((n, n), repulsion.outer)
    # GPUMD holds 4/3 of the radii to six digits.
    radii = np.array([float(f"{RADII[SYMBOLS.index(file.species[t])] / 75.0:.6g}") for t in chosen])
    outer = np.minimum((radii[:, None] + radii) * repulsion.factor, repulsion.outer)
    return np.zeros((n, n)), outer


def _square(pairs: Array, n_species: int) -> Array:
    """[species, species, numbers] of the upper triangle, row by row."""
    table = np.empty((n_species, n_species, pairs.shape[1]))
    rows, columns = np.triu_indices(n_species)
    table[rows, columns] = pairs
    table[columns, rows] = pairs
    return table
