"""Whole Programs of an ETN potential: numba against numpy on ragged batches, and what must not change a single bit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend import Geometry, run
from etn_gpu.plan import Program, ProgramBuilder, Step, Term, Value
from etn_gpu.plan.operations import Constant, Copy, CopyBlock, EdgeSum, EdgeSumBlock, Fold, Mix, MixBlock, Radial, View
from etn_gpu.potential.programs import Programs

PROGRAMS = (
    "energy",
    "gradient",
    "directional",
    "energy_parameter_gradient",
    "parameter_gradient",
    "hessian_vector",
)


@pytest.fixture(scope="module")
def program_for(potential: Callable[[int], Programs]) -> Callable[[str, Geometry], Program]:
    """A Program of a potential of one species or of five, more than most batches have; others compile to the same."""

    def choose(name: str, geometry: Geometry) -> Program:
        several = max(geometry.species.max(initial=0), geometry.edge_species.max(initial=0)) > 0
        program: Program = getattr(potential(5 if several else 1), name)
        return program

    return choose


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
def test_backends_agree_with_the_oracle(
    backend: str, name: str, dtype: str, tolerance: float, geometry: Geometry, program_for: Callable[..., Program],
    inputs_for: Callable[..., Any], assert_close: Callable[..., None],
) -> None:  # fmt: skip
    program = program_for(name, geometry)
    inputs = inputs_for(program, geometry)
    expected = run(program, inputs, geometry, backend="numpy")
    assert_close(run(program, inputs, geometry, backend=backend, dtype=dtype), expected, tolerance)


@pytest.mark.parametrize("name", ["gradient", "parameter_gradient"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_are_reproducible_bit_for_bit(
    backend: str, name: str, dtype: str, ragged: Geometry, program_for: Callable[..., Program],
    inputs_for: Callable[..., Any],
) -> None:  # fmt: skip
    program = program_for(name, ragged)
    inputs = inputs_for(program, ragged)
    first, *others = (
        run(program, inputs, ragged, backend=backend, dtype=dtype, threads=threads) for threads in (None, None, 1, 2)
    )
    for other in others:
        for key, value in first.items():
            np.testing.assert_array_equal(other[key], value, err_msg=key)


def cut(geometry: Geometry, first: int, last: int) -> tuple[Geometry, slice]:
    """Some consecutive atoms as a batch of their own, and where their edges were."""
    edges = slice(int(geometry.edge_offsets[first]), int(geometry.edge_offsets[last]))
    offsets = geometry.edge_offsets[first : last + 1] - geometry.edge_offsets[first]
    return Geometry(offsets, geometry.species[first:last], geometry.edge_species[edges]), edges


@pytest.mark.parametrize("name", ["parameter_gradient", "gradient"])
@pytest.mark.parametrize("cuts", [(0, 1, 1, 40, 78), (0, 78), (0, 0, 78, 78)], ids=str)
def test_samples_are_separate_runs(
    backend: str, name: str, cuts: tuple[int, ...], ragged: Geometry, program_for: Callable[..., Program],
    inputs_for: Callable[..., Any],
) -> None:  # fmt: skip
    program = program_for(name, ragged)
    inputs = inputs_for(program, ragged)
    together = run(program, inputs, ragged, backend=backend, samples=np.array(cuts))
    for i, (first, last) in enumerate(pairwise(cuts)):
        geometry, edges = cut(ragged, first, last)
        where = {"edge": edges, "atom": slice(first, last), "param": slice(None)}
        part = {v.name: inputs[v.name][where[v.space]] for v in program.inputs}
        alone = run(program, part, geometry, backend=backend)
        for output, value in program.outputs:
            space = program.values[value].space
            row = together[output][i] if space == "param" else together[output][where[space]]
            scale = np.abs(alone[output]).max(initial=1.0)
            np.testing.assert_allclose(row, alone[output], rtol=0, atol=1e-13 * scale, err_msg=output)


def test_no_samples_of_no_atoms(
    backend: str, geometry_of: Callable[..., Geometry], program_for: Callable[..., Program],
    inputs_for: Callable[..., Any],
) -> None:  # fmt: skip
    geometry = geometry_of([], 1)
    program = program_for("energy_parameter_gradient", geometry)
    out = run(program, inputs_for(program, geometry), geometry, backend=backend, samples=np.array([0]))
    assert all(value.shape[0] == 0 for value in out.values())


def test_parameters_beside_sums_in_samples(backend: str, ragged: Geometry, inputs_for: Callable[..., Any]) -> None:
    """A gradient with a ridge, folded on; parameter steps before, after and beside the sum over atoms."""
    builder = ProgramBuilder()
    w, x = builder.input("w", "param", 3), builder.input("x", "atom", 3)
    mix = Mix((3, 3, 1), (MixBlock(0, 3, 1, 3, 1, 0, 0),))
    copy = Copy((3, 3), (CopyBlock((0, 0), (3, 1, 1), ((1, 0, 0), (1, 0, 0))),))
    outer = Fold((3, 3, 9), (View("a", 0, (3,), (1,)), View("b", 0, (3,), (1,)), View("ab", 0, (3, 3), (3, 1))))
    one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    double = builder.step("double", "param", (Term(copy, 1, ("w",), 2.0),))
    total = builder.step("total", "param", (Term(mix, 0, (x.name, one.name)), Term(copy, 1, (w.name,), 0.5)))
    product = builder.step("product", "param", (Term(outer, 2, (total.name, double.name)),))
    ridge = builder.step(
        "ridge", "param", (Term(outer, 2, (double.name, double.name)), Term(outer, 2, (total.name, total.name)))
    )
    names = {v.name: v.name for v in (double, total, product, ridge)}
    program = builder.build(names)
    inputs = inputs_for(program, ragged)
    cuts = np.array([0, 3, 3, 50, ragged.n_atoms])
    got = run(program, inputs, ragged, backend=backend, samples=cuts)
    for i, (first, last) in enumerate(pairwise(cuts)):
        weights = inputs["w"]
        summed = inputs["x"][first:last].sum(axis=0) + 0.5 * weights
        np.testing.assert_allclose(got["double"][i], 2.0 * weights)
        np.testing.assert_allclose(got["total"][i], summed)
        np.testing.assert_allclose(got["product"][i], np.outer(summed, 2.0 * weights).ravel())
        squares = np.outer(2.0 * weights, 2.0 * weights) + np.outer(summed, summed)
        np.testing.assert_allclose(got["ridge"][i], squares.ravel())


def test_messages_pass_from_atoms_to_edges_and_back(
    backend: str, ragged: Geometry, inputs_for: Callable[..., Any], assert_close: Callable[..., None]
) -> None:
    """Edges -> atoms -> edges -> atoms -> edges: every phase recomputes the edge values that it needs."""
    builder = ProgramBuilder()
    builder.input("s", "edge", 1)
    builder.input("y", "edge", 3)
    radial = Radial(4, 3.0, 0.0)
    edge_sum = EdgeSum((4, 3, 36), (EdgeSumBlock(0, 4, 0, 3, 0),), 3)
    f = builder.step("f", "edge", (Term(radial, 1, ("s",)),))
    first = builder.step("first", "atom", (Term(edge_sum, 2, (f.name, "y")),))
    message = builder.step("message", "edge", (Term(edge_sum, 1, (f.name, first.name)),))
    second = builder.step("second", "atom", (Term(edge_sum, 2, (f.name, message.name)),))
    answer = builder.step("answer", "edge", (Term(edge_sum, 0, (message.name, second.name)),))
    program = builder.build({v.name: v.name for v in (f, first, message, second, answer)})
    inputs = inputs_for(program, ragged)
    inputs["s"] = inputs["s"] ** 2 + 0.5
    expected = run(program, inputs, ragged, backend="numpy")
    assert_close(run(program, inputs, ragged, backend=backend), expected, 1e-12)
    centre = np.repeat(np.arange(ragged.n_atoms), np.diff(ragged.edge_offsets))
    sums = np.zeros((ragged.n_atoms, 3, 4, 3))
    np.add.at(sums, (centre, ragged.edge_species), expected["f"][:, :, None] * inputs["y"][:, None, :])
    np.testing.assert_allclose(expected["first"].reshape(sums.shape), sums, atol=1e-12)
    messages = np.einsum("eb,ebm->em", expected["f"], sums[centre, ragged.edge_species])
    np.testing.assert_allclose(expected["message"], messages, atol=1e-10)


def test_strided_inputs(backend: str, ragged: Geometry) -> None:
    copy = Copy((2, 2), (CopyBlock((0, 0), (2, 1, 1), ((1, 0, 0), (1, 0, 0))),))
    values = Value("x", "edge", 2), Value("z", "edge", 2)
    program = Program((values[0],), (Step(values[1], (Term(copy, 1, ("x",)),)),), (("z", "z"),))
    wide = np.arange(ragged.n_edges * 4.0).reshape(ragged.n_edges, 4)
    np.testing.assert_array_equal(run(program, {"x": wide[:, ::2]}, ragged, backend=backend)["z"], wide[:, ::2])
