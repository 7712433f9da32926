"""Labels of another sign, unit or zero, told from a model's predictions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from etn_gpu.potential.label_checks import DipoleChecks, LabelChecks
from etn_gpu.structures.units import GPA

HARTREE, BOHR = 27.211386, 0.52917721
NUMBERS = np.array([41, 42, 42, 74])


def compare(
    n: int = 3, *, energy: float = 1.0, forces: float = 1.0, stress: float = 1.0, shift: float = 0.0,
    error: float = 0.05, virial: bool = False, seed: int = 0,
) -> list[str]:  # fmt: skip
    """Warnings for predictions with errors relative to right labels, and labels changed by factors."""
    rng = np.random.default_rng(seed)
    checks = LabelChecks()
    for _ in range(n):
        numbers = rng.choice(NUMBERS, 6)
        right: dict[str, Any] = {
            "energy": rng.normal(-60, 1),
            "forces": rng.normal(size=(6, 3)),
            "stress": 0.02 * rng.normal(size=6),
        }
        wrong: dict[str, Any] = {
            name: value + error * size * rng.normal(size=np.shape(value))
            for (name, value), size in zip(right.items(), (0.1, 1.0, 0.02), strict=True)
        }
        volume = rng.uniform(60, 500)
        checks.add(
            wrong,
            numbers=numbers,
            volume=volume,
            n_atoms=6,
            energy=energy * right["energy"] + shift * float((numbers == 42).sum()),
            forces=forces * right["forces"],
            stress=(-volume if virial else stress) * right["stress"],
        )
    return checks.warnings()


@pytest.mark.parametrize("n", [1, 3, 50])
@pytest.mark.parametrize("error", [0.0, 0.05, 0.3, 3.0])
def test_good_and_bad_models_say_nothing_of_right_labels(n: int, error: float) -> None:
    assert all(not compare(n, error=error, seed=seed) for seed in range(20))


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (-1.0, "stresses look to have the opposite sign.*tension positive: turn the sign"),
        (1 / GPA, "look to be in GPa: .*divide by 160.218"),
        (10 / GPA, "look to be in kbar: .*divide by 1602.18"),
        (-10 / GPA, "in kbar and to have the opposite sign: .*divide by -1602.18"),
        (BOHR**3 / HARTREE, "in Hartree/bohr.3: .*multiply by 183.63"),
    ],
)
def test_stress(n: int, factor: float, text: str) -> None:
    [found] = compare(n, stress=factor)
    assert re.search(text, found), found


@pytest.mark.parametrize(
    ("factor", "text"),
    [(-1.0, "forces look to have the opposite sign"), (BOHR / HARTREE, "multiply by 51.4221"), (23.06, "kcal/mol/A")],
)
def test_forces(factor: float, text: str) -> None:
    for n in (1, 30):
        [found] = compare(n, forces=factor)
        assert text in found


def test_energies() -> None:
    [found] = compare(1, energy=1 / HARTREE)
    assert "energies look to be in Hartree: they are 0.0367" in found
    [found] = compare(30, shift=-2.5)
    assert "a constant for each element" in found
    assert re.search(r"Mo -2\.(49|50)", found), found
    # not with so few structures that every difference is one of the composition
    assert compare(2, shift=-2.5) == []


def test_a_virial_in_the_place_of_the_stress() -> None:
    [found] = compare(5, virial=True)
    assert "looks like a virial in eV: divided by the volume, it is -" in found


def test_a_bad_model_does_not_judge() -> None:
    assert all(not compare(10, error=3.0, stress=-1.0, forces=-1.0, seed=seed) for seed in range(20))


def test_crystals_at_rest_have_no_sign() -> None:
    checks = LabelChecks()
    noise = 1e-4 * np.random.default_rng(0).normal(size=(6, 3))
    checks.add(
        {"forces": noise, "stress": noise[:2].ravel()},
        numbers=NUMBERS,
        volume=60.0,
        forces=-noise,
        stress=-noise[:2].ravel(),
    )
    assert checks.warnings() == []


def test_missing_labels_and_numbers_without_bounds() -> None:
    checks = LabelChecks()
    results = {"energy": -1.0, "forces": np.ones((4, 3)), "stress": np.ones(6)}
    checks.add(results, numbers=NUMBERS, volume=0.0)
    checks.add(results, numbers=NUMBERS, volume=0.0, energy=np.nan, stress=np.full(6, np.nan))
    checks.add(
        results, numbers=NUMBERS, volume=1.0, energy=1e300, forces=np.full((4, 3), -1e300), stress=np.full(6, 1e300)
    )
    assert checks.warnings() == []


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (1.0, None),
        (-1.0, r"dipoles look to have the opposite sign: .* Expected e\*A, pointing from minus to plus: turn the sign"),
        (4.8032, r"dipoles look to be in debye: they are 4\.8\d* times those of the model"),
        (-1.8897, r"dipoles look to be in e\*bohr and to have the opposite sign"),
        (3.0, None),
    ],
)
def test_dipoles(factor: float, text: str | None) -> None:
    rng = np.random.default_rng(0)
    checks = DipoleChecks()
    for _ in range(20):
        label = rng.normal(size=3)
        checks.add(label + 0.05 * rng.normal(size=3), factor * label)
    checks.add(rng.normal(size=3), None)
    found = checks.warnings()
    assert len(found) == (text is not None)
    assert text is None or re.search(text, found[0])
