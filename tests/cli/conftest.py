"""The command line in this process, on a Lennard-Jones model that stands in for the shipped one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import etn_gpu
from etn_gpu.errors import ModelFileError


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

    def load(name: str, *, allow_large: bool = False) -> Any:
        if name != "nbmotaw":
            raise ModelFileError(f"no model {name!r}; shipped models: nbmotaw")
        return model

    monkeypatch.setattr(etn_gpu, "load", load, raising=False)
    return model
