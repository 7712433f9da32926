"""PACE potentials beside python-ace, and what holds for any potential."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.pace import read_pace
from etn_gpu.interop.translation import Translation
from tests.interop.pace_structures import structures

FOLDER = Path(__file__).parent / "references"
NAMES = ("exponential", "power", "bessel", "mixed", "nearest", "linear")
REAL = "Al-Ni_opt_all.yace"


@cache
def references() -> dict[str, dict[str, Any]]:
    """Made by make_pace_references.py."""
    with gzip.open(FOLDER / "pace.json.gz") as file:
        found: dict[str, dict[str, Any]] = json.load(file)
    return found


@cache
def potential(name: str) -> Translation:
    return read_pace(FOLDER / f"pace_{name}.yace")


def compare(translation: Translation, name: str, backend: str, evaluated: Callable[..., Any], step: int) -> None:
    """Every ``step``-th structure, beginning with another one for each potential."""
    reference = references()[name]
    given = structures(reference["species"], reference["seed"], reference["spacing"])
    chosen = range(reference["seed"] % step, len(given), step)
    found = evaluated(translation, [given[k] for k in chosen], backend)
    energies = np.add.reduceat(found.energies, found.offsets[:-1])
    sizes = np.array([len(given[k]) for k in chosen])
    np.testing.assert_allclose(
        energies / sizes, [reference["energies"][k] / len(given[k]) for k in chosen], rtol=0, atol=1e-9
    )
    forces = np.concatenate([reference["forces"][k] for k in chosen])
    np.testing.assert_allclose(found.forces, forces, rtol=0, atol=1e-8)
    for stress, k in zip(found.stresses, chosen, strict=True):
        if reference["stresses"][k] is not None:
            np.testing.assert_allclose(stress, reference["stresses"][k], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_python_ace(backend: str, name: str, evaluated: Callable[..., Any]) -> None:
    compare(potential(name), name, backend, evaluated, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_python_ace_everywhere(backend: str, name: str, evaluated: Callable[..., Any]) -> None:
    compare(potential(name), name, backend, evaluated, 1)


def test_agrees_for_a_published_file(backend: str, evaluated: Callable[..., Any]) -> None:
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if not folder:
        pytest.skip(f"ETN_GPU_POTENTIALS is not set: point it to a folder with pace/{REAL}")
    compare(read_pace(Path(folder) / "pace" / REAL), REAL, backend, evaluated, 1)


@pytest.mark.slow
def test_python_ace_gives_the_references() -> None:
    pyace = pytest.importorskip("pyace")
    for name in NAMES:
        reference = references()[name]
        calculator = pyace.PyACECalculator(str(FOLDER / f"pace_{name}.yace"))
        given = structures(reference["species"], reference["seed"], reference["spacing"])
        for atoms, energy in zip(given, reference["energies"], strict=True):
            atoms.calc = calculator
            assert atoms.get_potential_energy() == pytest.approx(energy, rel=0, abs=1e-10)


def cluster(species: tuple[str, ...], spacing: float = 2.4) -> Atoms:
    """Ten atoms, some of them close."""
    rng = np.random.default_rng(5)
    points = spacing * np.array(list(np.ndindex(2, 2, 3)), float)[:10] + rng.normal(0, 0.25, (10, 3))
    return Atoms([species[k % len(species)] for k in range(10)], points)


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_minus_the_gradient(backend: str, name: str, evaluated: Callable[..., Any]) -> None:
    translation = potential(name)
    atoms = cluster(translation.formulation.species)
    h, moved = 1e-4, []
    for shift in (-h, h):
        for axis in range(3):
            moved.append(other := atoms.copy())
            other.positions[3, axis] += shift
    found = evaluated(translation, [atoms, *moved], backend)
    energies = np.add.reduceat(found.energies, found.offsets[:-1])[1:].reshape(2, 3)
    slope = (energies[1] - energies[0]) / (2 * h)
    np.testing.assert_allclose(found.forces[3], -slope, rtol=1e-5, atol=1e-5 * np.abs(found.forces).max())


@pytest.mark.parametrize("name", NAMES)
def test_energies_are_invariant(backend: str, name: str, evaluated: Callable[..., Any]) -> None:
    translation = potential(name)
    atoms = cluster(translation.formulation.species)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turned, inverted, moved, sorted_ = (atoms.copy() for _ in range(4))
    turned.positions = turned.positions @ rotation.T
    inverted.positions *= -1
    moved.positions += [1.0, -2.0, 0.3]
    order = np.random.default_rng(3).permutation(len(atoms))
    sorted_ = sorted_[order]
    found = evaluated(translation, [atoms, turned, inverted, moved, sorted_], backend)
    energies, forces = found.energies.reshape(5, -1), found.forces.reshape(5, -1, 3)
    scale = np.abs(found.energies).max() + np.abs(forces).max()
    for k, back in enumerate((forces[1] @ rotation, -forces[2], forces[3]), 1):
        np.testing.assert_allclose(energies[k], energies[0], rtol=0, atol=1e-11 * scale)
        np.testing.assert_allclose(back, forces[0], rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(energies[4], energies[0][order], rtol=0, atol=1e-11 * scale)


def test_atoms_on_their_own_have_the_reference_energy(
    backend: str, evaluated: Callable[..., Any], tmp_path: Path
) -> None:
    text = (FOLDER / "pace_mixed.yace").read_text().replace("E0: [0, 0]", "E0: [-1.5, 2.25]")
    (tmp_path / "shifted.yace").write_text(text)
    found = evaluated(read_pace(tmp_path / "shifted.yace"), [Atoms("O"), Atoms("Si")], backend)
    np.testing.assert_array_equal(found.energies, [-1.5, 2.25])


def test_species_in_another_order_or_others(tmp_path: Path) -> None:
    path = FOLDER / "pace_mixed.yace"
    assert read_pace(path, ["Si", "O"]).formulation.species == ("O", "Si")
    with pytest.raises(ModelFileError, match=r"is for the species \['O', 'Si'\], but \['Si'\] were given"):
        read_pace(path, ["Si"])


def test_numbers_of_a_fit_are_no_part_of_the_program(tmp_path: Path) -> None:
    text = (FOLDER / "pace_bessel.yace").read_text()
    (tmp_path / "other.yace").write_text(text.replace("ctildes: [0.0", "ctildes: [0.1"))
    one, other = potential("bessel"), read_pace(tmp_path / "other.yace")
    assert one.formulation == other.formulation
    assert any(not np.array_equal(one.parameters[k], other.parameters[k]) for k in one.parameters)
