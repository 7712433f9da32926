"""Devices that the kernels run on: the emulator, and a GPU where there is one."""

from __future__ import annotations

import os

import pytest

from etn_gpu.backend.cuda import nvrtc
from etn_gpu.backend.cuda.availability import unavailable
from etn_gpu.backend.cuda.device import CupyDevice, Device
from etn_gpu.backend.cuda.neighbours import NeighbourSearch
from etn_gpu.backend.cuda.nvrtc import Compiler
from etn_gpu.backend.cuda.sums import Sums
from etn_gpu.errors import BackendError
from tests.emulator import EmulatedDevice, require_compiler, run_in_order


@pytest.fixture(scope="session")
def emulated() -> EmulatedDevice:
    """One emulated device for all tests, so that every kernel is compiled once."""
    require_compiler()
    return EmulatedDevice()


@pytest.fixture(scope="session", params=["emulator", *(["gpu"] if unavailable() is None else [])])
def device(request: pytest.FixtureRequest) -> Device:
    """Each device that can be used here."""
    if request.param == "gpu":
        return CupyDevice()
    emulated: EmulatedDevice = request.getfixturevalue("emulated")
    return emulated


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    """NVRTC of CUDA 13, which the test extra brings."""
    try:
        return nvrtc.compiler(13)
    except BackendError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def ascending_order(request: pytest.FixtureRequest) -> None:
    """Threads of the emulator run in ascending order unless a test wants another."""
    for name in {"device", "emulated"} & set(request.fixturenames):
        run_in_order(request.getfixturevalue(name), 0)


@pytest.fixture(scope="session")
def search(device: Device) -> NeighbourSearch:
    return NeighbourSearch(device)


@pytest.fixture(scope="session")
def sums(device: Device) -> Sums:
    return Sums(device)
