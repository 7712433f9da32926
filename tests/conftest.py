"""Options, fixtures and settings shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Set before NumPy and numba start their thread pools: two threads exercise the parallel code paths, and small test
# matrices gain nothing from a threaded BLAS.
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# A choice made for production runs must not change what the tests compare; they choose with --backend.
os.environ.pop("ETN_GPU_BACKEND", None)

settings.register_profile(
    "etn_gpu",
    deadline=None,  # the first example of a test may compile numba kernels
    derandomize=bool(os.environ.get("CI")),
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("etn_gpu")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        metavar="NAME",
        help="run the backend tests on this backend only; may be given several times (default: all that run here)",
    )

    parser.addoption(
        "--emulated-gpu",
        action="store_true",
        help="let the backend cuda run on the emulator of tests/emulator: slow, every access to memory is checked",
    )


def _backends(config: pytest.Config) -> list[str]:
    """Backends the tests run on: those asked for, or all that are usable. Asking for an unusable one is an error."""
    from etn_gpu.backend import available

    reasons = available()
    usable = [name for name, reason in reasons.items() if reason is None]
    requested: list[str] = list(dict.fromkeys(config.getoption("--backend") or usable))
    for name in requested:
        if name not in usable:
            reason = reasons.get(name, "there is no backend of that name")
            raise pytest.UsageError(f"--backend {name}: {reason}. Usable here: {', '.join(usable)}.")
    return requested


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--emulated-gpu"):
        from tests.emulator import EmulatedDevice, stand_in_for_a_gpu

        stand_in_for_a_gpu(EmulatedDevice(), pytest.MonkeyPatch())
    if config.getoption("--backend"):
        _backends(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", _backends(metafunc.config), indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name of a backend; a test that uses it runs once on each backend chosen with ``--backend``."""
    name: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        if name == "cuda":
            from etn_gpu.potential import base

            # These tests are written for what float64 gives, the default of the other backends.
            patch.setattr(base, "DEVICE_DTYPE", "float64")
        yield name


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the benchmark data sets (``<set>/train.extxyz.gz``, ...), from the variable ETN_GPU_DATA."""
    value = os.environ.get("ETN_GPU_DATA")
    if not value:
        pytest.skip("ETN_GPU_DATA is not set: point it to the folder that holds nbmotaw/train.extxyz.gz and the others")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"ETN_GPU_DATA is set to {value!r}, which is not a folder")
    return folder


@dataclass
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Finished]


@pytest.fixture(scope="session")
def built_once() -> Callable[[Any], Any]:
    """Typer's `get_command`, which takes longer than what most tests run with the command."""
    from typer.main import get_command

    return cache(get_command)


@pytest.fixture
def run(built_once: Callable[[Any], Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("screen", "--demo")` gives the exit code and what was printed, as wide as in a pipe."""
    from etn_gpu.cli.main import main

    # processes that run tests in parallel may have a width set
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("typer.main.get_command", built_once)

    def call(*arguments: object) -> Finished:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = stop.value.code
        return Finished(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call
