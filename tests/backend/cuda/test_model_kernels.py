"""All stages of whole models compile for every GPU of the last years, whatever their order, degree and precision."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.lowering import lower
from etn_gpu.backend.cuda.nvrtc import Compiler
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


def test_the_largest_preset(compiler: Compiler) -> None:
    """More rows than shared memory holds: they lie in device memory, and still nothing is spilled."""
    made = programs(preset_architecture("large", ("Nb", "Mo", "Ta", "W"), 5.6, 1.0))
    for stage in lower(made.gradient, np.dtype("float32")).stages:
        used = compiler.compile(sources.inline(stage.text, stage.name), stage.name, 90).resources()[stage.name]
        assert used.spilled == 0
        assert used.registers <= 128
        assert used.shared + stage.shared_bytes <= 163 * 1024
