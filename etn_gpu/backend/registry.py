"""Which backends there are, which can run here, and which one a request means."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import DTypeLike, NDArray

from etn_gpu.backend.constants import Constants
from etn_gpu.backend.cuda.availability import unavailable
from etn_gpu.backend.geometry import Geometry
from etn_gpu.errors import BackendError
from etn_gpu.plan.passes import parts_of
from etn_gpu.plan.program import Program, Value

ENVIRONMENT_VARIABLE = "ETN_GPU_BACKEND"
#: In order of preference. A GPU is used where it is asked for by name.
NAMES = ("numba", "numpy", "cuda")
DTYPES = ("float64", "float32")
_BY_NAME = {name: np.dtype(name) for name in DTYPES}


def available() -> dict[str, str | None]:
    """Each backend's name with None where it can run here, else the reason why it cannot."""
    return {name: _obstacle(name) for name in NAMES}


def resolve(name: str | None = None) -> str:
    """The backend meant by ``name``: that one, else the environment variable ETN_GPU_BACKEND, else the best CPU one.

    Raises:
        BackendError: the backend asked for is unknown or cannot run here; the message lists those that can.
    """
    source = "backend="
    if name is None and (name := os.environ.get(ENVIRONMENT_VARIABLE) or None) is not None:
        source = f"{ENVIRONMENT_VARIABLE}="
    if name is None:
        return next(n for n in NAMES if _obstacle(n) is None)
    reason = _obstacle(name) if name in NAMES else None
    if name in NAMES and reason is None:
        return name
    usable = ", ".join(n for n in NAMES if _obstacle(n) is None)
    if name not in NAMES:
        raise BackendError(f"{source}{name!r} is not a backend; those that can run here: {usable}")
    raise BackendError(f"{source}{name!r} cannot run here: {reason}. Backends that can: {usable}")


def _obstacle(name: str) -> str | None:
    """Why a backend cannot run here, None where it can. CuPy is not imported unless it is asked for."""
    if name == "cuda":
        return unavailable()
    if name == "numba" and importlib.util.find_spec("numba") is None:
        return "the package numba is not installed (pip install numba)"
    return None


def check_dtype(dtype: DTypeLike) -> np.dtype:
    """float64 or float32 as a NumPy dtype; BackendError for another."""
    if isinstance(dtype, str) and dtype in _BY_NAME:
        return _BY_NAME[dtype]
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise BackendError(f"dtype={dtype!r} is no floating-point type; choose one of {DTYPES}") from None
    if checked not in _BY_NAME.values():
        raise BackendError(f"dtype={checked.name!r} is not supported; choose one of {DTYPES}")
    return checked


def run(
    program: Program,
    inputs: Mapping[str, NDArray[np.floating]],
    geometry: Geometry,
    *,
    backend: str | None = None,
    dtype: DTypeLike = "float64",
    samples: NDArray[np.int64] | None = None,
    threads: int | None = None,
    constants: Constants | None = None,
) -> dict[str, NDArray[np.floating]]:
    """Execute ``program`` on a batch.

    ``inputs``: an array for each input of the Program, [E, size] for edge, [N, size] for atom and [size] for
    parameter values; where there are ``constants``, they have all parameters. ``samples`` [n+1] cuts the atoms into
    consecutive samples: parameter outputs, which are sums over atoms, then come as [n, size], one row per sample.
    ``threads`` bounds the threads of the numba backend (default: all cores). Results are the same, bit for bit, for any
    number of threads; outputs on atoms and edges are also the same whatever other atoms there are.

    Raises:
        BackendError: a backend that cannot run, a dtype that it does not have, an input that is missing or of the wrong
            shape, samples that do not cut the atoms, a species without tables.
    """
    name = resolve(backend)
    checked = check_dtype(dtype)
    _check_inputs(program, inputs, geometry, constants)
    _check_species(program, geometry)
    if samples is not None:
        _check_samples(samples, geometry.n_atoms)
    if threads is not None and threads < 1:
        raise BackendError(f"threads={threads} was asked for, expected at least 1")
    if program.gathers:
        from etn_gpu.backend.passes import check_gathers

        check_gathers(geometry, samples)
    if constants is not None and (name != "numba" or program.gathers):
        inputs = {**constants, **inputs}
    if name == "numpy":
        from etn_gpu.backend import numpy_backend

        return numpy_backend.run(program, inputs, geometry, dtype=checked, samples=samples)
    if name == "cuda":
        from etn_gpu.backend.cuda import executor as cuda_executor

        return cuda_executor.run(program, inputs, geometry, dtype=checked, samples=samples)
    from etn_gpu.backend.cpu import executor

    execute = partial(
        executor.run, geometry=geometry, dtype=checked, samples=samples, threads=threads, constants=constants
    )
    if not program.gathers:
        return execute(program, inputs)
    from etn_gpu.backend.passes import run_passes

    return run_passes(program, inputs, geometry, execute, checked, threads)


def prepare(
    programs: Sequence[tuple[Program, DTypeLike]],
    *,
    backend: str | None = None,
    threads: int | None = None,
    time_left: Callable[[], bool] | None = None,
) -> bool:
    """Compile Programs, each for its dtype, before their first execution, on all cores; False where time ran out.

    Only the backend numba compiles beforehand; the kernels of cuda are compiled when they are first run, and the limit
    does not reach them.

    Raises:
        BackendError: a backend that cannot run, a dtype that it does not have.
    """
    if resolve(backend) != "numba":
        return True
    from etn_gpu.backend.cpu.compilation import prepare

    parts = [(part, dtype) for program, dtype in programs for part in parts_of(program)]
    return prepare([(program, check_dtype(dtype).name) for program, dtype in parts], threads, time_left)


def _check_samples(samples: NDArray[np.int64], n_atoms: int) -> None:
    cuts = np.asarray(samples)
    whole = cuts.ndim == 1 and len(cuts) > 0 and cuts[0] == 0 and cuts[-1] == n_atoms
    if not whole or np.any(np.diff(cuts) < 0):
        raise BackendError(f"samples must cut the atoms at 0 <= ... <= {n_atoms}, both ends included; got {samples!r}")


def _check_species(program: Program, geometry: Geometry) -> None:
    if program.n_species is not None and (last := geometry.last_species) >= program.n_species:
        raise BackendError(f"the Program has tables for {program.n_species} species, got an atom of species {last}")


def _check_inputs(
    program: Program, inputs: Mapping[str, NDArray[np.floating]], geometry: Geometry, constants: Constants | None
) -> None:
    if constants is None:
        _check_shapes(program.inputs, inputs, geometry)
    else:
        _check_shapes(program.batched_inputs, inputs, geometry)
        constants.derived(
            (_check_shapes, program), lambda: _check_shapes(program.parameter_inputs, constants, geometry)
        )


def _check_shapes(values: Sequence[Value], inputs: Mapping[str, NDArray[np.floating]], geometry: Geometry) -> None:
    for value in values:
        if value.name not in inputs:
            raise BackendError(f"the Program needs the input {value}, only {sorted(inputs)} were given")
        expected = (value.size,) if value.space == "param" else (geometry.count(value.space), value.size)
        if np.shape(inputs[value.name]) != expected:
            raise BackendError(f"the input {value} has shape {np.shape(inputs[value.name])}, expected {expected}")
