"""Groups of structures: how much each counts in the loss, and the errors on each.

A group is what extended XYZ files of the field call ``config_type``. A factor f on the loss of its structures is a
tolerance of 1/sqrt(f) (:mod:`etn_gpu.training.tolerance`): f = 2 is as good as every structure listed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.structures import LabelledSet
from etn_gpu.training.data import Piece
from etn_gpu.training.evaluation import summary
from etn_gpu.training.objective import Residuals

Indices = NDArray[np.int64]
#: Groups that a message lists.
_SHOWN = 40


def split_weightless(labels: LabelledSet, indices: Indices, factors: Mapping[str, float]) -> tuple[Indices, list[int]]:
    """The structures ``indices`` to train on, and those of the groups whose factor is 0."""
    out = np.array([factors.get(labels.config_type[i] or "", 1.0) == 0.0 for i in indices], bool)
    return indices[~out], [int(i) for i in indices[out]]


def check_groups(labels: LabelledSet, factors: Mapping[str, float]) -> None:
    """Groups that are given a factor must be there.

    Raises:
        TrainingError: names the groups that are.
    """
    counts = Counter(group for group in labels.config_type if group is not None)
    if unknown := [name for name in factors if name not in counts]:
        there = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_SHOWN))
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        raise TrainingError(
            f"no structure of {labels.source} is of the group {', '.join(map(repr, unknown))} (config_type); "
            + (f"there are, with structures: {there}{more}" if counts else "its structures have no groups")
        )


def with_group_weights(pieces: Sequence[Piece], factors: Mapping[str, float]) -> list[Piece]:
    """The pieces, the loss of the structures of each group multiplied by its factor (above 0)."""
    return [_weighted(piece, factors) for piece in pieces] if factors else list(pieces)


def _weighted(piece: Piece, factors: Mapping[str, float]) -> Piece:
    atoms, structures = piece.tolerances
    share = np.array([factors.get(group or "", 1.0) for group in piece.groups]) ** -0.5
    return replace(
        piece,
        atom_tolerance=atoms * np.repeat(share, np.diff(piece.batch.atom_offsets)),
        structure_tolerance=structures * share,
    )


def group_errors(pieces: Sequence[Piece], errors: Residuals) -> dict[str, dict[str, Any]]:
    """For each group by name: the number of its ``structures``, and MAE and RMSE as in :func:`.evaluation.summary`.

    ``errors`` are those of all pieces, one after the other.
    """
    names = [group for piece in pieces for group in piece.groups]
    sizes = [int(size) for piece in pieces for size in np.diff(piece.batch.atom_offsets)]
    groups = sorted({name for name in names if name is not None})
    numbers: dict[str | None, int] = {None: -1} | {name: k for k, name in enumerate(groups)}
    of_structure = np.array([numbers[name] for name in names], np.int64)
    structures, atoms = (_members(of, len(groups)) for of in (of_structure, np.repeat(of_structure, sizes)))
    return {
        name: {"structures": len(own), **summary(errors.of(own, at))}
        for name, own, at in zip(groups, structures, atoms, strict=True)
    }


def _members(of: Indices, number: int) -> list[Indices]:
    """The places at which each of the numbers 0 ... stands."""
    order = np.argsort(of, kind="stable")
    ends = np.searchsorted(of[order], np.arange(number + 1))
    return [order[start:end] for start, end in pairwise(ends)]
