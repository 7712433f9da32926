"""The plots and the pieces of metadata that a run leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from etn_gpu.training import TrainingConfig, train


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, with everything that is on them."""
    found: list[Figure] = []

    def savefig(self: Figure, *arguments: Any, **options: Any) -> None:
        found.append(self)
        written(self, *arguments, **options)

    written = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


@pytest.mark.usefixtures("plots")
@pytest.mark.filterwarnings("error")
def test_learning_curve_and_parity(
    configure: Callable[..., TrainingConfig], figures: list[Figure], alloys: tuple[Path, Path]
) -> None:
    config = configure()
    report = train(config)
    [figure] = figures
    curve, energies, forces = figure.axes
    assert [line.get_label() for line in curve.lines] == ["train", "valid"]
    for line, name in zip(curve.lines, ("train", "valid"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), [entry[name]["forces_mae"] for entry in report.history])
    for axes, property_name, count in ((energies, "energy", (20, 6)), (forces, "forces", (480, 144))):
        for k, name in enumerate(("train", "valid")):
            reference, predicted = (np.asarray(values) for values in axes.lines[k].get_data())
            assert len(reference) == count[k]
            errors = np.abs(predicted - reference)
            assert errors.mean() == pytest.approx(getattr(report, name)[f"{property_name}_mae"], rel=1e-9)
