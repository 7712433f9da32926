"""What a checkpoint holds: one description of its header, and what in it must fit the run that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.content import read_architecture
from etn_gpu.potential.described import (
    Check,
    ContentError,
    choice,
    exactly,
    integer,
    list_of,
    mapping_of,
    number,
    optional,
    record,
    shortened,
    text,
)

Array = NDArray[np.float64]


def _boolean(name: str, value: Any) -> None:
    if type(value) is not bool:
        raise ContentError(f"{name} is {shortened(value)}, expected true or false")


def _anything(name: str, value: Any) -> None:
    """What is compared with the run's own later."""


def _odd(name: str, value: Any) -> None:
    integer(1, 2**128 - 1)(name, value)
    if value % 2 == 0:
        raise ContentError(f"{name} is {value}, expected an odd integer")


_ANY_NUMBER = number(finite=False, nan=True)
_ERRORS = mapping_of(optional(_ANY_NUMBER))
#: An entry of the history: what :mod:`etn_gpu.training.run` and the schedule read again, and what the report shows.
_ITERATION = {
    "iteration": integer(1),
    "elapsed": number(0.0),
    "loss": _ANY_NUMBER,
    "decrease": _ANY_NUMBER,
    "structures": integer(1),
    "complete": _boolean,
    "score": _ANY_NUMBER,
    "train": _ERRORS,
    "valid": _ERRORS,
}
_SWEEP = {"sweep": integer(1), "bonds": list_of(text(1000)), "discarded_weights": list_of(_ANY_NUMBER)}
_RANDOM_STATE = record(
    {
        "bit_generator": choice("PCG64"),
        "state": record({"state": integer(0, 2**128 - 1), "inc": _odd}),
        "has_uint32": integer(0, 1),
        "uinteger": integer(0, 2**32 - 1),
    }
)
_HEADER = record(
    {
        "identity": mapping_of(_anything),
        "preset": _anything,
        "architecture": _anything,
        "best_architecture": _anything,
        "best_score": number(0.0, finite=False),
        "damping": number(above=0.0),
        "active": integer(1),
        "iteration": integer(1),
        "elapsed": number(0.0),
        "random_state": _RANDOM_STATE,
        "history": list_of(record(_ITERATION, _SWEEP, closed=False)),
    }
)


def check_checkpoint(header: Any, arrays: Mapping[str, Array]) -> None:
    """The header of a checkpoint, without its version, and its arrays ``theta`` and ``best_theta``.

    Raises:
        ContentError: a field that is missing, unknown or not as described, or that does not fit the others.
    """
    _HEADER("", header)
    preset = read_architecture(header["preset"], "preset")
    for field, array in (("architecture", "theta"), ("best_architecture", "best_theta")):
        _same_but_bonds(field, header[field], header["preset"])
        _check_vector(array, arrays[array], read_architecture(header[field], field))
    if [entry["iteration"] for entry in header["history"]] != list(range(1, header["iteration"] + 1)):
        raise ContentError(f"the history has not the iterations 1 to {header['iteration']}, one after the other")
    for entry in header["history"]:
        if "sweep" in entry and len(entry.get("bonds", ())) != len(preset.bonds):
            raise ContentError(f"the sweep of iteration {entry['iteration']} has not {len(preset.bonds)} bonds")


def _same_but_bonds(name: str, architecture: Any, preset: Mapping[str, Any]) -> None:
    """Sweeps change the ranks of bonds, nothing else."""
    agree: dict[str, Check] = {key: exactly(value) for key, value in preset.items() if key != "bonds"}
    record(agree, {"bonds": list_of(text(1000), len(preset["bonds"]), len(preset["bonds"]))})(name, architecture)


def _check_vector(name: str, vector: Array, architecture: Architecture) -> None:
    if vector.shape != (architecture.n_parameters,):
        raise ContentError(f"{name} has shape {vector.shape}, its architecture {architecture.n_parameters} parameters")
    if not np.isfinite(vector).all():
        raise ContentError(f"{name} holds NaN or infinite values")
