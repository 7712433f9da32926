"""Does a backend compute what the oracle computes? Asked of a real model on structures made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

    from etn_gpu.potential import Architecture, Potential
    from etn_gpu.potential.grade import ExtrapolationGrade
    from etn_gpu.potential.terms import Terms

__all__ = ["ORACLE", "TOLERANCES", "check_grade", "check_structures", "check_terms", "largest_difference"]

ORACLE = "numpy"
"""The backend that the others are compared with, in float64."""
TOLERANCES = {"float64": 1e-10, "float32": 2e-5}
"""Differences allowed, relative to the largest value, by dtype."""

_SITES = 3  # along each edge of the cubic box


def check_structures(species: Sequence[str], cutoff: float) -> list[Atoms]:
    """A crystal, a slab and a cluster of all `species`, with neighbour distances around half the cutoff [A]; always
    the same."""
    from ase import Atoms

    random = np.random.default_rng(0)
    spacing = 0.55 * cutoff
    grid = np.stack(np.meshgrid(*3 * [np.arange(_SITES)], indexing="ij"), axis=-1).reshape(-1, 3) * spacing
    structures = []
    for pbc in (True, (True, True, False), False):
        symbols = [species[number % len(species)] for number in random.permutation(len(grid))]
        positions = grid + random.normal(scale=0.05 * spacing, size=grid.shape)
        structures.append(Atoms(symbols, positions=positions, cell=3 * [_SITES * spacing], pbc=pbc))
    return structures


def check_terms(n_species: int, cutoff: float) -> Terms:
    """Terms that are all at work on :func:`check_structures`, the weight of the network between 0 and 1."""
    from etn_gpu.potential.terms import Terms

    pairs = np.ones((n_species, n_species, 1))
    sites = np.ones((n_species, 1))
    return Terms(
        repulsion=cutoff * np.array([0.3, 0.8]) * pairs,
        density=np.array([0.5, 1.5, 2.5, 4.0]) * sites,
        distances=cutoff * np.array([0.3, 0.75]) * pairs,
        embedding=np.array([-1.0, 3.0, 2.0, 0.5]) * sites,
        bounds=np.array([-2.0, -0.1, 0.1, 1.0]) * sites,
    )


def check_grade(architecture: Architecture) -> ExtrapolationGrade:
    """A grade that is the norm of the features."""
    from etn_gpu.potential.grade import ExtrapolationGrade
    from etn_gpu.potential.grade_program import n_features

    species, n = architecture.n_species, n_features(architecture)
    return ExtrapolationGrade(np.broadcast_to(np.eye(n), (species, n, n)), np.ones(species), np.ones(species))


def largest_difference(
    model: Potential, evaluate: Callable[[Potential, list[Atoms]], Sequence[Mapping[str, Any]]]
) -> float:
    """Largest difference of any energy, force, stress component or extrapolation grade from the oracle's, relative to
    the largest of its kind; ``evaluate`` gives results of a model under ASE's names.

    A model with terms beside its network is compared without them, for they may hide it on structures that it does not
    know, and with those of :func:`check_terms`. Grades are those of :func:`check_grade`, in which all features count
    alike: factors from training data make much of little, and only in float64 with all digits.
    """
    if model.grade is not None:
        from etn_gpu.potential import Architecture

        assert isinstance(model.form, Architecture)
        model = model.with_grade(check_grade(model.form))
    if model.terms is None:
        return _difference(model, evaluate)
    others = check_terms(len(model.species), model.cutoff)
    return float(np.max([_difference(model.with_terms(terms), evaluate) for terms in (None, others)]))


def _difference(model: Potential, evaluate: Callable[[Potential, list[Atoms]], Sequence[Mapping[str, Any]]]) -> float:
    """The difference of one model.

    Energies are those beyond the references, and a difference in the last digit of the whole energy is none: it says
    nothing about a backend, and may be larger than the tolerance where references are very large.
    """
    structures = check_structures(model.species, model.cutoff)
    expected = model.evaluate(structures, backend=ORACLE, dtype="float64")
    found = evaluate(model, structures)
    references = [model.reference_energies[symbol] for atoms in structures for symbol in atoms.symbols]
    differences = []
    zeros = dict.fromkeys(("forces", "stress", *(("extrapolation_grades",) if model.grade is not None else ())), 0.0)
    for quantity, base in {"energies": np.array(references), **zeros}.items():
        oracle = np.concatenate([result[quantity] for result in expected if quantity in result])
        values = np.concatenate([result[quantity] for result in found if quantity in result])
        beyond = np.maximum(np.abs(values - oracle) - np.spacing(np.abs(oracle)), 0.0)
        # ``maximum`` keeps what is not a number: such a difference is the largest
        differences.append(np.max(beyond) / np.max(np.abs(oracle - base)))
    return float(np.max(differences))
