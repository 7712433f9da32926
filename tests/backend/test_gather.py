"""Values of neighbours on edges, and the adjoint: by tables, and Programs in passes against the whole at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, numpy_backend, run
from etn_gpu.backend.passes import run_passes
from etn_gpu.errors import BackendError
from etn_gpu.network import MessageLayer
from etn_gpu.plan import Program, ProgramBuilder, Step, Term, Value
from etn_gpu.plan import passes as plan_passes
from etn_gpu.plan.operations import Gather
from etn_gpu.plan.passes import parts_of
from etn_gpu.potential import Architecture
from etn_gpu.potential.programs import Programs

Array = NDArray[np.float64]
Inputs = dict[str, NDArray[np.floating]]
LAYER = MessageLayer("1x0e+1x1o", ("1x0e+1x1o",), 1, 2, attention=1)
LAYERED = Architecture(("Cu", "Au"), 4.0, 1.5, 3, (2, 1), 2, 2, ("1x0e+1x1o",), layers=(LAYER,))


@pytest.fixture
def paired() -> Geometry:
    """Two structures: three atoms in a ring and one alone; two that are each other's twice, one of them its own."""
    pairs = [(0, 1), (1, 2), (2, 0), (4, 5), (4, 5), (4, 4)]
    edges = sorted([(i, j, k) for k, (i, j) in enumerate(pairs)] + [(j, i, ~k) for k, (i, j) in enumerate(pairs)])
    place = {(i, j, k): e for e, (i, j, k) in enumerate(edges)}
    counts = np.bincount([i for i, _, _ in edges], minlength=6)
    species = np.array([0, 1, 0, 0, 1, 1], np.int32)
    order = sorted(range(len(edges)), key=lambda e: (edges[e][0], species[edges[e][1]], e))
    moved = {e: at for at, e in enumerate(order)}
    neighbour = np.array([edges[e][1] for e in order])
    reverse = np.array([moved[place[edges[e][1], edges[e][0], ~edges[e][2]]] for e in order])
    return Geometry(np.concatenate(([0], np.cumsum(counts))), species, species[neighbour], neighbour, reverse)


def inputs_of(program: Program, geometry: Geometry) -> Inputs:
    rng = np.random.default_rng(0)
    found: Inputs = {}
    for value in program.inputs:
        lead = () if value.space == "param" else (geometry.count(value.space),)
        found[value.name] = 0.7 * rng.normal(size=(*lead, value.size))
    for name in ("x", "dx"):
        if name in found and found[name].shape == (geometry.n_edges, 3):  # an edge back has the opposite vector
            assert geometry.reverse is not None
            found[name] = 1.5 * (found[name] - found[name][geometry.reverse])
    return found


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gather(backend: str, slot: int, dtype: str, paired: Geometry) -> None:
    spaces = ("atom", "edge")
    source, out = Value("x", spaces[1 - slot], 3), Value("out", spaces[slot], 3)
    terms = (Term(Gather(3), slot, ("x",), 0.75), Term(Gather(3), slot, ("x",), -1.25))
    program = Program((source,), (Step(out, terms),), (("out", "out"),))
    inputs = inputs_of(program, paired)
    found = run(program, inputs, paired, backend=backend, dtype=dtype)["out"]
    table = np.zeros((paired.n_edges, paired.n_atoms))
    assert paired.neighbour is not None
    table[np.arange(paired.n_edges), paired.neighbour] = 1.0
    expected = -0.5 * (table if slot == 1 else table.T) @ inputs["x"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 if dtype == "float64" else 1e-6)


def test_atoms_on_edges_and_back_count_neighbours(backend: str, paired: Geometry) -> None:
    builder = ProgramBuilder()
    x = builder.input("x", "atom", 1)
    there = builder.step("there", "edge", (Term(Gather(1), 1, (x.name,)),))
    back = builder.step("back", "atom", (Term(Gather(1), 0, (there.name,)),))
    program = builder.build({"back": back.name})
    assert len(parts_of(program)) == 3
    found = run(program, {"x": np.ones((paired.n_atoms, 1))}, paired, backend=backend)["back"][:, 0]
    np.testing.assert_array_equal(found, np.diff(paired.edge_offsets))


@pytest.mark.parametrize("keep", [0, 40, 10**6], ids=["keep all", "as it is", "keep least"])
@pytest.mark.parametrize("name", ["gradient", "parameter_gradient", "hessian_vector"])
def test_passes_give_what_the_whole_gives(
    name: str, keep: int, paired: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is kept between them and whatever is computed again; in samples as well."""
    monkeypatch.setattr(plan_passes, "KEEP", keep)
    plan_passes.passes.cache_clear()
    program: Program = getattr(Programs(LAYERED), name)
    inputs, samples = inputs_of(program, paired), np.array([0, 4, 6])
    dtype = np.dtype(np.float64)
    for cut in (None, samples):

        def execute(part: Program, given: Inputs, memory: object, cut: NDArray[np.int64] | None = cut) -> Inputs:
            assert not part.gathers
            chosen = {v.name: given[v.name] for v in part.inputs}
            return numpy_backend.run(part, chosen, paired, dtype=dtype, samples=cut)

        expected = numpy_backend.run(program, inputs, paired, dtype=dtype, samples=cut)
        found = run_passes(program, inputs, paired, execute, dtype)
        assert found.keys() == expected.keys()
        for key, values in expected.items():
            assert found[key].shape == values.shape
            np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-10 * (1 + np.abs(values).max()), err_msg=key)
    plan_passes.passes.cache_clear()


def test_less_is_kept_where_keeping_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Programs(LAYERED).gradient

    def kept(cost: int) -> int:
        monkeypatch.setattr(plan_passes, "KEEP", cost)
        plan_passes.passes.cache_clear()
        given = {v.name for v in program.inputs}
        return sum(
            v.size for part in parts_of(program)[1:] for v in part.inputs if v.name not in given and "@" not in v.name
        )

    assert kept(10**6) < kept(0)
    plan_passes.passes.cache_clear()


def test_neighbours_have_to_be_known(backend: str, paired: Geometry) -> None:
    program = Programs(LAYERED).energy
    with pytest.raises(BackendError, match=r"must have the atoms that edges lead to and the edges back"):
        run(program, inputs_of(program, paired), replace(paired, neighbour=None, reverse=None), backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: {"neighbour": g.neighbour[:-1]}, "neighbour must have an index from 0 to 5 for each of 12 edges"),
        (lambda g: {"neighbour": g.neighbour + 6}, "neighbour must have an index from 0 to 5"),
        (lambda g: {"reverse": g.reverse - 100}, "reverse must have an index from 0 to 11"),
    ],
)
def test_indices_that_cannot_be(paired: Geometry, change: Callable[[Geometry], dict[str, Any]], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        replace(paired, **change(paired))
