"""`etn-gpu doctor`: what is installed, what it runs on, and whether the backends agree."""

from __future__ import annotations

import os
import platform
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

import typer

from etn_gpu.cli.console import SOME_FAILED, new_table, output_console, show_table
from etn_gpu.cli.options import AllowLarge

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Console

    from etn_gpu.potential import Potential, Result

__all__ = ["doctor"]

_PACKAGES = ("numpy", "numba", "opt_einsum", "scipy", "ase", "safetensors", "typer", "rich")
_OPTIONAL_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x")
_THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ETN_GPU_BACKEND")


def doctor(
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="The model that backends are checked with: a shipped name or a path.")
    ] = "nbmotaw",
    allow_large: AllowLarge = False,
) -> None:
    """Show versions, devices and threads, and check every backend that can run
    here against NumPy.

    A backend passes when energies, forces and stresses of a crystal, a slab and
    a cluster agree with those of the numpy backend in float64 to 1e-10
    (float64) or 2e-5 (float32), relative to the largest value.

    Exit codes: 0 every available backend agrees, 1 one does not.

    \b
    Examples:
      etn-gpu doctor
      etn-gpu doctor --model model.etn
    """
    import etn_gpu

    console = output_console()
    _show_versions(console)
    _show_machine(console)
    if not _check_backends(console, etn_gpu.load(model, allow_large=allow_large), model):
        raise typer.Exit(SOME_FAILED)


def _show_versions(console: Console) -> None:
    import etn_gpu

    table = new_table()
    table.add_column("package")
    table.add_column("version")
    table.add_row("etn-gpu", etn_gpu.__version__)
    table.add_row("python", platform.python_version())
    for package in (*_PACKAGES, *_OPTIONAL_PACKAGES):
        table.add_row(package, _installed_version(package))
    show_table(console, "Versions", table)


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed" + (" (optional)" if package in _OPTIONAL_PACKAGES else "")


def _show_machine(console: Console) -> None:
    from etn_gpu.backend.cores import usable_cores

    table = new_table()
    table.add_column("what")
    table.add_column("value", overflow="fold")
    table.add_row("system", platform.platform())
    table.add_row("processor", platform.processor() or platform.machine())
    table.add_row("cores this process may use", str(usable_cores()))
    table.add_row("threads of the backend numba", numba_threads())
    for variable in _THREAD_VARIABLES:
        table.add_row(variable, os.environ.get(variable, "not set"))
    for device in cuda_devices():
        table.add_row("CUDA device", device)
    show_table(console, "Machine", table)


def numba_threads() -> str:
    """Threads of the numba backend, unless fewer are asked for."""
    try:
        from etn_gpu.backend.cpu.threads import available
    except ImportError as error:
        return f"none: numba cannot be imported ({error})"
    return str(available())


def cuda_devices() -> list[str]:
    """Name, memory and compute capability of each CUDA device, or why none can be used and what to do."""
    from etn_gpu.backend.cuda.availability import unavailable

    if (reason := unavailable()) is not None:
        return [f"none that can be used: {reason}"]
    import cupy

    devices = []
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        memory = properties["totalGlobalMem"] / 2**30
        capability = f"{properties['major']}.{properties['minor']}"
        devices.append(f"{properties['name'].decode()}, {memory:.0f} GiB, compute capability {capability}")
    return devices


def _evaluate(model: Potential, structures: list[Atoms], *, backend: str, dtype: str) -> list[Result]:
    return model.evaluate(structures, backend=backend, dtype=dtype)


def _check_backends(console: Console, model: Potential, name: str) -> bool:
    """Shows a line for each backend and dtype; True when all that can run agree with the oracle."""
    from etn_gpu.backend import available
    from etn_gpu.potential.selfcheck import ORACLE, TOLERANCES, largest_difference

    table = new_table()
    for heading in ("backend", "dtype", "largest relative difference", "verdict"):
        table.add_column(heading, overflow="fold")
    passed = True
    for backend, reason in available().items():
        if reason is not None:
            table.add_row(backend, "", "", f"not available: {reason}", style="dim")
            continue
        for dtype, tolerance in TOLERANCES.items():
            try:
                difference = largest_difference(model, partial(_evaluate, backend=backend, dtype=dtype))
            except Exception as error:  # a broken backend must not hide the verdict on the others
                passed = False
                table.add_row(backend, dtype, "", f"FAILED: {type(error).__name__}: {error}", style="red")
                continue
            agrees = difference <= tolerance
            passed &= agrees
            verdict = "ok" if agrees else f"FAILED: {tolerance:g} is allowed"
            table.add_row(backend, dtype, f"{difference:.1e}", verdict, style=None if agrees else "red")
    show_table(console, f"Backends, checked against {ORACLE} with {name}", table)
    return passed
