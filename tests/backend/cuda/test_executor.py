"""Whole Programs on a device: the results of NumPy for every output, sample by sample, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend import Geometry
from etn_gpu.backend import run as run_on_host
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.executor import run
from etn_gpu.backend.cuda.lowering import lower
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.operations import EdgeSum, EdgeSumBlock, Mix, MixBlock
from etn_gpu.potential import preset_architecture
from etn_gpu.potential.programs import programs
from tests.emulator import EmulatedDevice, require_compiler

pytestmark = pytest.mark.emulator

TOLERANCES = {"float64": 1e-10, "float32": 2e-5}
KINDS = ("energy", "gradient", "hessian_vector", "parameter_gradient")
#: A new text takes the emulator many seconds to compile; the others run with -m slow.
QUICK = {("gradient", "float32"), ("parameter_gradient", "float64")}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        pytest.param(kind, dtype, marks=() if (kind, dtype) in QUICK else pytest.mark.slow)
        for kind in KINDS
        for dtype in TOLERANCES
    ],
)
def test_programs_of_a_potential(
    device: Device,
    potential: Callable[[int], Any],
    geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Any],
    assert_close: Callable[..., None],
    kind: str,
    dtype: str,
) -> None:
    geometry = geometry_of([0, 1, 40, 3, 0, 33] + [5] * 34, 3)
    program = getattr(potential(3), kind)
    inputs = inputs_for(program, geometry)
    expected = run_on_host(program, inputs, geometry, backend="numpy")
    found = run(program, inputs, geometry, dtype=np.dtype(dtype), device=device)
    assert {array.dtype.name for array in found.values()} == {dtype}
    assert_close(found, expected, TOLERANCES[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["small", "standard"])
@pytest.mark.parametrize(("kind", "dtype"), [("gradient", "float32"), ("parameter_gradient", "float64")])
def test_presets(
    geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Any],
    assert_close: Callable[..., None],
    preset: str,
    kind: str,
    dtype: str,
) -> None:
    """Real sizes, without the checks of every access, which would take minutes."""
    require_compiler()
    geometry = geometry_of([50] * 3 + [0, 7] + [20] * 30, 4)
    program = getattr(programs(preset_architecture(preset, ("Nb", "Mo", "Ta", "W"), 5.0, 1.0)), kind)
    inputs = inputs_for(program, geometry)
    for value in program.inputs:
        if value.space == "param":
            inputs[value.name] *= 0.3
    expected = run_on_host(program, inputs, geometry, backend="numpy")
    found = run(program, inputs, geometry, dtype=np.dtype(dtype), device=EmulatedDevice("fast"))
    assert_close(found, expected, TOLERANCES[dtype])


def test_sums_sample_by_sample(
    device: Device,
    potential: Callable[[int], Any],
    geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Any],
    assert_close: Callable[..., None],
) -> None:
    geometry = geometry_of([4] * 45, 3)
    program = potential(3).parameter_gradient
    inputs = inputs_for(program, geometry)
    samples = np.array([0, 0, 1, 40, 45], np.int64)
    expected = run_on_host(program, inputs, geometry, backend="numpy", samples=samples)
    found = run(program, inputs, geometry, dtype=np.dtype("float64"), samples=samples, device=device)
    assert_close(found, expected, 1e-10)


@pytest.mark.parametrize("edges", [[], [0, 0], [3]])
def test_few_atoms(
    device: Device,
    potential: Callable[[int], Any],
    geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Any],
    assert_close: Callable[..., None],
    edges: list[int],
) -> None:
    geometry = geometry_of(edges, 3)
    for kind, dtype in QUICK:
        program = getattr(potential(3), kind)
        inputs = inputs_for(program, geometry)
        expected = run_on_host(program, inputs, geometry, backend="numpy")
        found = run(program, inputs, geometry, dtype=np.dtype(dtype), device=device)
        assert_close(found, expected, TOLERANCES[dtype])


def _sum_and_mixing() -> Program:
    """A value that is a sum over edges plus a mixing, summed over edges again; inputs that are outputs."""
    builder = ProgramBuilder()
    w = builder.input("w", "param", 4)
    f, y = builder.input("f", "edge", 2), builder.input("y", "edge", 1)
    x = builder.input("x", "atom", 2)
    edge_sum = EdgeSum((2, 1, 2), (EdgeSumBlock(0, 2, 0, 1, 0),), 1)
    mix = Mix((4, 2, 2), (MixBlock(0, 2, 2, 2, 1, 0, 0),))
    s = builder.step("s", "atom", (Term(edge_sum, 2, (f.name, y.name), 0.5), Term(mix, 2, (w.name, x.name))))
    spread = builder.step("spread", "edge", (Term(edge_sum, 0, (y.name, s.name)),))
    again = builder.step("again", "atom", (Term(edge_sum, 2, (spread.name, y.name)),))
    return builder.build({"again": again.name, "s": s.name, "x": x.name, "f": f.name, "spread": spread.name})


def test_sums_beside_other_terms_and_inputs_that_are_outputs(
    device: Device,
    geometry_of: Callable[..., Geometry],
    inputs_for: Callable[..., Any],
    assert_close: Callable[..., None],
) -> None:
    program, geometry = _sum_and_mixing(), geometry_of([2, 0, 40, 1], 1)
    inputs = inputs_for(program, geometry)
    expected = run_on_host(program, inputs, geometry, backend="numpy")
    assert_close(run(program, inputs, geometry, dtype=np.dtype("float64"), device=device), expected, 1e-12)


def test_stages_alternate_and_hold_little_between_them(potential: Callable[[int], Any]) -> None:
    lowered = lower(potential(2).gradient, np.dtype("float32"))
    assert [stage.name for stage in lowered.stages] == ["edges0", "atoms1", "edges2"]
    assert len(lowered.tiles) == 4  # the sums over edges, their derivative, its cotangent and the energy
