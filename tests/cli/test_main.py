"""The frame around all commands: help, exit codes, start-up time."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import etn_gpu
from etn_gpu.cli.app import app

COMMANDS = ("train", "learn", "evaluate", "screen", "select", "grade", "plan", "convert", "doctor")


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etn_gpu.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(run: Callable[..., Any], command: str) -> None:
    finished = run(command, "--help")
    assert finished.code == 0
    assert "Examples:" in finished.out
    assert f"etn-gpu {command}" in finished.out


def test_help_lists_the_commands(run: Callable[..., Any]) -> None:
    finished = run("--help")
    assert finished.code == 0
    for command in COMMANDS:
        assert command in finished.out
    assert {command.callback.__name__ for command in app.registered_commands if command.callback} == set(COMMANDS)


def test_version(run: Callable[..., Any]) -> None:
    assert run("--version").out == f"etn-gpu {etn_gpu.__version__}\n"


def processor_seconds() -> float:
    """Of all processes that were started here and have ended; other jobs on the machine do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    libraries = [sys.executable, "-c", "import numpy, rich.console, rich.table, typer, typer.rich_utils"]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        for times, run_it in (
            (seconds[0], lambda: subprocess.run(libraries, check=False)),
            (seconds[1], lambda: start("--help")),
        ):
            before = processor_seconds()
            assert run_it().returncode == 0
            times.append(processor_seconds() - before)
    # Beside what it cannot do without, for processors and what shares them differ; numba alone would be half as much.
    assert min(seconds[1]) < 2.5 * min(seconds[0])
    heavy = (
        "import sys, etn_gpu.cli.main; print([m for m in ('ase', 'numba', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=60, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["--no-such-option"], ["paint"], ["screen", "--rank", "beauty"], ["plan"], ["train", "x.xyz"], ["screen"]],
)
def test_wrong_use_exits_with_2_and_no_traceback(arguments: list[str]) -> None:
    finished = start(*arguments)
    assert finished.returncode == 2
    assert finished.stderr
    assert "Traceback" not in finished.stderr


def test_unknown_model_lists_those_there_are(
    run: Callable[..., Any], stand_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ["plan", "steel"],
        ["evaluate", "steel", "x.xyz"],
        ["screen", "steel", "x.xyz"],
        ["doctor", "--model", "steel"],
    ):
        finished = run(*command)
        assert finished.code == 2
        assert finished.err == "Error: no model 'steel'; shipped models: nbmotaw\n"


def test_deliberate_errors_are_printed_as_they_are(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, *, allow_large: bool = False) -> None:
        raise etn_gpu.errors.ModelFileError(f"broken [bold]{name}[/bold] :smile: " + 300 * "x")

    monkeypatch.setattr(etn_gpu, "load", load, raising=False)
    finished = run("plan", "a[0].etn")
    assert finished.code == 2
    assert finished.err == "Error: broken [bold]a[0].etn[/bold] :smile: " + 300 * "x" + "\n"
