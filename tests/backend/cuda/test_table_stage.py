"""Sparse products, functions and numbers of pairs of species on a device: the results of NumPy."""

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
from etn_gpu.backend.cuda.table_stage import TableStage
from etn_gpu.plan import Program, ProgramBuilder, Term, vjp
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import (
    Copy,
    CopyBlock,
    EdgeSum,
    EdgeSumBlock,
    Functions,
    Mix,
    MixBlock,
    PairTable,
    Products,
)

pytestmark = pytest.mark.emulator

TOLERANCES = {"float64": 1e-11, "float32": 3e-5}


def model(merged: bool) -> Program:
    """Moments of distances, products of them level by level, a layer of neurons: everything between edges and e."""
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    builder.input("w", "param", 2 * 9)
    builder.input("m", "param", 8)
    square = Products((3, 3, 1), ((0, 0, 0, 1.0), (1, 1, 0, 1.0), (2, 2, 0, 1.0)))
    builder.step("s", "edge", (Term(square, 2, ("x", "x")),))
    builder.step("k", "edge", (Term(PairTable(2, 3), 1, ("w",), 0.5),))
    formula = Formula()
    s = formula.variable
    radial = formula.functions([(-0.1 * s).exp(), s.below(9.0, (9.0 - s) ** 2 * formula.parameter(1).cos(), 0.0)])
    builder.step("f", "edge", (Term(radial, 2, ("s", "k")),))
    species = 1 if merged else 3
    blocks = (EdgeSumBlock(0, 2, 0, 3, 0), EdgeSumBlock(1, 1, 0, 2, 6 * species))
    edge_sum = EdgeSum((2, 3, 8 * species), blocks, species, merged)
    builder.step("S", "atom", (Term(edge_sum, 2, ("f", "x"), 0.3),))
    first = Copy((8 * species, 8), (CopyBlock((0, 0), (8, 1, 1), ((species, 0, 0), (1, 0, 0))),))
    pairs = Products((8 * species, 8 * species, 8), ((0, 1, 0, 1.0), (2, 2, 0, -0.5), (5, 7, 3, 2.0), (7, 7, 7, 0.1)))
    builder.step("a", "atom", (Term(first, 1, ("S",)), Term(pairs, 2, ("S", "S"))))
    more = Products((8, 8, 8), ((3, 0, 1, 0.3), (0, 0, 1, 0.2), (7, 3, 6, -1.0)))
    neurons = Functions(*_tanh(), count=8)
    builder.step("t", "atom", (Term(neurons, 1, ("a",)), Term(more, 2, ("a", "a"), 0.5)))
    mix = Mix((8, 8, 1), (MixBlock(0, 8, 1, 8, 1, 0, 0),))
    builder.step("e", "atom", (Term(mix, 2, ("m", "t")),))
    return builder.build({"e": "e"})


def _tanh() -> tuple[Any, Any]:
    formula = Formula()
    operation = formula.functions([formula.variable.tanh()])
    return operation.code, operation.results


@pytest.mark.parametrize("merged", [False, True], ids=["apart", "merged"])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_gradient(
    device: Device, geometry_of: Callable[..., Geometry], inputs_for: Callable[..., Any],
    assert_close: Callable[..., None], dtype: str, merged: bool,
) -> None:  # fmt: skip
    geometry = geometry_of([0, 1, 40, 3, 0, 33] + [5] * 34, 3)
    program = vjp(model(merged), {"e": "e_bar"}, {"x": "g"})
    inputs = inputs_for(program, geometry)
    expected = run_on_host(program, inputs, geometry, backend="numpy")
    on_cpu = run_on_host(program, inputs, geometry, backend="numba")
    assert_close(on_cpu, expected, TOLERANCES["float64"])
    found = run(program, inputs, geometry, dtype=np.dtype(dtype), device=device)
    assert_close(found, expected, TOLERANCES[dtype])


def test_stages_take_turns() -> None:
    stages = lower(model(True), np.dtype("float64")).stages
    assert [isinstance(s, TableStage) for s in stages] == [False, True, False, True, False]
    assert len({s.name for s in stages}) == len(stages)
