"""Extrapolation grades in whole evaluations on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.errors import BackendError
from etn_gpu.potential import ETNPotential, on_device
from etn_gpu.potential.grade import THRESHOLD, graded
from etn_gpu.potential.grade_program import site_grades
from etn_gpu.potential.on_device import evaluate_each_on_device
from etn_gpu.potential.selfcheck import check_terms
from etn_gpu.structures import StructureBatch
from tests.emulator import EmulatedDevice, require_compiler

pytestmark = pytest.mark.emulator
MakePotential = Callable[..., ETNPotential]


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    require_compiler()
    return EmulatedDevice()


@pytest.fixture(scope="module")
def many() -> list[Atoms]:
    """Crystals, a dimer, an isolated atom, two that cannot be evaluated, and one far outside."""
    crystals = [bulk("Al", a=a, cubic=True) for a in (3.6, 3.8, 4.1, 4.3)]
    for seed, crystal in enumerate(crystals):
        crystal.symbols[[1, 3]] = "Ni"
        crystal.rattle(0.1, seed=seed)
    same_place = Atoms("Al2", cell=[5.0] * 3, pbc=True)
    return [
        *crystals,
        Atoms("AlNi", [[0.0] * 3, [0, 1.4, 1.5]]),
        same_place,
        Atoms("Xe"),
        Atoms("Ni"),
        bulk("Al", a=2.6),
    ]


@pytest.fixture(scope="module", params=[False, True], ids=["network", "with terms"])
def model(request: pytest.FixtureRequest, make_potential: MakePotential, many: list[Atoms]) -> ETNPotential:
    plain = make_potential(2)
    training = [many[k % 4].copy() for k in range(40)]
    for seed, atoms in enumerate(training):
        atoms.rattle(0.1, seed=seed)
    batch = StructureBatch.build(training, plain.species, plain.cutoff)
    found = plain.with_grade(graded(plain, [batch], backend="numpy"))
    return found.with_terms(check_terms(2, plain.cutoff)) if request.param else found


def evaluate(model: ETNPotential, many: list[Atoms], device: EmulatedDevice, **changes: Any) -> list[Any]:
    options: dict[str, Any] = {"forces": True, "stress": True, "dtype": "float64", "grade": True, **changes}
    return evaluate_each_on_device(model, many, device=device, **options)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 5e-3)])
@pytest.mark.parametrize("gradients", [True, False])
def test_grades_are_those_of_the_host(
    model: ETNPotential, many: list[Atoms], device: EmulatedDevice, dtype: str, tolerance: float, gradients: bool
) -> None:
    expected = model.evaluate_each(many, backend="numpy", forces=gradients, stress=gradients)
    results = evaluate(model, many, device, dtype=dtype, forces=gradients, stress=gradients)
    flags = []
    for found, wanted in zip(results, expected, strict=True):
        if isinstance(wanted, Exception):
            assert str(found) == str(wanted)
            continue
        assert found.keys() == wanted.keys()
        grades = found["extrapolation_grades"]
        np.testing.assert_allclose(grades, wanted["extrapolation_grades"], rtol=tolerance)
        assert found["extrapolation_grade"] == grades.max()
        assert found.extrapolating == wanted.extrapolating == (grades.max() > THRESHOLD)
        flags.append(found.extrapolating)
    assert flags[-1]
    assert ("forces" in results[0]) is gradients


def test_without_grades_all_else_is_the_same(model: ETNPotential, many: list[Atoms], device: EmulatedDevice) -> None:
    without, results = (evaluate(model, many[:5], device, grade=asked) for asked in (False, True))
    for found, expected in zip(results, without, strict=True):
        assert found.keys() == expected.keys() | {"extrapolation_grade", "extrapolation_grades"}
        for name, values in expected.items():
            scale = 1.0 + np.abs(values).max()
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-10 * scale, err_msg=name)


def test_parts_change_no_bit(
    model: ETNPotential, many: list[Atoms], device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(model, many[:5], device)
    monkeypatch.setattr(on_device, "PART_ATOMS", 5)
    for found, expected in zip(evaluate(model, many[:5], device), whole, strict=True):
        assert all(np.array_equal(found[name], values) for name, values in expected.items())
        assert found.extrapolating == expected.extrapolating


@pytest.mark.parametrize("wrong", ["factor", "offset"])
def test_grades_that_are_something_else_are_refused(
    model: ETNPotential, many: list[Atoms], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """The first evaluation on a device is compared with NumPy, grades as well."""
    monkeypatch.setattr(on_device, "_agreeing", set())
    fresh = model.with_grade(model.grade)  # whose factors are on no device yet

    def other_grades(squares: Any, weights: Any) -> Any:
        return site_grades(1.001 * squares if wrong == "factor" else squares + 1e-3 * squares.max(), weights)

    with monkeypatch.context() as patch:
        patch.setattr(on_device, "site_grades", other_grades)
        with pytest.raises(BackendError, match="the cuda backend does not agree with numpy"):
            evaluate(fresh, many[:1], EmulatedDevice())
    evaluate(fresh, many[:1], EmulatedDevice())


def test_the_threshold_decides(model: ETNPotential, many: list[Atoms], device: EmulatedDevice) -> None:
    (result,) = evaluate(model, many[-1:], device)
    grade = result["extrapolation_grade"]
    for factor in (0.99, 1.01):
        (found,) = evaluate(model, many[-1:], device, threshold=max(1.0, factor * grade))
        assert found.extrapolating is (factor < 1.0)
