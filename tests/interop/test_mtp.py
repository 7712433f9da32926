"""Moment tensor potentials against motep, and against what every potential keeps."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu.backend import run
from etn_gpu.interop.mtp import mtp_file, read_mtp, translate, write_mtp
from etn_gpu.interop.mtp_file import MtpFile, read_mtp_file
from etn_gpu.interop.mtp_moments import moments_of
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import jvp, vjp
from etn_gpu.plan.operations import EdgeSum, Products
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import StructureBatch

from .mtp_cases import CASES, COUNT, REAL, Tables, level_8, structures

REFERENCES = Path(__file__).parent / "references"
Evaluate = Callable[..., Any]


@lru_cache
def references(name: str) -> list[dict[str, Any]]:
    content = json.loads(gzip.decompress((REFERENCES / "mtp.json.gz").read_bytes()))
    found: list[dict[str, Any]] = content[name]
    return found


@lru_cache
def made(name: str) -> Translation:
    return read_mtp(REFERENCES / "mtp" / f"{name}.mtp", species=CASES[name].species)


def compare(evaluated: Evaluate, translation: Translation, atoms: Sequence[Atoms], name: str, backend: str) -> None:
    found = evaluated(translation, atoms, backend)
    expected = references(name)[: len(atoms)]
    energies = np.add.reduceat(found.energies, found.offsets[:-1])
    for k, (structure, reference) in enumerate(zip(atoms, expected, strict=True)):
        assert energies[k] == pytest.approx(reference["energy"], rel=0, abs=1e-9 * len(structure)), k
        forces = found.forces[found.offsets[k] : found.offsets[k + 1]]
        np.testing.assert_allclose(forces, reference["forces"], rtol=0, atol=1e-8, err_msg=str(k))
        if structure.pbc.all():
            np.testing.assert_allclose(found.stresses[k], reference["stress"], rtol=0, atol=1e-9, err_msg=str(k))


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_motep(name: str, backend: str, evaluated: Evaluate) -> None:
    atoms = structures(CASES[name].species, 14, CASES[name].seed)
    compare(evaluated, made(name), atoms, name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_motep_on_all_structures(name: str, backend: str, evaluated: Evaluate) -> None:
    compare(evaluated, made(name), structures(CASES[name].species, COUNT[name], CASES[name].seed), name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_published_potentials_agree_with_motep(name: str, backend: str, evaluated: Evaluate) -> None:
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if not folder:
        pytest.skip("ETN_GPU_POTENTIALS names no folder of published potentials")
    species = REAL[name]
    translation = read_mtp(Path(folder) / name, species=species)
    compare(evaluated, translation, structures(species, COUNT[name], 7), name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_references_are_what_motep_gives(name: str) -> None:
    pytest.importorskip("motep")
    from .make_mtp_references import motep_references

    found = motep_references(REFERENCES / "mtp" / f"{name}.mtp", CASES[name].species, 7, CASES[name].seed)
    for new, stored in zip(found, references(name), strict=False):
        assert new["energy"] == pytest.approx(stored["energy"], rel=1e-12)
        np.testing.assert_allclose(new["forces"], stored["forces"], rtol=0, atol=1e-11)


def test_all_structures_are_two_hundred() -> None:
    assert sum(COUNT.values()) == 200


def cell(name: str, number: int = 1) -> Atoms:
    """A rattled crystal of the elements of a case."""
    return structures(CASES[name].species, number + 1, 11)[number]


def energy(evaluated: Evaluate, translation: Translation, atoms: Atoms, backend: str) -> float:
    return float(evaluated(translation, [atoms], backend).energies.sum())


def test_forces_are_derivatives_of_the_energy(backend: str, evaluated: Evaluate) -> None:
    translation, atoms, h = made("oxide"), cell("oxide"), 1e-4
    moved = []
    for i, axis, sign in [(i, axis, sign) for i in range(2) for axis in range(3) for sign in (1, -1)]:
        copy = atoms.copy()
        copy.positions[i, axis] += sign * h
        moved.append(copy)
    found = evaluated(translation, [atoms, *moved], backend)
    totals = np.add.reduceat(found.energies, found.offsets[:-1])[1:].reshape(2, 3, 2)
    expected = -(totals[..., 0] - totals[..., 1]) / (2 * h)
    np.testing.assert_allclose(found.forces[:2], expected, rtol=0, atol=1e-6)


def test_stress_is_the_derivative_by_strain(backend: str, evaluated: Evaluate) -> None:
    translation, atoms, h = made("oxide"), cell("oxide"), 1e-5
    voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    strained = []
    for (a, b), sign in [(pair, sign) for pair in voigt for sign in (1, -1)]:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * sign * h
        strain[b, a] += 0.5 * sign * h
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        strained.append(copy)
    found = evaluated(translation, [atoms, *strained], backend)
    totals = np.add.reduceat(found.energies, found.offsets[:-1])[1:].reshape(6, 2)
    expected = (totals[:, 0] - totals[:, 1]) / (2 * h) / atoms.get_volume()
    np.testing.assert_allclose(found.stresses[0], expected, rtol=0, atol=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_energies_do_not_change_with_rotation_inversion_translation_and_order(seed: int) -> None:
    from .conftest import evaluate_translation

    random = np.random.RandomState(seed)
    rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
    atoms = cell("oxide", random.randint(6))
    order = random.permutation(len(atoms))
    moved = Atoms(
        atoms.numbers, atoms.positions @ rotation + random.uniform(-3, 3, 3), cell=atoms.cell.array @ rotation
    )
    moved.pbc = atoms.pbc
    found = evaluate_translation(made("oxide"), [atoms, moved[order]], "numpy")
    n = len(atoms)
    np.testing.assert_allclose(found.energies[n:], found.energies[:n][order], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.forces[n:], (found.forces[:n] @ rotation)[order], rtol=0, atol=1e-10)


def test_derivatives_along_a_direction_come_from_the_program(backend: str) -> None:
    translation, atoms, h = made("level8"), cell("level8"), 1e-5
    form = translation.formulation
    batch = StructureBatch.build([atoms], form.species, form.cutoff)
    geometry = Environments.of(batch).geometry
    dx = np.random.RandomState(3).standard_normal(batch.vectors.shape)
    program = jvp(form.energy, {"x": "dx"})
    given = {**translation.parameters, "dx": dx}
    out = [
        run(program, {"x": batch.vectors + shift * dx, **given}, geometry, backend=backend) for shift in (0.0, h, -h)
    ]
    np.testing.assert_allclose(out[0]["d_e"], (out[1]["e"] - out[2]["e"]) / (2 * h), rtol=0, atol=1e-6)


def test_the_numbers_of_the_file_have_gradients(backend: str) -> None:
    """What training needs."""
    translation, atoms, h = made("alloy"), cell("alloy"), 1e-6
    form, random = translation.formulation, np.random.RandomState(4)
    batch = StructureBatch.build([atoms], form.species, form.cutoff)
    geometry = Environments.of(batch).geometry
    inputs = {"x": batch.vectors, "e_bar": np.ones((batch.n_atoms, 1))}
    program = vjp(form.energy, {"e": "e_bar"}, {name: f"{name}_bar" for name in translation.parameters})
    direction = {name: random.standard_normal(values.shape) for name, values in translation.parameters.items()}
    totals = []
    for step in (h, -h):
        moved = {name: values + step * direction[name] for name, values in translation.parameters.items()}
        totals.append(run(form.energy, {"x": batch.vectors, **moved}, geometry, backend="numpy")["e"].sum())
    out = run(program, {**inputs, **translation.parameters}, geometry, backend=backend)
    found = sum(float(out[f"{name}_bar"].ravel() @ along) for name, along in direction.items())
    assert found == pytest.approx((totals[0] - totals[1]) / (2 * h), rel=1e-6)


def test_pairs_follow_the_formula(backend: str, evaluated: Evaluate) -> None:
    """Below min_dist as well, where nothing is clamped, and from max_dist on nothing is left."""
    file = read_mtp_file(REFERENCES / "mtp" / "pair.mtp")
    distance = np.array([0.9, 1.9, 2.0, 3.3, 5.99, 6.0, 6.5])
    atoms = [Atoms("Ar2", [[0, 0, 0], [0.36 * d, -0.48 * d, 0.8 * d]]) for d in distance]
    xi = (2 * distance - file.min_dist - file.max_dist) / (file.max_dist - file.min_dist)
    f = (
        file.scaling
        * np.polynomial.chebyshev.chebval(xi, file.radial_coeffs[0, 0, 0])
        * (distance - file.max_dist) ** 2
    )
    expected = file.species_coeffs[0] + file.moment_coeffs[0] * np.where(distance < file.max_dist, f, 0.0)
    found = evaluated(made("pair"), atoms, backend)
    np.testing.assert_allclose(found.energies, np.repeat(expected, 2), rtol=1e-12, atol=1e-12)


def test_atoms_without_neighbours_have_their_species_coefficient(backend: str, evaluated: Evaluate) -> None:
    atoms = Atoms("AlNb", [[0, 0, 0], [0, 0, 9]])
    found = evaluated(made("alloy"), [atoms], backend)
    assert found.energies.tolist() == made("alloy").references[[0, 3]].tolist()
    assert not found.forces.any()


def test_an_atom_does_not_see_the_others_of_a_batch(backend: str, evaluated: Evaluate) -> None:
    atoms = structures(CASES["alloy"].species, 7, 5)
    together = evaluated(made("alloy"), atoms, backend)
    for k in (0, 4, 6):
        alone = evaluated(made("alloy"), [atoms[k]], backend)
        assert np.array_equal(alone.energies, together.energies[together.offsets[k] : together.offsets[k + 1]])
        assert np.array_equal(alone.forces, together.forces[together.offsets[k] : together.offsets[k + 1]])


def test_single_precision(backend: str, evaluated: Evaluate) -> None:
    atoms = structures(CASES["level8"].species, 4, 5)
    double, single = (evaluated(made("level8"), atoms, backend, dtype) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(single.energies, double.energies, rtol=0, atol=1e-5)
    np.testing.assert_allclose(single.forces, double.forces, rtol=0, atol=1e-4)


def test_species_are_named_in_the_order_of_the_types(evaluated: Evaluate) -> None:
    path = REFERENCES / "mtp" / "oxide.mtp"
    other = read_mtp(path, species=["O", "mg"])
    atoms = cell("oxide")
    swapped = atoms.copy()
    swapped.numbers = np.where(atoms.numbers == 8, 12, 8)
    assert other.formulation.species == ("O", "Mg")
    expected = energy(evaluated, made("oxide"), atoms, "numpy")
    assert energy(evaluated, other, swapped, "numpy") == pytest.approx(expected, abs=1e-12)


def test_only_what_the_energy_needs_is_computed() -> None:
    file = CASES["oxide"].file()
    moments = moments_of(file)
    made_ = sum(level.size for level in moments.levels[1:])
    assert made_ == file.alpha_moments_count - len(file.alpha_index_basic) - 1  # vector . vector
    assert len(moments.levels) == 4
    steps = {step.out.name: step for step in made("oxide").formulation.energy.steps}
    (sums,) = (t.operation for t in steps["sums"].terms)
    assert isinstance(sums, EdgeSum)
    assert [b.dim for b in sums.blocks] == [1, 3, 5, 7, 9, 11]  # monomials with z^0 and z^1
    alone = moments_of(_with(file, alpha_moment_mapping=np.array([0]), moment_coeffs=np.ones(1)))
    assert [level.size for level in alone.levels] == [1]


def _with(file: MtpFile, **changes: Any) -> MtpFile:
    return MtpFile(**{**vars(file), **changes})


def _simple(times: list[tuple[int, int, int, int]], scalars: list[int], coefficients: list[float]) -> Translation:
    tables = level_8()
    mine = Tables(tables.basic, times, scalars, len(tables.basic) + 4)
    file = CASES["level8"].file()
    changed = _with(
        file,
        alpha_index_times=np.array(mine.times, np.int64).reshape(-1, 4),
        alpha_moment_mapping=np.array(mine.scalars),
        alpha_moments_count=mine.count,
        moment_coeffs=np.array(coefficients),
    )
    return translate(changed, ("Cu",))


def test_rows_of_the_same_product_add_up(backend: str, evaluated: Evaluate) -> None:
    one = _simple([(0, 10, 1, 11), (10, 0, 2, 11), (0, 10, 3, 11), (4, 4, 0, 12)], [11], [0.5])
    other = _simple([(10, 0, 6, 12)], [12], [0.5])
    rows = [t.operation.rows for s in one.formulation.energy for t in s.terms if isinstance(t.operation, Products)]
    assert sum(len(r) for r in rows if len(r) == 1) == 1
    atoms = cell("level8")
    expected = evaluated(other, [atoms], backend).energies
    np.testing.assert_allclose(evaluated(one, [atoms], backend).energies, expected, rtol=0, atol=1e-13)


def test_a_moment_may_be_in_the_energy_twice_and_one_to_which_nothing_adds_is_zero(evaluated: Evaluate) -> None:
    twice = _simple([(0, 0, 1, 11), (0, 14, 1, 12)], [11, 0, 14, 11, 12], [0.5, 0.25, 7.0, -0.125, 3.0])
    once = _simple([(0, 0, 1, 11)], [0, 11], [0.25, 0.375])
    atoms = cell("level8")
    found, expected = (energy(evaluated, t, atoms, "numpy") for t in (twice, once))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_is_written_back_to_the_last_digit(name: str, tmp_path: Path) -> None:
    path = REFERENCES / "mtp" / f"{name}.mtp"
    write_mtp(tmp_path / "again.mtp", made(name))
    assert (tmp_path / "again.mtp").read_text() == path.read_text()
    metadata = json.loads(json.dumps(dict(made(name).metadata)))
    file = mtp_file(Translation(made(name).formulation, made(name).parameters, made(name).references, metadata))
    assert np.array_equal(file.radial_coeffs, CASES[name].file().radial_coeffs)


def test_programs_depend_on_the_architecture_only() -> None:
    file = CASES["alloy"].file()
    other = _with(file, radial_coeffs=2 * file.radial_coeffs, scaling=0.1, moment_coeffs=-file.moment_coeffs)
    first, second = (translate(f, CASES["alloy"].species).formulation for f in (file, other))
    assert first.energy.digest == second.energy.digest
