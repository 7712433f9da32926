"""One calculation: labels that belong to the structure, or a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.stress import full_3x3_to_voigt_6_stress

from etn_gpu.calculator import ETNCalculator
from etn_gpu.learning.bare import bare
from etn_gpu.learning.calculation import label_of
from etn_gpu.learning.labels import Failure, Label


class Given(Calculator):
    """Gives what it is told to."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.values = values
        self.asked: list[list[str]] = []

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = tuple(all_changes)
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.asked.append(list(properties))
        defaults = {"energy": 1.0, "free_energy": 2.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}
        self.results = {k: v for k, v in {**defaults, **self.values}.items() if v is not None}


def crystal(seed: int = 0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def label(calculator: Any, atoms: Atoms) -> Label:
    found = label_of(calculator, atoms)
    assert isinstance(found, Label), found
    return found


def failure(calculator: Any, atoms: Atoms) -> str:
    found = label_of(calculator, atoms)
    assert isinstance(found, Failure)
    return found.message


@pytest.mark.parametrize("make", [EMT, lambda: ETNCalculator("nbmotaw", backend="numpy")], ids=["EMT", "ETN"])
def test_what_ase_gives(make: Callable[[], Calculator]) -> None:
    atoms = crystal() if make is EMT else bulk("Mo", "bcc", 3.2, cubic=True)
    atoms.rattle(0.05, seed=3)
    calculator = make()
    for seed in range(2):
        atoms.rattle(0.01, seed=seed)
        found = label(calculator, atoms)
        direct = atoms.copy()
        direct.calc = make()
        assert found.energy == direct.get_potential_energy(force_consistent=True)
        assert np.array_equal(found.forces, direct.get_forces())
        assert found.stress is not None
        assert np.array_equal(found.stress, direct.get_stress())
        assert found.seconds > 0


def test_constraints_hide_nothing() -> None:
    fixed = crystal()
    fixed.set_constraint(FixAtoms(range(4)))
    assert np.array_equal(label(EMT(), fixed).forces, label(EMT(), crystal()).forces)
    assert len(fixed.constraints) == 1
    assert fixed.calc is None


def test_the_energy_is_the_one_of_the_forces() -> None:
    assert label(Given(), crystal()).energy == 2.0
    calculator = Given(free_energy=None)
    assert label(calculator, crystal()).energy == 1.0
    calculator.implemented_properties = ["energy", "forces"]
    assert label(calculator, crystal()).energy == 1.0


def test_everything_is_computed_at_once() -> None:
    calculator = Given()
    label(calculator, crystal())
    cluster = Atoms("Cu2", positions=[[0, 0, 0], [2, 0, 0]])
    assert label(calculator, cluster).stress is None
    assert calculator.asked == [["energy", "free_energy", "forces", "stress"], ["energy", "free_energy", "forces"]]


def test_the_state_of_a_calculator_is_not_seen() -> None:
    """Total charges are nothing that ASE compares, and a result that is missing must not be that of before."""
    calculator = Given()
    one, other = crystal(), crystal()
    other.info["charge"] = 1
    label(calculator, one)
    calculator.values = {"energy": 5.0, "free_energy": 6.0}
    assert label(calculator, other).energy == 6.0

    class Careless(Given):
        def calculate(self, *arguments: Any) -> None:
            kept = self.results
            super().calculate(*arguments)
            self.results = {**kept, **self.results}

    careless = Careless(forces=np.ones((4, 3)))
    label(careless, crystal(1))
    careless.values = {"forces": None}
    assert "gives no forces" in failure(careless, crystal(2))


def test_a_failure_leaves_no_trace() -> None:
    calculator = EMT()
    unknown = Atoms("U4", positions=crystal().positions, cell=crystal().cell, pbc=True)
    assert "NotImplementedError" in failure(calculator, unknown) or "U" in failure(calculator, unknown)
    assert np.array_equal(label(calculator, crystal()).forces, label(EMT(), crystal()).forces)


class NoStress(EMT):
    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        if "stress" in properties:
            raise PropertyNotImplementedError("no stress today")
        super().calculate(atoms, properties, system_changes)
        del self.results["stress"]


class OldStyle:
    """A calculator as they were before ASE had a class for them."""

    def get_potential_energy(self, atoms: Atoms) -> float:
        return float(atoms.positions.sum())

    def get_forces(self, atoms: Atoms) -> Any:
        return -np.ones((len(atoms), 3))


def test_teachers_without_stress() -> None:
    found = label(NoStress(), crystal())
    assert found.stress is None
    assert np.array_equal(found.forces, label(EMT(), crystal()).forces)
    old = label(OldStyle(), crystal())
    assert (old.energy, old.stress) == (crystal().positions.sum(), None)


def test_a_full_stress_becomes_voigt() -> None:
    full = np.arange(9.0).reshape(3, 3)
    full = full + full.T
    found = label(Given(stress=full), crystal())
    assert found.stress is not None
    assert np.array_equal(found.stress, full_3x3_to_voigt_6_stress(full))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"energy": None, "free_energy": None}, "the teacher gives no energy"),
        ({"forces": None}, "the teacher gives no forces, without which nothing can be learnt"),
        ({"free_energy": np.nan}, "the energy came as nan"),
        ({"free_energy": "low"}, "the energy came as an array of str"),
        ({"free_energy": 1j}, "the energy came as an array of complex128"),
        ({"free_energy": np.zeros(4)}, "the energy has shape (4,), expected one number"),
        ({"forces": np.full((4, 3), np.inf)}, "the forces came with 12 of 12 numbers, the first inf"),
        ({"forces": np.zeros((3, 3))}, "the forces have shape (3, 3), expected (4, 3)"),
        ({"forces": np.zeros(12)}, "the forces have shape (12,), expected (4, 3)"),
        ({"forces": [[0.0], [1.0, 2.0]]}, "ValueError: "),
        ({"forces": [{}]}, "the forces came as list, expected real numbers"),
        ({"stress": np.zeros(9)}, "the stress has shape (9,), expected (6,) or (3, 3)"),
        ({"stress": [0, 0, 0, 0, 0, np.nan]}, "the stress came with 1 of 6 numbers, the first nan"),
    ],
)
def test_what_is_no_label(values: dict[str, Any], message: str) -> None:
    assert failure(Given(**values), crystal()).startswith(message)


def test_labels_are_plain_copies() -> None:
    forces = np.zeros((4, 3), dtype=np.float32)
    found = label(Given(forces=forces, free_energy=np.array([3.0])), crystal())
    forces += 1.0
    assert found.forces.dtype == np.float64
    assert not found.forces.any()
    assert found.energy == 3.0
    assert type(found.energy) is float


def test_a_teacher_that_relaxes() -> None:
    class Relaxing(EMT):
        def calculate(self, atoms: Any = None, *rest: Any) -> None:
            atoms.positions += 0.01
            super().calculate(atoms, *rest)

    atoms = bare(crystal())
    assert "changed the positions" in failure(Relaxing(), atoms)
    assert np.array_equal(atoms.positions, crystal().positions)


@pytest.mark.parametrize("error", [ValueError("bad\nworse"), SystemExit("bad"), MemoryError("bad")])
def test_what_the_teacher_raises(error: BaseException, capfd: pytest.CaptureFixture[str]) -> None:
    class Raising(Given):
        def calculate(self, *arguments: Any) -> None:
            raise error

    assert failure(Raising(), crystal()) == f"{type(error).__name__}: bad"
    assert "Traceback" in capfd.readouterr().err
