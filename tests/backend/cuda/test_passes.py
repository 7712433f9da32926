"""Programs in which atoms hear of their neighbours' values, on a device: the results of NumPy, and what is kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from etn_gpu.backend import Geometry
from etn_gpu.backend import run as run_on_host
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.executable import DeviceGeometry
from etn_gpu.backend.cuda.executor import compiled, run
from etn_gpu.backend.cuda.passes import DevicePasses
from etn_gpu.backend.cuda.slots import Slots
from etn_gpu.errors import BackendError
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.operations import EdgeSum, EdgeSumBlock, Gather, Mix, MixBlock
from etn_gpu.plan.passes import passes
from etn_gpu.plan.program import Value, identity
from tests.backend.cuda.linked import linked
from tests.emulator import EmulatedDevice, run_in_order

pytestmark = pytest.mark.emulator

Inputs = Callable[[Program, Geometry], dict[str, Any]]
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}
MIX = Mix((4, 2, 2), (MixBlock(0, 2, 2, 2, 1, 0, 0),))
#: Sums that tell two species of neighbours apart, and sums that do not.
APART = EdgeSum((2, 1, 4), (EdgeSumBlock(0, 2, 0, 1, 0),), 2)
TOGETHER = EdgeSum((2, 1, 2), (EdgeSumBlock(0, 2, 0, 1, 0),), 1, merged=True)


def program() -> Program:
    """Three passes: what was given and what was made go to the edges, edge values of two components come back.

    Sums over edges are resolved by species in the first pass and merged in the second; inputs are outputs, one of them
    is exchanged; sums over atoms come from all passes.
    """
    b = ProgramBuilder()
    w = b.input("w", "param", 4)
    f, y, a = b.input("f", "edge", 2), b.input("y", "edge", 1), b.input("a", "atom", 2)
    apart = b.step("apart", "atom", (Term(APART, 2, (f.name, y.name)),))
    halves = Mix((4, 4, 2), (MixBlock(0, 2, 2, 2, 1, 1, 0),))
    own = b.step("own", "atom", (Term(MIX, 2, (w.name, a.name)), Term(halves, 2, (w.name, apart.name), 0.5)))
    heard = b.step("heard", "edge", (Term(Gather(2), 1, (own.name,)),))
    given = b.step("given", "edge", (Term(Gather(2), 1, (a.name,)),))
    both = Value("both", "edge", 2)
    pair = b.step("both", "edge", tuple(identity(both, n) for n in (heard.name, given.name, f.name)))
    together = b.step("together", "atom", (Term(TOGETHER, 2, (pair.name, y.name)),))
    spread = b.step("spread", "edge", (Term(TOGETHER, 0, (y.name, together.name)), identity(pair, pair.name)))
    back = b.step("back", "atom", (Term(Gather(2), 0, (spread.name,), -0.5),))
    terms = [(a, own), (own, together), (back, a)]
    bar = b.step("bar", "param", (*(Term(MIX, 0, (x.name, z.name)) for x, z in terms), identity(w, w.name)))
    return b.build({v.name: v.name for v in (a, f, own, heard, together, spread, back, bar)})


PROGRAM = program()


def test_it_has_what_is_tested_here() -> None:
    """Three passes with both kinds of exchange; edge and atom values of earlier passes are read again."""
    split = passes(PROGRAM)
    backs = [[e.back for e in one.exchanges] for one in split.passes]
    assert backs == [[], [False, False], [True]]
    sums = [[t.operation for s in p.program for t in s.terms if isinstance(t.operation, EdgeSum)] for p in split.passes]
    assert [{operation.merged for operation in of} for of in sums[:2]] == [{False}, {True}]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("sizes", "n_pairs"), [([40, 0, 1, 7], 60), ([1], 0), ([], 0)])
def test_results_are_those_of_numpy(
    device: Device,
    inputs_for: Inputs,
    assert_close: Callable[..., None],
    sizes: list[int],
    n_pairs: int,
    dtype: str,
) -> None:
    geometry, samples = linked(sizes, n_pairs, 2)
    inputs = inputs_for(PROGRAM, geometry)
    run_in_order(device, 3)
    for cut in (None, samples):
        expected = run_on_host(PROGRAM, inputs, geometry, backend="numpy", samples=cut)
        found = run(PROGRAM, inputs, geometry, dtype=np.dtype(dtype), samples=cut, device=device)
        assert {array.dtype.name for array in found.values()} == {dtype}
        assert_close(found, expected, TOLERANCES[dtype])


def on_device(device: Device, geometry: Geometry) -> DeviceGeometry:
    slots = Slots.of_samples(device, geometry.species, np.array([0, geometry.n_atoms]))
    arrays = (geometry.edge_offsets, geometry.edge_species, *geometry.neighbours())
    offsets, species, neighbour, reverse = (device.to_device(array) for array in arrays)
    return DeviceGeometry(offsets, species, slots, neighbour, reverse)


def test_memory_is_foreseen_and_given_back(
    emulated: EmulatedDevice, inputs_for: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of all arrays that are there at a time, but for those of a few numbers."""
    geometry, _ = linked([400], 4000, 2)
    inputs = inputs_for(PROGRAM, geometry)
    executable = compiled(emulated, PROGRAM, np.dtype("float32"))
    given = {v.name: emulated.to_device(inputs[v.name]) for v in PROGRAM.batched_inputs}
    parameters, batch = executable.parameters(inputs), on_device(emulated, geometry)
    counted = Counted(emulated, monkeypatch)
    outputs, _ = executable.run(parameters, given, batch)
    foreseen = executable.bytes(geometry.n_atoms, geometry.n_edges)
    assert 0.9 * foreseen < counted.most <= foreseen + 1024
    assert counted.now >= sum(array.nbytes for array in outputs.values())
    del outputs
    many = executable.bytes(np.array([400, 1]), np.array([8000, 3]))
    assert many.shape == (2,)
    assert many[0] == foreseen


