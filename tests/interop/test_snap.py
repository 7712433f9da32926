"""SNAP as a Program: derivatives, symmetry, isolated atoms, what the order of species does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.backend import run
from etn_gpu.interop.snap import translate
from etn_gpu.interop.snap_file import SnapElement, SnapFile
from etn_gpu.interop.translation import Translation
from etn_gpu.interop.zbl import ZBL
from etn_gpu.plan import jvp, prune, vjp
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import StructureBatch
from etn_gpu.symmetry import random_orthogonal
from tests.interop.snap_cases import CASES, seed

Evaluate = Callable[..., Any]
#: The same Programs as in test_snap_native.py, which are compiled once.
NAMES = ("alloy", "quadratic bzero", "chem quadratic", "inner")


def potential(name: str) -> Translation:
    case = CASES[name]
    return translate(case.file(seed(name)), case.species, ZBL(*case.zbl) if case.zbl else None)


def structure(name: str, number: int = 2) -> Atoms:
    return CASES[name].structures(seed(name))[number]


@pytest.mark.parametrize("name", [*NAMES, "no switch"])
def test_forces_are_derivatives_of_the_energy(name: str, backend: str, evaluated: Evaluate) -> None:
    translation, atoms = potential(name), structure(name)
    forces = evaluated(translation, [atoms], backend).forces
    direction = np.random.default_rng(0).normal(size=forces.shape)
    moved = []
    for step in (-2e-4, -1e-4, 1e-4, 2e-4):
        moved.append(atoms.copy())
        moved[-1].positions += step * direction
    found = evaluated(translation, moved, backend)
    e = np.add.reduceat(found.energies, found.offsets[:-1])
    slope = (8 * (e[2] - e[1]) - (e[3] - e[0])) / 12e-4
    assert -np.sum(forces * direction) == pytest.approx(slope, rel=1e-8, abs=1e-8)


def test_unequal_coefficients_of_equal_components(backend: str, evaluated: Evaluate) -> None:
    """Forces are derivatives where those of LAMMPS are none; the metadata say so."""
    case = CASES["chem"]
    file, rng = case.file(seed("chem")), np.random.default_rng(1)
    elements = tuple(
        replace(e, coefficients=tuple(c + 0.01 * float(rng.normal()) for c in e.coefficients)) for e in file.elements
    )
    translation = translate(replace(file, elements=elements), case.species)
    assert any("LAMMPS" in note and "forces" in note for note in translation.metadata["notes"])
    assert not any("forces" in note for note in potential("chem").metadata["notes"])
    assert not any("forces" in note for note in potential("chem quadratic").metadata["notes"])
    atoms = structure("chem")
    moved = [atoms.copy(), atoms.copy()]
    for one, step in zip(moved, (1e-5, -1e-5), strict=True):
        one.positions[0, 0] += step
    found = evaluated(translation, moved, backend)
    e = np.add.reduceat(found.energies, found.offsets[:-1])
    force = evaluated(translation, [atoms], backend).forces[0, 0]
    assert force == pytest.approx(-(e[0] - e[1]) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_energies_are_invariant_and_forces_turn(name: str, backend: str, evaluated: Evaluate) -> None:
    translation, atoms = potential(name), structure(name)
    rng = np.random.default_rng(5)
    before = evaluated(translation, [atoms], backend)
    for matrix in (random_orthogonal(rng), -np.eye(3)):
        turned = atoms.copy()
        turned.positions = atoms.positions @ matrix.T + rng.normal(size=3)
        after = evaluated(translation, [turned], backend)
        np.testing.assert_allclose(after.energies, before.energies, rtol=0, atol=1e-11)
        np.testing.assert_allclose(after.forces, before.forces @ matrix.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["alloy", "quadratic bzero", "chem", "chem quadratic"])
def test_references_are_energies_of_isolated_atoms(name: str, backend: str, evaluated: Evaluate) -> None:
    """Of an atom alone only the unit matrix is left: B = 2 j + 1, or 1 where it is normalised."""
    case, translation = CASES[name], potential(name)
    species = translation.formulation.species
    found = evaluated(translation, [Atoms(s, positions=[[0, 0, 0]]) for s in species], backend)
    np.testing.assert_array_equal(found.energies, translation.references)
    if case.settings.bzeroflag:
        by_name = {e.name: e.coefficients[0] for e in case.file(seed(name)).elements}
        np.testing.assert_array_equal(translation.references, [by_name[s] for s in species])


def test_hessian_products_are_derivatives_of_forces() -> None:
    for name in ("quadratic bzero", "inner"):
        translation, atoms = potential(name), structure(name)
        form = translation.formulation
        batch = StructureBatch.build([atoms], form.species, form.cutoff)
        geometry = Environments.of(batch).geometry
        given = {**translation.parameters, "e_bar": np.ones((batch.n_atoms, 1))}
        gradient = vjp(form.energy, {"e": "e_bar"}, {"x": "g"})
        dx = np.random.default_rng(2).normal(size=batch.vectors.shape)
        product = prune(jvp(gradient, {"x": "dx"}), ("d_g",))
        exact = run(product, {**given, "x": batch.vectors, "dx": dx}, geometry, backend="numpy")["d_g"]
        steps = [
            run(gradient, {**given, "x": batch.vectors + h * dx}, geometry, backend="numpy")["g"]
            for h in (-2e-4, -1e-4, 1e-4, 2e-4)
        ]
        slope = (8 * (steps[2] - steps[1]) - (steps[3] - steps[0])) / 12e-4
        np.testing.assert_allclose(exact, slope, rtol=1e-6, atol=1e-6 * np.max(np.abs(exact)))


def test_the_order_of_species_matters_for_blocks_and_lists_only() -> None:
    atoms = structure("alloy")
    plain = CASES["alloy"].file(seed("alloy"))
    assert _energy(plain, ("Mo", "Nb", "Ta"), atoms) == pytest.approx(
        _energy(plain, ("Ta", "Mo", "Nb"), atoms), abs=1e-12
    )
    inner = CASES["inner"].file(seed("inner"))
    atoms = structure("inner")
    assert abs(_energy(inner, ("Ta", "Mo"), atoms) - _energy(inner, ("Mo", "Ta"), atoms)) > 1e-4
    assert translate(inner, ("Ta", "Mo")).metadata["species_order_matters"]
    assert not translate(plain).metadata["species_order_matters"]


def test_the_repulsion_is_that_of_two_nuclei() -> None:
    """Close together, E = K Z Z / r phi(r / a), but for a constant."""
    silent = SnapFile((SnapElement("W", 0.5, 1.0, (0.0, 0.0)),), replace(CASES["linear"].settings, twojmax=0))
    r = np.array([0.3, 0.5])
    dimers = [Atoms("W2", positions=[[0, 0, 0], [0, 0, d]]) for d in r]
    energies = [_energy(silent, ("W",), atoms, ZBL(2.0, 3.0)) for atoms in dimers]
    x = r * 2 * 74**0.23 / 0.4685
    phi = sum(
        c * np.exp(-d * x) for c, d in ((0.02817, 0.20162), (0.28022, 0.4029), (0.50986, 0.94229), (0.18175, 3.1998))
    )
    expected = 14.399645 * 74**2 / r * phi
    assert energies[0] - energies[1] == pytest.approx(expected[0] - expected[1], rel=1e-12)
    apart = Atoms("W2", positions=[[0, 0, 0], [0, 0, 3.0 - 1e-4]])
    assert abs(_energy(silent, ("W",), apart, ZBL(2.0, 3.0))) < 1e-9


def _energy(file: SnapFile, species: tuple[str, ...], atoms: Atoms, zbl: ZBL | None = None) -> float:
    translation = translate(file, species, zbl)
    form = translation.formulation
    batch = StructureBatch.build([atoms], form.species, form.cutoff)
    inputs = {**translation.parameters, "x": batch.vectors}
    e = run(form.energy, inputs, Environments.of(batch).geometry, backend="numpy")["e"][:, 0]
    return float(np.sum(e + translation.references[batch.species_index]))
