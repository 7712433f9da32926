"""Training on the backend ``cuda``: the same course as in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etn_gpu.training import TrainingConfig, train
from tests.emulator import EmulatedDevice, require_compiler, stand_in_for_a_gpu


@pytest.mark.slow
@pytest.mark.emulator
def test_two_iterations(configure: Callable[..., TrainingConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    require_compiler()
    device = EmulatedDevice("fast")
    stand_in_for_a_gpu(device, monkeypatch)
    monkeypatch.setattr("etn_gpu.training.run.STARTS", 1)
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 1)
    # rounding differs, and every step along a curved valley makes the difference larger
    monkeypatch.setattr("etn_gpu.training.optimizer.MOST_STEPS", 3)
    reports = {backend: train(configure(backend=backend)) for backend in ("numpy", "cuda")}
    for found, expected in zip(reports["cuda"].history, reports["numpy"].history, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
