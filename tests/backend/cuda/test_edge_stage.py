"""Edge stages: sums over edges, and values of edges from sums, on the device as with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, numpy_backend
from etn_gpu.backend.cuda import edge_plan, sources
from etn_gpu.backend.cuda.device import Device
from etn_gpu.backend.cuda.edge_panels import PACK_BYTES, Storage, covers, panels
from etn_gpu.backend.cuda.edge_stage import EdgeStage, edge_stage
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.backend.cuda.nvrtc import Compiler
from etn_gpu.backend.cuda.slots import Slots
from etn_gpu.backend.cuda.stage import EDGE_INPUT, EDGE_OUTPUT, TILES_IN, TILES_OUT
from etn_gpu.backend.phases import chosen_edge_steps, number_phases, split
from etn_gpu.errors import BackendError
from etn_gpu.plan import Program
from etn_gpu.plan.operations import EdgeSum, EdgeSumBlock
from etn_gpu.plan.program import Step, Term, Value, identity
from etn_gpu.potential.presets import preset_architecture
from etn_gpu.potential.programs import Programs, programs
from tests.emulator import EmulatedDevice, EmulatorError, run_in_order

Arrays = dict[str, NDArray[Any]]
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


def stages_of(program: Program, dtype: str) -> list[EdgeStage]:
    """The edge stages of a Program all of whose sums over edges are steps of their own."""
    _, body, _ = split(program)
    phase, values = number_phases(program, body), program.values
    found = []
    for number in range(0, max(phase.values()) + 1, 2):
        sums = [s for s in body if phase[s.out.name] == number + 1 and isinstance(s.terms[0].operation, EdgeSum)]
        outputs = [n for n in program.output_names.values() if values[n].space == "edge" and phase[n] == number]
        wanted = {n for s in sums for t in s.terms for n in t.operands} | set(outputs)
        steps, _ = chosen_edge_steps(body, wanted)
        if wanted:
            found.append(edge_stage(f"edges{number}", np.dtype(dtype), steps, sums, outputs, values))
    return found


def tiles_of(values: NDArray[Any], atoms: NDArray[np.int64], dtype: str) -> NDArray[Any]:
    """[N, size] -> [n_tiles, size, 32], 0 in padding."""
    slots = np.where((atoms >= 0)[:, None], values[atoms], 0).astype(dtype)
    return np.ascontiguousarray(slots.reshape(-1, 32, values.shape[1]).swapaxes(1, 2))


def launch(device: Device, stage: EdgeStage, known: Mapping[str, NDArray[Any]], geometry: Geometry) -> Arrays:
    """What a stage writes, as [n, size]; ``known`` has all values, of which it reads its arguments."""
    slots = Slots.of_samples(device, geometry.species, np.array([0, geometry.n_atoms]))
    atoms = device.to_host(slots.atoms)
    kernel = Module(device, stage.text, f"{stage.name}.cu")[stage.name]
    dtype = next(p.dtype.name for p in kernel.signature.parameters if p.is_output)
    arrays = {}
    for argument in stage.arguments:
        value = known[argument.value]
        if argument.role == EDGE_INPUT:
            arrays[argument.name] = device.to_device(value.astype(np.float64))
        elif argument.role == TILES_IN:
            arrays[argument.name] = device.to_device(tiles_of(value, atoms, dtype))
        elif argument.role == TILES_OUT:
            arrays[argument.name] = device.empty((slots.n_tiles, value.shape[1], 32), dtype)
        else:
            arrays[argument.name] = device.empty(value.shape, dtype)
    kernel.launch(
        slots.n_slots // stage.slots, stage.shared_bytes, **arrays, atoms=slots.atoms, n_slots=slots.n_slots,
        edge_offsets=device.to_device(geometry.edge_offsets), edge_species=device.to_device(geometry.edge_species),
    )  # fmt: skip
    results = {}
    for argument in stage.arguments:
        result = device.to_host(arrays[argument.name])
        if argument.role == TILES_OUT:
            rows = result.swapaxes(1, 2).reshape(len(atoms), result.shape[1])
            assert not rows[atoms < 0].any()
            results[argument.value] = np.empty_like(known[argument.value])
            results[argument.value][atoms[atoms >= 0]] = rows[atoms >= 0]
        elif argument.role == EDGE_OUTPUT:
            results[argument.value] = result
    return results


def with_values(program: Program, inputs: Arrays, geometry: Geometry) -> Arrays:
    """Every value of a Program on edges and atoms, with NumPy in float64."""
    named = [v.name for v in program.values.values() if v.space != "param"]
    whole = Program(program.inputs, program.steps, tuple((name, name) for name in named))
    return numpy_backend.run(whole, inputs, geometry, dtype=np.dtype("float64"))


def compare(device: Device, stages: Sequence[EdgeStage], known: Arrays, geometry: Geometry, dtype: str) -> None:
    for stage in stages:
        for name, result in launch(device, stage, known, geometry).items():
            atol = TOLERANCE[dtype] * np.abs(known[name]).max(initial=0.0)
            np.testing.assert_allclose(result, known[name], rtol=0, atol=atol, err_msg=f"{stage.name}: {name}")


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "count"), [("gradient", 2), ("hessian_vector", 2), ("parameter_gradient", 1)])
def test_stages_of_a_potential(
    device: Device,
    potential: Callable[[int], Programs],
    ragged: Geometry,
    inputs_for: Any,
    name: str,
    count: int,
    dtype: str,
) -> None:
    program = getattr(potential(3), name)
    known = with_values(program, inputs_for(program, ragged), ragged)
    stages = stages_of(program, dtype)
    assert len(stages) == count
    run_in_order(device, 3)
    compare(device, stages, known, ragged, dtype)


def blocks(*numbers: tuple[int, int, int, int, int]) -> tuple[EdgeSumBlock, ...]:
    return tuple(EdgeSumBlock(*n) for n in numbers)


#: Forms of 5 rows of f and 9 rows of y; radial, count, angular, dim, target of each block.
FORMS = {
    "one matrix": EdgeSum((5, 9, 90), blocks((0, 5, 0, 1, 0), (0, 5, 1, 3, 10), (0, 5, 4, 5, 40)), 2),
    "other functions for each l": EdgeSum((5, 9, 60), blocks((0, 5, 0, 1, 50), (2, 3, 1, 3, 0), (2, 2, 4, 5, 20)), 2),
    "parts and gaps": EdgeSum((5, 9, 50), blocks((1, 3, 7, 2, 30), (1, 3, 2, 1, 5)), 2),
    "components of two blocks": EdgeSum((5, 9, 40), blocks((0, 4, 0, 3, 0), (0, 4, 4, 3, 12), (1, 2, 4, 5, 7)), 2),
    "no blocks": EdgeSum((5, 9, 3), (), 2),
}


def sums_both_ways(form: EdgeSum, another: EdgeSum) -> Program:
    """Sums over edges of inputs, values of edges from an input of atoms, more of them from these, and sums of those."""
    f, y, total = (
        Value(n, s, k) for n, s, k in zip(("f", "y", "T"), ("edge", "edge", "atom"), form.sizes, strict=True)
    )

    def step(name: str, like: Value, *terms: Term) -> Step:
        return Step(Value(name, like.space, like.size), terms)

    steps = (
        step("S", total, Term(form, 2, ("f", "y")), Term(form, 2, ("f", "y"), -0.3), Term(another, 2, ("f", "y"), 2.0)),
        step("g", f, Term(form, 0, ("y", "T"), 0.5), identity(f, "f")),
        step("h", y, Term(form, 1, ("f", "T")), Term(another, 1, ("f", "T"), 1.5)),
        step("k", f, Term(form, 0, ("h", "T"), -2.0), Term(form, 0, ("y", "T"))),
        step("R", total, Term(form, 2, ("k", "h"))),
    )
    return Program((f, y, total), steps, tuple((n, n) for n in ("S", "g", "h", "k", "R", "y")))


@pytest.mark.emulator
@pytest.mark.parametrize("name", FORMS)
def test_forms_of_sums(
    device: Device, monkeypatch: pytest.MonkeyPatch, geometry_of: Any, inputs_for: Any, name: str
) -> None:
    form = FORMS[name]
    program = sums_both_ways(form, EdgeSum(form.sizes, blocks((4, 1, 8, 1, 1)), 2))
    batch = geometry_of([0, 1, 70, 3, 33, 0, 32] + [2] * 30, 2)
    # species in any order: runs of one species are short then
    shuffled = np.random.default_rng(4).integers(0, 2, batch.n_edges).astype(np.int32)
    geometry = Geometry(batch.edge_offsets, batch.species, shuffled)
    known = with_values(program, inputs_for(program, geometry), geometry)
    stages = stages_of(program, "float64")
    assert [s.slots for s in stages] == [8, 8]
    compare(device, stages, known, geometry, "float64")

    monkeypatch.setattr(edge_plan, "GOOD_SHARED", 0)
    in_device_memory = stages_of(program, "float32")
    assert [s.slots for s in in_device_memory] == [1, 1]
    assert all("read_sums<" not in s.text and "write_sums<" not in s.text for s in in_device_memory)
    assert all("read_sums<" in s.text or "write_sums<" in s.text for s in stages)
    compare(device, in_device_memory, known, geometry, "float32")


@pytest.mark.emulator
@pytest.mark.parametrize(("n_species", "slots"), [(3, [8, 4]), (12, [4, 2]), (60, [8, 8])])
def test_any_number_of_species(
    device: Device, geometry_of: Any, inputs_for: Any, n_species: int, slots: list[int]
) -> None:
    form = EdgeSum((8, 16, 128 * n_species), blocks((0, 8, 0, 16, 0)), n_species)
    program = sums_both_ways(form, form)
    geometry = geometry_of([40, 0, 3], n_species)
    stages = stages_of(program, "float64")
    assert [s.slots for s in stages] == slots
    assert all(s.shared_bytes <= edge_plan.GOOD_SHARED for s in stages)
    compare(device, stages, with_values(program, inputs_for(program, geometry), geometry), geometry, "float64")


@pytest.mark.emulator
def test_every_batch(device: Device, geometry: Geometry, inputs_for: Any) -> None:
    n_species = int(geometry.edge_species.max(initial=0)) + 1
    program = sums_both_ways(*2 * [EdgeSum((2, 3, 6 * n_species), blocks((0, 2, 0, 3, 0)), n_species)])
    known = with_values(program, inputs_for(program, geometry), geometry)
    compare(device, stages_of(program, "float32"), known, geometry, "float32")


@pytest.mark.emulator
def test_results_depend_neither_on_the_order_of_threads_nor_on_other_atoms(
    device: Device, potential: Callable[[int], Programs], ragged: Geometry, inputs_for: Any
) -> None:
    program = potential(3).gradient
    known = with_values(program, inputs_for(program, ragged), ragged)
    results = []
    for order in (0, 1, 7):
        run_in_order(device, order)
        results.append([launch(device, s, known, ragged) for s in stages_of(program, "float32")])
    atom = 4
    edges = slice(*ragged.edge_offsets[atom : atom + 2])
    alone = Geometry(
        ragged.edge_offsets[atom : atom + 2] - edges.start, ragged.species[[atom]], ragged.edge_species[edges]
    )
    part = {n: v[edges] if program.values[n].space == "edge" else v[[atom]] for n, v in known.items()}
    for number, stage in enumerate(stages_of(program, "float32")):
        for name, result in launch(device, stage, part, alone).items():
            whole = results[0][number][name]
            np.testing.assert_array_equal(
                result, whole[edges] if program.values[name].space == "edge" else whole[[atom]]
            )
            for other in results[1:]:
                np.testing.assert_array_equal(whole, other[number][name])


#: What is taken out of the text of a stage -> what the emulator finds.
SPOILED = {
    "sums before all numbers are staged": (
        "    __syncwarp();\n    for (int first_patch",
        "    for (int first_patch",
        "race",
    ),
    "numbers of the next edges staged too early": ("    }\n    __syncwarp();\n}", "    }\n}", "race"),
    "edges before the sums are there": (
        "\n    __syncthreads();\n    for (long long",
        "\n    for (long long",
        "race|uninit",
    ),
    "a warp with the buffer of another": ("EDGE_PITCH = 32 + PACK<Real>", "EDGE_PITCH = 32 + 10", "race|uninit|out of"),
}


@pytest.mark.emulator
@pytest.mark.parametrize("case", SPOILED)
def test_kernels_with_a_bug_put_in_are_caught(
    emulated: EmulatedDevice, ragged: Geometry, inputs_for: Any, case: str
) -> None:
    form = EdgeSum((8, 4, 96), blocks((0, 8, 0, 1, 0), (0, 8, 1, 3, 24)), 3)
    program = sums_both_ways(form, form)
    good, bad, message = SPOILED[case]
    stage = stages_of(program, "float64")[1]
    text = sources.inline(stage.text, "spoiled.cu")
    assert good in text
    known = with_values(program, inputs_for(program, ragged), ragged)
    with pytest.raises(EmulatorError, match=message):
        launch(emulated, replace(stage, text=text.replace(good, bad)), known, ragged)


def test_sums_that_no_block_can_stage() -> None:
    form = EdgeSum((1000, 400, 4), blocks((0, 1000, 0, 400, 0)), 1)
    values = {v.name: v for v in (Value("f", "edge", 1000), Value("y", "edge", 400), Value("S", "atom", 400_000))}
    step = Step(values["S"], (Term(form, 2, ("f", "y")),))
    with pytest.raises(
        BackendError, match=r"stage 'big' needs \d+ bytes of shared memory .* expected at most 163840: use"
    ):
        edge_stage("big", np.dtype("float64"), [], [step], [], values)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("name", FORMS)
def test_sums_in_shared_memory_lie_in_different_banks(name: str, itemsize: int) -> None:
    storage = Storage(FORMS[name], itemsize)
    for panel in storage.panels:
        assert storage.row(panel) >= panel.width
        assert storage.row(panel) * itemsize % PACK_BYTES == 0
        assert storage.species(panel) * itemsize // PACK_BYTES % 2 == 1
        assert panel.angular == tuple(b.angular + m for b in panel.blocks for m in range(b.dim))
    for slots in (8, 4, 2, 1):
        assert storage.pitch(slots) >= storage.offsets[-1]
        # threads that are neighbours take neighbouring atoms, and then the next component
        places = {(k % slots * storage.pitch(slots) + k // slots) * itemsize % 128 for k in range(128 // itemsize)}
        assert len(places) == 128 // itemsize


def test_blocks_of_one_panel_never_share_components() -> None:
    found = panels(FORMS["components of two blocks"])
    assert [p.count for p in found] == [4, 4, 2]
    assert not covers(FORMS["components of two blocks"])
    twice = EdgeSum((5, 9, 40), blocks((0, 4, 0, 3, 0), (0, 4, 4, 3, 11)), 1)
    assert [p.width for p in panels(twice)] == [3, 3]
    assert covers(FORMS["one matrix"])
    assert not covers(FORMS["parts and gaps"])


#: Registers of a thread, at most: with 128 of them 16 warps share a multiprocessor, with 255 still 8.
MOST_REGISTERS = {
    ("gradient", "float32"): (80, 128),
    ("gradient", "float64"): (128, 255),
    ("hessian_vector", "float32"): (128, 255),
}


@pytest.mark.nvrtc
@pytest.mark.parametrize(("name", "dtype"), MOST_REGISTERS)
@pytest.mark.parametrize(
    "architecture", [pytest.param(80, marks=pytest.mark.slow), 90, pytest.param(100, marks=pytest.mark.slow)]
)
def test_registers_of_the_standard_preset(compiler: Compiler, name: str, dtype: str, architecture: int) -> None:
    program = getattr(programs(preset_architecture("standard", ("Nb", "Mo", "Ta", "W"), 5.0, 1.5)), name)
    for stage, most in zip(stages_of(program, dtype), MOST_REGISTERS[name, dtype], strict=True):
        text = sources.inline(stage.text, "stage.cu")
        used = compiler.compile(text, "stage.cu", architecture).resources()[stage.name]
        assert 0 < used.registers <= most
        assert used.spilled == 0
