"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, and with barriers taken out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from etn_gpu import backend as backends
from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.neighbours import NeighbourSearch
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.backend.cuda.sums import Segments, Sums
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.structures import StructureBatch
from tests.emulator import EmulatedDevice, EmulatorError, under_asan

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def batch(emulated: EmulatedDevice) -> StructureBatch:
    crystal = bulk("Al", cubic=True) * (2, 2, 3)
    crystal.rattle(0.1, seed=2)
    return StructureBatch.build([crystal, molecule("H2O"), bulk("Al", a=3.0), Atoms("O")], ("Al", "H", "O"), 6.0)


def arrays_of(batch: StructureBatch) -> dict[str, Any]:
    return {
        "atom_offsets": batch.atom_offsets,
        "species": batch.species_index,
        "positions": batch.positions,
        "cells": batch.cells,
        "pbc": batch.pbc,
    }


@pytest.mark.slow
def test_all_kernels_under_the_sanitizers(batch: StructureBatch, tmp_path: Path) -> None:
    """Lists, a potential with all its terms, forces and virials, its gradients in the parameters; message passing."""
    source, target = tmp_path / "batch.npz", tmp_path / "result.npz"
    np.savez(source, **arrays_of(batch))
    done = under_asan.run("batch", source, target)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    architecture, parameters, terms = under_asan.potential()
    expected = ETNPotential(architecture, parameters, terms=terms).evaluate_batch(batch, backend="numpy")
    kernel, environments = Kernel(architecture, Execution("numpy")), Environments.of(batch)
    ones = np.ones(batch.n_atoms)
    gradients = kernel.parameter_gradient(parameters, environments, ones, np.ones((batch.n_edges, 3)))
    assert expected.forces is not None
    wanted: dict[str, Any] = {"energies": expected.energies, "forces": expected.forces, "energy": expected.energy}
    # Reference energies are no part of Programs.
    wanted |= {f"{name}_bar": gradients[name] for name in architecture.network_shapes}
    program, weights = under_asan.with_messages()
    inputs = {"x": batch.vectors, "e_bar": ones[:, None], **weights}
    messages = backends.run(program, inputs, environments.geometry, backend="numpy")
    wanted |= {f"messages_{name}": values for name, values in messages.items()}
    with np.load(target) as result:
        for name in ("neighbour", "reverse", "vectors"):
            np.testing.assert_array_equal(result[name], getattr(batch, name))
        for name, values in wanted.items():
            np.testing.assert_allclose(result[name], values, rtol=0, atol=1e-10 * np.abs(values).max(), err_msg=name)


@pytest.fixture(scope="module")
def planted(emulated: EmulatedDevice) -> dict[str, tuple[int, str]]:
    """Status and messages of each planted kernel."""
    done = under_asan.run("planted")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("beyond", "AddressSanitizer: heap-buffer-overflow"),
        ("shared", "AddressSanitizer: heap-buffer-overflow"),
        ("overflow", "planted.cu:.*: runtime error: signed integer overflow"),
    ],
)
def test_the_sanitizers_find_planted_bugs(planted: dict[str, tuple[int, str]], kernel: str, message: str) -> None:
    status, said = planted[kernel]
    assert status != 0
    assert re.search(message, said), said


def test_the_sanitizers_pass_a_sound_kernel(planted: dict[str, tuple[int, str]]) -> None:
    assert tuple(planted["sound"]) == (0, "")


#: What is taken out of a file or put in another's place -> what the emulator finds.
SPOILED = {
    "no barrier before sorting": (
        "sort.cuh",
        "    __syncwarp();\n    for (int bits",
        "    for (int bits",
        "race",
    ),
    "no barrier between steps": ("sort.cuh", "            __syncwarp();\n", "", "race"),
    "too little shared memory": ("neighbours.cu", "[128 / 32 * SHARED_EDGES]", "[SHARED_EDGES]", "out of bounds|race"),
    "atoms beyond the last": ("neighbours.cu", "if (own >= n_atoms) return;", "", "out of bounds"),
    "a bin counted without an atomic": (
        "neighbours.cu",
        "atomicAdd(&counts[first_bin(atom_offsets[s], s) + at.bin], 1);",
        "counts[first_bin(atom_offsets[s], s) + at.bin] += 1;",
        "race: (read|write) of byte .* of counts",
    ),
    "a tree without barriers": ("sums.cu", "        __syncthreads();\n", "", "(race|uninitialised): .* of partial"),
    "only some at the barrier": (
        "sums.cu",
        "    partial[t] = own;\n",
        "    partial[t] = own; if (t > 99) return;\n",
        "divergent",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_kernels_with_a_bug_put_in_are_caught(
    emulated: EmulatedDevice, batch: StructureBatch, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    file, good, bad, message = SPOILED[case]
    real = sources.read

    def read(name: str) -> str:
        text = real(name)
        assert name != file or good in text
        return text.replace(good, bad) if name == file else text

    monkeypatch.setattr(sources, "read", read)
    structures = DeviceStructures.upload(emulated, **arrays_of(batch), n_species=len(batch.species))
    segments = Segments.upload(emulated, batch.atom_offsets)

    def run() -> None:
        NeighbourSearch(emulated).find(structures, batch.cutoff)
        Sums(emulated).sum(emulated.zeros(batch.n_atoms, np.float64), segments)

    with pytest.raises(EmulatorError, match=message):
        run()
