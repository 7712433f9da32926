"""The kernels on the emulator, and batches of structures on it."""

from __future__ import annotations

import pytest

from etn_gpu.backend.cuda.neighbours import NeighbourSearch
from etn_gpu.backend.cuda.sums import Sums
from tests.emulator import EmulatedDevice, require_compiler


@pytest.fixture(scope="session")
def emulated() -> EmulatedDevice:
    """One emulated device for all tests, so that every kernel is compiled once."""
    require_compiler()
    return EmulatedDevice()


@pytest.fixture
def device(emulated: EmulatedDevice) -> EmulatedDevice:
    """The emulated device, with threads in ascending order."""
    emulated.order = 0
    return emulated


@pytest.fixture(scope="session")
def search(emulated: EmulatedDevice) -> NeighbourSearch:
    return NeighbourSearch(emulated)


@pytest.fixture(scope="session")
def sums(emulated: EmulatedDevice) -> Sums:
    return Sums(emulated)
