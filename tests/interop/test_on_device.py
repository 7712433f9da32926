"""Potentials of other methods as CUDA kernels: they compile without spilling, and give what NumPy gives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import etn_gpu
from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.executor import run
from etn_gpu.backend.cuda.lowering import lower
from etn_gpu.backend.cuda.nvrtc import Compiler, compiler
from etn_gpu.backend.registry import run as run_on_host
from etn_gpu.errors import BackendError
from etn_gpu.plan import Program
from etn_gpu.potential import Potential
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.programs import programs
from etn_gpu.structures import StructureBatch
from tests.emulator import EmulatedDevice, require_compiler

from .test_loading import KINDS, REFERENCES, crystal

#: One in the suite; texts take g++ and NVRTC seconds each.
SOME = [pytest.param(name, marks=() if name == "PACE" else pytest.mark.slow) for name in ("MTP", "SNAP", "NEP", "PACE")]


def loaded(name: str, folder: Path) -> tuple[Potential, Program]:
    given = KINDS[name](folder)
    model = etn_gpu.load(given.path, **given.options)
    return model, programs(model.form).gradient


@pytest.mark.emulator
@pytest.mark.parametrize("name", SOME)
def test_results_are_those_of_numpy(name: str, tmp_path: Path) -> None:
    require_compiler()
    model, program = loaded(name, tmp_path)
    batch = StructureBatch.build([crystal(model.species)], model.species, model.cutoff)
    geometry = Environments.of(batch).geometry
    parameters = {n: np.ravel(model.parameters[n]) for n in model.form.network_shapes}
    inputs = {"x": batch.vectors, **parameters, "e_bar": np.ones((batch.n_atoms, 1))}
    expected = run_on_host(program, inputs, geometry, backend="numpy")
    found = run(program, inputs, geometry, dtype=np.dtype("float64"), device=EmulatedDevice("fast"))
    for output in ("e", "g"):
        scale = np.abs(expected[output]).max()
        np.testing.assert_allclose(found[output], expected[output], rtol=0, atol=1e-11 * scale)


@pytest.fixture(scope="module")
def nvrtc() -> Compiler:
    try:
        return compiler(13)
    except BackendError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.nvrtc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SOME)
def test_kernels_spill_nothing(nvrtc: Compiler, name: str, dtype: str, tmp_path: Path) -> None:
    _, program = loaded(name, tmp_path)
    for stage in lower(program, np.dtype(dtype)).stages:
        used = nvrtc.compile(sources.inline(stage.text, stage.name), stage.name, 90).resources()[stage.name]
        assert used.spilled == 0
        assert used.shared + stage.shared_bytes <= 163 * 1024


def test_what_is_not_done_on_devices_is_named() -> None:
    model = etn_gpu.load(REFERENCES / "pace_nearest.yace")
    with pytest.raises(BackendError, match="the cuda backend does not know the operation 'nearest'"):
        lower(programs(model.form).gradient, np.dtype("float64"))
