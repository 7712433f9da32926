"""Plots of a run on a target: predicted against reference components and, of vectors, lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.training.covariant_objective import CovariantErrors
from etn_gpu.training.data import Piece

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_target(
    components: Axes, lengths: Axes, quantity: Mapping[str, Any], parity: Mapping[str, tuple[Sequence[Piece], Any]]
) -> None:
    """Both panels; that of lengths is left out for numbers, which have none."""
    vectors = False
    for name, (pieces, errors) in parity.items():
        if not pieces:
            continue
        assert isinstance(errors, CovariantErrors)
        labels = np.concatenate([piece.target.values for piece in pieces if piece.target is not None])
        vectors = labels.shape[1] > 1
        components.plot(labels.ravel(), (labels + errors.components).ravel(), ".", markersize=2, label=name)
        size = np.linalg.norm(labels, axis=1)
        lengths.plot(size, size + errors.lengths, ".", markersize=2, label=name)
    unit = f" ({quantity['unit']})" if quantity["unit"] else ""
    titles = {components: "components" if vectors else quantity["name"], lengths: "lengths"}
    for axes, title in titles.items():
        axes.set(xlabel=f"reference{unit}", ylabel=f"predicted{unit}", title=title)
        axes.axline((0, 0), slope=1, color="black", linewidth=0.5)
        axes.legend()
    lengths.set_visible(vectors)
