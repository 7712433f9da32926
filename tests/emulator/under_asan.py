"""Runs kernels under the real AddressSanitizer and UndefinedBehaviorSanitizer: ``python -m tests.emulator.under_asan``.

A program of its own, because the sanitizer must be loaded before everything else; :func:`run` starts it. It loads
neither numba nor ASE, which have nothing to find here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from etn_gpu.backend import Geometry
from etn_gpu.backend.cuda import executor
from etn_gpu.backend.cuda.evaluation import Evaluator
from etn_gpu.backend.cuda.launcher import Kernel, Module
from etn_gpu.backend.cuda.neighbours import NeighbourSearch
from etn_gpu.backend.cuda.structures import DeviceStructures
from etn_gpu.backend.cuda.sums import Segments
from etn_gpu.network import MessageLayer
from etn_gpu.plan import Program
from etn_gpu.potential import Architecture
from etn_gpu.potential.programs import programs
from etn_gpu.potential.references import REFERENCES
from etn_gpu.potential.terms import Terms
from tests.emulator import EmulatedDevice

PLANTED = """
extern "C" __global__ void __launch_bounds__(32) sound(const double* x, double* y, int n) { y[threadIdx.x] = x[n]; }
extern "C" __global__ void __launch_bounds__(32) beyond(const double* x, double* y, int n) {
    y[threadIdx.x] = x[n + 1];
}
extern "C" __global__ void __launch_bounds__(32) overflow(const double* x, double* y, int n) {
    y[threadIdx.x] = n + 2147483600;
}
extern "C" __global__ void __launch_bounds__(32) shared(const double* x, double* y, int n) {
    __shared__ double s[32];
    double* p = s;
    p[threadIdx.x + n - 60] = x[n];
    y[threadIdx.x] = s[threadIdx.x];
}
"""


def run(task: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Do a task of :func:`main` in a process with the sanitizers."""
    names = ("libasan.so", "libubsan.so")
    found = [
        subprocess.run(["g++", f"-print-file-name={n}"], capture_output=True, text=True, check=True) for n in names
    ]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(done.stdout.strip() for done in found),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.emulator.under_asan", task, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def main(task: str, *paths: str) -> None:
    """``batch``: an evaluation of the structures in a file, into another; ``planted``: what becomes of each kernel."""
    device = EmulatedDevice("address", order=2)
    if task == "batch":
        source, target = paths
        with np.load(source) as arrays:
            np.savez(target, **_evaluate(device, dict(arrays)))
        return
    kernels = Module(device, PLANTED, "planted.cu").kernels
    json.dump({kernel.signature.name: _in_child(device, kernel) for kernel in kernels}, sys.stdout)


def _in_child(device: EmulatedDevice, kernel: Kernel) -> tuple[int, str]:
    """Run a kernel in a process that it may bring down: status, and what is said there."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(writing, 2)
        kernel.launch(1, x=device.zeros(64, np.float64), y=device.zeros(32, np.float64), n=63)
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def with_messages() -> tuple[Program, dict[str, Any]]:
    """Gradients of a smaller potential with a layer of message passing: the Program, and random parameters."""
    layer = MessageLayer("1x0e+1x1o", ("1x0e+1x1o",), 1, 2, attention=1)
    architecture = Architecture(("Al", "H", "O"), 6.0, 0.5, 2, (2, 1), 2, 2, ("1x0e+1x1o",), layers=(layer,))
    rng = np.random.default_rng(1)
    shapes = architecture.parameter_shapes
    return programs(architecture).gradient, {name: rng.normal(size=np.prod(shape)) for name, shape in shapes.items()}


def potential() -> tuple[Architecture, dict[str, Any], Terms]:
    """A small potential of three species, random parameters, and terms beside its network."""
    architecture = Architecture(("Al", "H", "O"), 6.0, 0.5, 3, (2, 2, 1), 2, 2, ("2x0e+1x1o", "1x0e+1x1o+1x2e"))
    rng = np.random.default_rng(0)
    pairs, sites = np.ones((3, 3, 1)), np.ones((3, 1))
    embedding, bounds = sites * [-1.0, 3.0, 4.0, 1.0], sites * [-1.0, -0.1, 0.1, 1.0]
    terms = Terms(pairs * [0.5, 3.0], sites * [0.0, 0.0, 5.0, 9.0], pairs * [0.4, 1.2], embedding, bounds)
    return architecture, {name: rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}, terms


def _evaluate(device: EmulatedDevice, arrays: dict[str, Any]) -> dict[str, Any]:
    structures = DeviceStructures.upload(device, **arrays, n_species=3)
    architecture, parameters, terms = potential()
    flat = {name: np.ravel(value) for name, value in parameters.items()}
    made = programs(architecture)
    dtype = np.dtype("float64")
    both, limits = (made.energy, made.gradient), np.ones((3, 3))
    tables = terms.tables(architecture.species, architecture.cutoff)
    evaluator = Evaluator(device, both, flat, parameters[REFERENCES], limits, architecture.cutoff, dtype, tables)
    edges = NeighbourSearch(device).find(structures, architecture.cutoff)
    results = evaluator.of_edges(structures, edges, Segments.upload(device, arrays["atom_offsets"]))
    listed = {"neighbour": edges.neighbour, "reverse": edges.reverse, "vectors": edges.vectors}
    of_batch = (edges.offsets, structures.species, edges.species, edges.neighbour, edges.reverse)
    geometry = Geometry(*(device.to_host(a) for a in of_batch))
    inputs = {
        "x": device.to_host(edges.vectors), "dx": np.ones((edges.n_edges, 3)),
        "e_bar": np.ones((geometry.n_atoms, 1)), "de_bar": np.ones((geometry.n_atoms, 1)), **flat,
    }  # fmt: skip
    gradients = executor.run(made.parameter_gradient, inputs, geometry, dtype=dtype, device=device)
    found = {name: device.to_host(a) for name, a in (vars(results) | listed).items() if a is not None}
    found |= {name: array for name, array in gradients.items() if name.endswith("_bar")}
    program, weights = with_messages()
    messages = executor.run(program, {**inputs, **weights}, geometry, dtype=dtype, device=device)
    return found | {f"messages_{name}": array for name, array in messages.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
