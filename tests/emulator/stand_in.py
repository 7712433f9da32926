"""The emulator in place of a GPU, so that every test of the backends can run on the backend ``cuda``."""

from __future__ import annotations

from etn_gpu.backend import registry
from etn_gpu.backend.cuda import executor
from tests.emulator.device import EmulatedDevice


def stand_in_for_a_gpu() -> EmulatedDevice:
    """From now on the backend ``cuda`` can run here, on the device returned."""
    device = EmulatedDevice()
    vars(registry)["unavailable"] = lambda: None
    executor.default_device = lambda: device  # type: ignore[assignment]
    return device
