"""The modules of perf/, its GPU script on the emulator, and a bench of tiny sizes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.emulator import EmulatedDevice, require_compiler

Perf = Callable[[str], ModuleType]
Suite = Callable[..., dict[str, Any]]
PERF = Path(__file__).parents[2] / "perf"


@pytest.fixture
def perf(monkeypatch: pytest.MonkeyPatch) -> Perf:
    """Imports a script of perf/, or a module of its packages, by name."""
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module


@pytest.fixture
def suite(perf: Perf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Suite:
    """Runs the script with options on the emulator; its file, with the exit status as 'status'."""
    require_compiler()

    def run(*options: str) -> dict[str, Any]:
        path = tmp_path / "results" / "suite.json"
        command = ["gpu_suite.py", "--emulated", "--seed", "7", "--output", str(path), *options]
        monkeypatch.setattr("sys.argv", command)
        status: object = 0
        try:
            perf("gpu_suite").main()
        except SystemExit as stop:
            status = stop.code
        assert [p.name for p in path.parent.iterdir()] == ["suite.json"]
        return {**json.loads(path.read_text()), "status": status}

    return run


@pytest.fixture
def bench(perf: Perf) -> Any:
    """Tiny sizes on the emulator."""
    require_compiler()
    section = perf("gpu.section")
    return section.Bench(EmulatedDevice(), section.TINY, 3, section.Clock(600.0))


@pytest.fixture
def report(perf: Perf, tmp_path: Path) -> Any:
    """An empty report."""
    made = perf("gpu.report").Report(tmp_path / "suite.json")
    made.content["sections"] = {}
    return made
