"""All stages of whole models compile for every GPU of the last years, whatever their order, degree and precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.lowering import lower
from etn_gpu.backend.cuda.nvrtc import Compiler, Resources
from etn_gpu.backend.cuda.passes import DevicePasses
from etn_gpu.network import MessageLayer
from etn_gpu.potential import Architecture, preset_architecture
from etn_gpu.potential.programs import programs

pytestmark = [pytest.mark.nvrtc, pytest.mark.slow]

#: Channels up to l, and bonds: as many as the order less one.
MODELS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "order 2, l up to 1": ((2, 2), ("2x0e+2x1o",)),
    "order 3, l up to 4": ((3, 2, 2, 1, 1), ("2x0e+1x1o+1x2e+1x3o+1x4e",) * 2),
    "order 4, l up to 2": ((3, 2, 2), ("2x0e+2x1o+1x2e", "2x0e+1x1o+1x1e+2x2e", "2x0e+2x1o+1x2e")),
    "order 5, l up to 1": ((2, 1), ("2x0e+1x1o",) * 4),
}


@pytest.mark.parametrize("architecture", [80, 90, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_energies_and_gradients(compiler: Compiler, name: str, dtype: str, architecture: int) -> None:
    channels, bonds = MODELS[name]
    made = programs(Architecture(("Nb", "Mo", "W"), 5.0, 1.0, 5, channels, 2, 2, bonds))
    for stage in lower(made.gradient, np.dtype(dtype)).stages:
        compiled = compiler.compile(sources.inline(stage.text, stage.name), stage.name, architecture)
        used = compiled.resources()[stage.name]
        assert used.spilled == 0
        assert used.registers <= (128 if dtype == "float32" else 255)
        assert used.shared + stage.shared_bytes <= 163 * 1024


class Compiling:
    """As much of a device as it takes to compile kernels, and what they use."""

    name = "compiler"

    def __init__(self, compiler: Compiler, architecture: int) -> None:
        self._compiler, self._architecture = compiler, architecture
        self.used: list[tuple[str, Resources]] = []

    def load(self, text: str, origin: str) -> Compiling:
        self.used += self._compiler.compile(text, origin, self._architecture).resources().items()
        return self

    def get_function(self, name: str) -> None:
        """There is nothing to start."""


@pytest.mark.parametrize("architecture", [80, 90, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_passes_of_a_model_with_messages(compiler: Compiler, dtype: str, architecture: int) -> None:
    device: Any = Compiling(compiler, architecture)
    layer = MessageLayer("2x0e+1x1o", ("2x0e+1x1o",), 1, 3)
    form = Architecture(("Nb", "Mo", "W"), 5.0, 1.0, 4, (3, 2), 2, 2, ("2x0e+1x1o",) * 2, layers=(layer,))
    stages = DevicePasses(device, programs(form).gradient, np.dtype(dtype)).stages
    assert {stage.name for stage in stages} < {name for name, _ in device.used}
    assert {name: used for name, used in device.used if used.spilled} == {}
    assert all(stage.shared_bytes <= 163 * 1024 for stage in stages)


def test_the_largest_preset(compiler: Compiler) -> None:
    """More rows than shared memory holds: they lie in device memory, and still nothing is spilled."""
    made = programs(preset_architecture("large", ("Nb", "Mo", "Ta", "W"), 5.6, 1.0))
    for stage in lower(made.gradient, np.dtype("float32")).stages:
        used = compiler.compile(sources.inline(stage.text, stage.name), stage.name, 90).resources()[stage.name]
        assert used.spilled == 0
        assert used.registers <= 128
        assert used.shared + stage.shared_bytes <= 163 * 1024
