"""The command line in this process, on a Lennard-Jones model that stands in for the shipped one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import etn_gpu
from etn_gpu.cli.main import main
from etn_gpu.errors import ModelFileError


@dataclass
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Finished]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("screen", "--demo")` gives the exit code and what was printed, as wide as in a pipe."""
    # processes that run tests in parallel may have a width set
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: object) -> Finished:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = stop.value.code
        return Finished(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `etn_gpu.load("nbmotaw")` give the Lennard-Jones model of the screening tests, which is returned."""
    path = Path(__file__).parents[1] / "screening" / "conftest.py"
    spec = importlib.util.spec_from_file_location("lennard_jones_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.LennardJones()

    def load(name: str) -> Any:
        if name != "nbmotaw":
            raise ModelFileError(f"no model {name!r}; shipped models: nbmotaw")
        return model

    monkeypatch.setattr(etn_gpu, "load", load, raising=False)
    return model
