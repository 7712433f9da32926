"""Memory that is kept between runs: what is left in it changes nothing, runs at the same time do not share it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from etn_gpu import backend
from etn_gpu.backend import Geometry
from etn_gpu.backend.cpu import workspaces
from etn_gpu.backend.cpu.executor import _compiled
from etn_gpu.backend.cpu.workspaces import Workspaces
from etn_gpu.potential import Architecture
from etn_gpu.potential.programs import programs

ARCHITECTURE = Architecture(("Mo", "W"), 4.0, 1.0, 3, (2, 1), 2, 1, ("2x0e+1x1o",))
PROGRAM = programs(ARCHITECTURE).gradient


def case(n_atoms: int, most_edges: int, seed: int = 0) -> tuple[dict[str, Any], Geometry]:
    """Random inputs, for random species and numbers of edges."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most_edges + 1, n_atoms)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    species = rng.integers(0, 2, n_atoms).astype(np.int32)
    neighbours = np.concatenate([np.sort(rng.integers(0, 2, n)) for n in counts] + [[]]).astype(np.int32)
    inputs = {name: rng.normal(size=shape).ravel() for name, shape in ARCHITECTURE.network_shapes.items()}
    inputs |= {"x": rng.uniform(-2.0, 2.0, (offsets[-1], 3)), "e_bar": np.ones((n_atoms, 1))}
    return inputs, Geometry(offsets, species, neighbours)


def run(some: tuple[dict[str, Any], Geometry], **options: Any) -> dict[str, np.ndarray]:
    return backend.run(PROGRAM, *some, backend="numba", **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_left_in_it_changes_nothing(dtype: str) -> None:
    cases = [case(n, edges, seed) for seed, (n, edges) in enumerate([(3, 9), (40, 20), (1, 0), (17, 31), (3, 9)])]
    kept = _compiled(PROGRAM, dtype).workspaces._kept
    expected = []
    for some in cases:
        kept.clear()
        expected.append(run(some, dtype=dtype))
    for some, alone in zip(cases, expected, strict=True):
        for workspace in kept:
            for array in workspace.arrays:
                array[...] = np.nan if array.dtype.kind == "f" else -7
        for name, values in run(some, dtype=dtype).items():
            assert values.tobytes() == alone[name].tobytes()
    assert len(kept) == 1


def test_runs_at_the_same_time() -> None:
    cases = [case(20 + k, 25, k) for k in range(8)]
    expected = [run(some)["g"].tobytes() for some in cases]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            assert [found["g"].tobytes() for found in threads.map(run, cases)] == expected


def test_one_is_kept_unless_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = Workspaces(_compiled(PROGRAM, "float64").lowered, np.dtype("float64"))
    first, second = spaces.take(1, 2, 100), spaces.take(1, 2, 100)
    assert all(not np.shares_memory(a, b) for a, b in zip(first.arrays, second.arrays, strict=True))
    spaces.give(first)
    spaces.give(second)
    assert spaces.take(1, 2, 110) is first
    for workers, n_species, edges in ((2, 2, 100), (1, 3, 100), (1, 2, 1000)):
        spaces.give(first)
        assert spaces.take(workers, n_species, edges) is not first
    monkeypatch.setattr(workspaces, "MOST_BYTES", 1000)
    spaces.give(first)
    assert spaces.take(1, 2, 100) is not first
