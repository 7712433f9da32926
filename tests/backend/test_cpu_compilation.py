"""Programs compiled by processes: what they leave, when they are worth it, and that they end with the time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etn_gpu import backend as backends
from etn_gpu.backend.cpu import compilation, executor, jit
from etn_gpu.plan import Program
from etn_gpu.potential import Architecture
from etn_gpu.potential.programs import programs


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Program, str]]:
    """Two Programs that no test has compiled, and an empty folder of compiled code."""
    monkeypatch.setenv("ETN_GPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    cutoff = 3.0 + np.random.default_rng().random()
    found = programs(Architecture(("Cu",), cutoff, 1.0, 2, (1, 1), 1, 1, ("1x0e",)))
    return [(found.energy, "float64"), (found.gradient, "float32")]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that were started."""
    processes: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    yield processes
    assert all(process.poll() is not None for process in processes)


def test_code_is_there_afterwards(
    wanted: list[tuple[Program, str]], started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backends.prepare(wanted, backend="numba")
    assert len(started) == 2
    monkeypatch.setattr(jit, "compile_text", lambda text: pytest.fail("compiled again"))
    for program, dtype in wanted:
        executor._compiled(program, dtype)
        assert executor.is_loaded(program, dtype)
    assert backends.prepare(wanted, backend="numba")
    assert len(started) == 2


def test_no_process_where_it_would_take_longer(
    wanted: list[tuple[Program, str]], started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backends.prepare(wanted[:1], backend="numba")
    assert backends.prepare(wanted, backend="numpy")
    monkeypatch.setattr(compilation, "WORTHWHILE", 10**9)
    assert backends.prepare(wanted, backend="numba", time_left=lambda: True)
    assert started == []


def test_processes_end_with_the_time(wanted: list[tuple[Program, str]], started: list[Any]) -> None:
    asked = iter([True] * 3 + [False] * 100)
    assert not backends.prepare(wanted, backend="numba", time_left=lambda: next(asked))
    assert started
    assert not any(jit.is_stored(executor.lowered(*pair).text) for pair in wanted)


def test_what_a_process_cannot_compile_is_left(
    wanted: list[tuple[Program, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "_CHILD", "raise SystemExit(1)")
    assert backends.prepare(wanted, backend="numba", time_left=lambda: True)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert backends.prepare(wanted, backend="numba", time_left=lambda: True)
    assert not any(executor.is_loaded(*pair) for pair in wanted)
