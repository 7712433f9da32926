"""Errors of a model on pieces of data."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.labels import PROPERTIES
from etn_gpu.training.data import Piece
from etn_gpu.training.objective import Errors, Objective, Weights

Array = NDArray[np.float64]
#: In units of sigma.
GOOD_ENOUGH = 0.1
#: The mean size of N normal errors is uncertain by 0.756 / sqrt(N) of it. With so many labels that is a tenth, about
#: what the later iterations of a run differ by, so that half of a difference is chance.
CHANCE = 57


def collect_errors(objective: Objective, theta: Array, pieces: Sequence[Piece]) -> Errors:
    """All errors of the pieces, one after the other."""
    errors = [objective.errors(theta, piece) for piece in pieces]
    if not errors:
        return Errors(np.empty(0), np.empty((0, 3)), np.empty((0, 6)))
    return Errors(*(np.concatenate([getattr(e, name) for e in errors]) for name in PROPERTIES))


def summary(errors: Errors) -> dict[str, float | None]:
    """MAE and RMSE: energy in eV/atom, forces in eV/A, stress in eV/A^3; None where there is no label.

    They are infinite where a prediction that has a label is not finite.
    """
    out: dict[str, float | None] = {}
    for name in PROPERTIES:
        values = getattr(errors, name)
        values = values[~np.isnan(values)]
        with np.errstate(over="ignore"):
            out[f"{name}_mae"] = float(np.abs(values).mean()) if values.size else None
            out[f"{name}_rmse"] = float(np.sqrt(np.mean(values**2))) if values.size else None
    return out


def score(errors: Errors, weights: Weights) -> float:
    """One number to compare models by: the product of MAE / sigma over properties with a weight and a label.

    Of a product each property changes the same share, however large its errors are beside sigma, where a sum would be
    decided by the largest. What is below a tenth of sigma is good enough. Each factor has the power N / (N + CHANCE) of
    its N labels: among the models of one run the best energies of 16 structures are good luck.
    """
    found = summary(errors)
    factors = []
    for name in PROPERTIES:
        mae, weight = found[f"{name}_mae"], getattr(weights, name)
        if weight and mae is not None:
            labels = int(np.count_nonzero(~np.isnan(getattr(errors, name))))
            factors.append((mae * float(np.sqrt(weight)) + GOOD_ENOUGH) ** (labels / (labels + CHANCE)))
    return prod(factors)