class Counted:
    """Bytes of the arrays that a device makes and that are still there: now, and at most."""

    def __init__(self, device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = 0
        empty = device.empty

        def recorded(shape: Any, dtype: Any) -> Any:
            array = empty(shape, dtype)
            self.now += array.nbytes
            self.most = max(self.most, self.now)
            weakref.finalize(array, self._gone, array.nbytes)
            return array

        monkeypatch.setattr(device, "empty", recorded)

    def _gone(self, size: int) -> None:
        self.now -= size


def test_launches_are_counted_and_do_not_depend_on_the_batch(device: Device, inputs_for: Inputs) -> None:
    executable, counts = compiled(device, PROGRAM, np.dtype("float64")), []
    for sizes, n_pairs in (([3], 2), ([60], 90)):
        geometry, _ = linked(sizes, n_pairs, 2)
        before = executable.launches
        run(PROGRAM, inputs_for(PROGRAM, geometry), geometry, dtype=np.dtype("float64"), device=device)
        counts.append(executable.launches - before)
    assert counts[0] == counts[1]
    assert counts[0] > len(executable.stages) + 3


def test_a_batch_whose_neighbours_are_not_known(device: Device, inputs_for: Inputs) -> None:
    geometry, _ = linked([4], 5, 2)
    inputs = inputs_for(PROGRAM, geometry)
    unknown = replace(geometry, neighbour=None)
    with pytest.raises(BackendError, match="the Program gathers values of neighbours"):
        run(PROGRAM, inputs, unknown, dtype=np.dtype("float64"), device=device)
    executable = compiled(device, PROGRAM, np.dtype("float64"))
    batch = replace(on_device(device, geometry), reverse=None)
    given = {v.name: device.to_device(inputs[v.name]) for v in PROGRAM.batched_inputs}
    with pytest.raises(BackendError, match="its geometry on the device must have the atoms that edges lead to"):
        executable.run(executable.parameters(inputs), given, batch)


def test_only_programs_with_gathers_take_passes(device: Device) -> None:
    plain = ProgramBuilder()
    a = plain.input("a", "atom", 2)
    copied = plain.step("copied", "atom", (identity(a, a.name),))
    simple = plain.build({"copied": copied.name})
    assert not isinstance(compiled(device, simple, np.dtype("float64")), DevicePasses)
    assert isinstance(compiled(device, PROGRAM, np.dtype("float64")), DevicePasses)
