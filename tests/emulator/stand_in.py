"""The emulator in place of a GPU, so that every test of the backends can run on the backend ``cuda``."""

from __future__ import annotations

import pytest

from etn_gpu.backend import registry
from etn_gpu.backend.cuda import executor
from tests.emulator.device import EmulatedDevice


def stand_in_for_a_gpu(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend ``cuda`` can run here, on ``device``, until the patches are undone."""
    monkeypatch.setattr(registry, "unavailable", lambda: None)
    monkeypatch.setattr(executor, "default_device", lambda: device)
