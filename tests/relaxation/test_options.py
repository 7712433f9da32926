"""Options that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ase.build import bulk

import etn_gpu
from etn_gpu.errors import BackendError, ModelFileError, RelaxationError, StructureError
from etn_gpu.potential import ETNPotential
from etn_gpu.relaxation import Limits, Relaxation


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"optimizer": "bfgs"}, r"optimizer = 'bfgs': expected one of lbfgs, fire"),
        ({"cell": "shape"}, r"cell = 'shape': expected one of none, full, volume"),
        ({"cell": None}, r"cell = None: expected one of"),
        ({"fmax": -0.01}, r"fmax = -0.01: expected a number of eV/A above 0"),
        ({"fmax": 0}, r"fmax = 0: expected"),
        ({"fmax": "tight"}, r"fmax = 'tight': expected"),
        ({"cell": "full", "pressure": float("nan")}, r"pressure = nan: expected a number of GPa"),
        ({"pressure": 5.0}, r"pressure = 5 GPa does nothing to a cell that is not relaxed"),
        ({"steps": 0}, r"steps = 0: expected a whole number, 1 or more"),
        ({"steps": 10.5}, r"steps = 10.5: expected"),
        ({"steps": True}, r"steps = True: expected"),
        ({"limits": {"volume": 2}}, r"limits = .*: expected etn_gpu.relaxation.Limits"),
        ({"threads": 0}, r"threads = 0: expected a whole number, 1 or more"),
    ],
)
def test_options(model: ETNPotential, options: dict[str, Any], text: str) -> None:
    with pytest.raises(RelaxationError, match=text):
        etn_gpu.relax(model, bulk("Mo"), **options)


def test_atoms_in_flight(model: ETNPotential) -> None:
    with pytest.raises(RelaxationError, match=r"atoms = -1: expected a whole number"):
        Relaxation(model, atoms=-1)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"volume": (1.2, 2.0)}, "volume = .*: expected bounds around 1"),
        ({"volume": 2.0}, "volume = 2.0: expected two numbers, the lower one first"),
        ({"energy": (1.0, 2.0)}, "energy = .*: expected bounds around 0"),
        ({"pressure": (10.0, -10.0)}, "pressure = .*: expected two numbers, the lower one first"),
        ({"pressure": ("low", "high")}, "pressure = .*: expected two numbers"),
        ({"distance": -1.0}, "distance = -1.0: expected a number of Angstrom"),
    ],
)
def test_limits(bounds: dict[str, Any], text: str) -> None:
    with pytest.raises(RelaxationError, match=text):
        Limits(**bounds)


def test_other_bad_input(model: ETNPotential) -> None:
    with pytest.raises(StructureError, match=r"expected an ase.Atoms or a sequence of them, got an object of type int"):
        etn_gpu.relax(model, 3)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="'abacus' is not a backend"):
        etn_gpu.relax(model, bulk("Mo"), backend="abacus")
    with pytest.raises(BackendError, match="choose one of"):
        etn_gpu.relax(model, bulk("Mo"), dtype="float16")
    with pytest.raises(ModelFileError, match=r"there_is_no\.etn"):
        etn_gpu.relax("there_is_no.etn", bulk("Mo"))
