"""Kernels from text, on the emulator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etn_gpu.backend.cuda.launcher import Kernel, Module
from tests.emulator import EmulatedDevice, require_compiler


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    """A device that checks every access."""
    require_compiler()
    return EmulatedDevice()


@pytest.fixture
def kernel(device: EmulatedDevice) -> Callable[[str], Kernel]:
    """Compiles the one kernel in a text."""

    def compile_text(text: str) -> Kernel:
        (only,) = Module(device, text, "test.cu").kernels
        return only

    return compile_text
