"""What is very large is refused with the numbers before anything is planned or compiled, unless it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import etn_gpu
from etn_gpu.backend.cpu.lowering import lower
from etn_gpu.errors import ModelFileError
from etn_gpu.potential import PRESETS, Architecture, ETNPotential, preset_architecture
from etn_gpu.potential.programs import programs
from etn_gpu.potential.size import size_of, too_large
from etn_gpu.structures.elements import SYMBOLS


def irreps(lmax: int, parities: str = "", mul: int = 1) -> str:
    return "+".join(f"{mul}x{l}{p}" for l in range(lmax + 1) for p in parities or "eo"[l % 2])


def architecture(**changes: Any) -> Architecture:
    standard = PRESETS["standard"]
    sizes: dict[str, Any] = {
        "species": ("Nb", "Mo", "Ta", "W"),
        "cutoff": 5.0,
        "inner": 1.5,
        "n_radial": 8,
        "channels": standard.channels,
        "neighbour_rank": 3,
        "centre_rank": 2,
        "bonds": standard.bonds,
    }
    return Architecture(**{**sizes, **changes})


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_species", [1, 4, 16, 90])
def test_presets_are_of_ordinary_size(preset: str, n_species: int) -> None:
    assert too_large(preset_architecture(preset, SYMBOLS[:n_species], 6.0, 1.0)) is None


def test_what_sweeps_may_make_of_the_largest_preset_is_too() -> None:
    large = PRESETS["large"]
    for middle in (irreps(6, mul=2), irreps(5, "eo")):
        assert too_large(architecture(channels=large.channels, bonds=(irreps(5, mul=3), middle, irreps(5)))) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_radial": 200}, r"200 radial functions \(100\)"),
        ({"channels": (12,) * 13, "bonds": (irreps(12),) * 2}, r"\d+ MB of code, .* s and \d\.\d GB to compile \(32"),
        ({"channels": (1,) * 17, "bonds": (irreps(8),) * 2}, r"\d+ MB of code"),
        ({"bonds": ("3000x0e+3000x1o",) * 2}, r"million operations per atom \(100\)"),
        ({"n_radial": 90, "species": SYMBOLS, "neighbour_rank": 118, "channels": (99,) * 6}, "GB of tables"),
        ({"n_radial": 10**6, "channels": (10**6,) * 33, "bonds": (irreps(32, "eo", 10**6),) * 20}, "GB to compile"),
        ({"channels": (1,) * 33, "bonds": (irreps(32, "eo"),) * 20}, "GB to compile"),
    ],
    ids=["n_radial", "l = 12", "l = 16", "ranks", "tables", "absurd", "absurd l"],
)
def test_very_large_ones_are_told_with_the_numbers(changes: dict[str, Any], message: str) -> None:
    start = perf_counter()
    reason = too_large(architecture(**changes))
    assert perf_counter() - start < 10.0, "the estimate itself must not take long"
    assert reason is not None
    assert re.search(message, reason)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_radial": 60, "channels": (1,) * 5, "bonds": ("1x0e+1x1o",)},
        {"n_radial": 1, "channels": (12,) * 13, "bonds": ("4x0e+3x1o+2x2e",)},
        {"n_radial": 1, "channels": (1,) * 6, "bonds": (irreps(5),) * 2},
        {"n_radial": 1, "bonds": ("100x0e+100x1o",) * 5},
    ],
    ids=str,
)
def test_the_estimate_is_about_the_code_that_there_is(changes: dict[str, Any]) -> None:
    small = architecture(**changes)
    code = len(lower(programs(small).gradient, np.dtype("float64")).text)
    assert 0.4 < size_of(small).code / code < 2.5


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of 60 kB."""
    wide = architecture(species=("W",), neighbour_rank=1, centre_rank=1, n_radial=101)
    zeros = {name: np.zeros(shape) for name, shape in wide.parameter_shapes.items()}
    ETNPotential(wide, zeros).save(tmp_path / "large.etn")
    return tmp_path / "large.etn"


def test_loading(large: Path) -> None:
    message = r"large\.etn is refused: .*101 radial functions \(100\), .*--allow-large, in Python with allow_large=True"
    with pytest.raises(ModelFileError, match=message):
        etn_gpu.potential.load(large)
    assert etn_gpu.potential.load(large, allow_large=True).architecture.n_radial == 101


def test_the_command_line(large: Path, run: Callable[..., Any]) -> None:
    refused = run("plan", large)
    assert refused.code == 2
    assert "101 radial functions" in refused.err
    assert run("plan", large, "--allow-large").code == 0
    for command in ("screen", "evaluate", "doctor"):
        assert "--allow-large" in run(command, "--help").out
