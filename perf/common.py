"""What the benchmarks share: the machine, test crystals, timing, the ceiling that gemm sets, tables and JSON files.

Scripts in this folder are run as ``python perf/<script>.py``, which puts the folder on the path of modules.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

RESULTS = Path(__file__).parent / "results"
#: Kernels that OpenBLAS is told to use on a processor with AVX-512; its own detection may settle for half the speed.
AVX512_CORETYPE = "SkylakeX"
_GEMM = """
import time
import numpy as np
n = 1024
a, b = np.random.default_rng(0).normal(size=(2, n, n)).astype("{dtype}")
out = np.empty_like(a)
best = float("inf")
for _ in range(12):
    start = time.perf_counter()
    np.matmul(a, b, out=out)
    best = min(best, time.perf_counter() - start)
print(2e-9 * n**3 / best)
"""


class Timing(NamedTuple):
    """Seconds of processor time (all threads together) and of wall time."""

    cpu: float
    wall: float

    def per(self, count: float) -> Timing:
        """The same in microseconds for one of ``count`` things."""
        return Timing(1e6 * self.cpu / count, 1e6 * self.wall / count)


def timed(function: Callable[[], object], repeats: int) -> Timing:
    """Least seconds of each kind over the repeats after one warm-up: other work on a machine only ever adds time."""
    function()
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        function()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return Timing(min(cpu), min(wall))


def bcc_crystal(
    species: Sequence[str],
    cells: int | tuple[int, int, int],
    a: float = 2.95,
    displacement: float = 0.05,
    seed: int = 0,
) -> Atoms:
    """A random bcc solid solution of all ``species``, two atoms in each cubic cell.

    Args:
        species: chemical symbols, drawn with equal weights.
        cells: cubic cells along each direction, one number for all three or one each.
        a: lattice constant in A; 2.95 gives 50 neighbours inside 5 A.
        displacement: standard deviation of the atoms' displacements along each axis, in A.
        seed: of species and displacements.
    """
    from ase.build import bulk

    rng = np.random.default_rng(seed)
    atoms = bulk("W", "bcc", a=a, cubic=True) * cells
    atoms.set_chemical_symbols(rng.choice(list(species), len(atoms)))
    atoms.positions += rng.normal(scale=displacement, size=atoms.positions.shape)
    return atoms


def machine(commit: str | None = None) -> dict[str, Any]:
    """Date, commit, which git is asked for unless it is given, and what the numbers were measured on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit or commit_of(Path(__file__).parent),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "not set"),
    }


def commit_of(checkout: Path) -> str:
    """Short hash of the commit of a checkout, with '+' where the tree has changed since; 'unknown' outside of one or
    without git."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def gemm_ceiling(dtype: str) -> float:
    """GFLOP/s of one thread in a product of two 1024 x 1024 matrices of ``dtype``, 'float64' or 'float32'.

    Measured in a process of its own, because OpenBLAS reads its settings when it is loaded.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if "avx512f" in _cpuinfo("flags").split():
        environment["OPENBLAS_CORETYPE"] = AVX512_CORETYPE
    command = [sys.executable, "-c", _GEMM.format(dtype=np.dtype(dtype).name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def save(name: str, report: dict[str, Any]) -> Path:
    """Write ``report`` to results/<name>.json and return the path."""
    # Runners of peers import this module where etn_gpu is not installed.
    from etn_gpu.files import json_text

    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json_text(report))
    return path


def merge(name: str, key: str, entry: dict[str, Any]) -> Path:
    """Write the entry ``key`` of results/<name>.json; the others stay. Returns the path."""
    path = RESULTS / f"{name}.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return save(name, report | {key: entry})


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: text to the left, numbers to the right with four digits, '-' for None."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    numeric = [not any(isinstance(row[k], str) for row in rows) for k in range(len(headers))]
    for line in (headers, ["-" * width for width in widths], *cells):
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(aligned).rstrip())
    print(flush=True)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:.4g}" if abs(number) < 1e4 else f"{number:.0f}"
    return str(value)


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    """The first value of ``key`` in /proc/cpuinfo; empty on a system without it."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
