"""Errors of a model on pieces of data."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from etn_gpu.training.data import Piece
from etn_gpu.training.objective import E, LeastSquares, Residuals, Weights

Array = NDArray[np.float64]
#: In units of sigma.
GOOD_ENOUGH = 0.1
#: The mean size of N normal errors is uncertain by 0.756 / sqrt(N) of it. With so many labels that is a tenth, about
#: what the later iterations of a run differ by, so that half of a difference is chance.
CHANCE = 57


def collect_errors(objective: LeastSquares[E], theta: Array, pieces: Sequence[Piece]) -> E:
    """All errors of the pieces, one after the other."""
    return objective.joined([objective.errors(theta, piece) for piece in pieces])


def summary(errors: Residuals) -> dict[str, float | None]:
    """MAE and RMSE: energy in eV/atom, forces in eV/A, stress in eV/A^3; None where there is no label.

    Of a target they are those of its components, ``target``, and of the lengths of vectors, ``target_length``.

    They are infinite where a prediction that has a label is not finite.
    """
    out: dict[str, float | None] = {}
    for name, all_values in errors.named().items():
        values = all_values[~np.isnan(all_values)]
        with np.errstate(over="ignore"):
            out[f"{name}_mae"] = float(np.abs(values).mean()) if values.size else None
            out[f"{name}_rmse"] = float(np.sqrt(np.mean(values**2))) if values.size else None
    return out


def score(errors: Residuals, weights: Weights) -> float:
    """One number to compare models by: the product of MAE / sigma over properties with a weight and a label.

    Of a product each property changes the same share, however large its errors are beside sigma, where a sum would be
    decided by the largest. What is below a tenth of sigma is good enough. Each factor has the power N / (N + CHANCE) of
    its N labels: among the models of one run the best energies of 16 structures are good luck.
    """
    factors = []
    for all_values, weight in errors.weighed(weights):
        values = all_values[~np.isnan(all_values)]
        if weight and values.size:
            mae = float(np.abs(values).mean())
            factors.append((mae * float(np.sqrt(weight)) + GOOD_ENOUGH) ** (values.size / (values.size + CHANCE)))
    return prod(factors)
