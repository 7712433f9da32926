"""NEP potentials against the numbers of calorine (references/nep.json.gz), and as functions of positions."""

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
from numpy.typing import NDArray

from etn_gpu.backend import Geometry, run
from etn_gpu.errors import ModelFileError
from etn_gpu.interop.nep import read_nep
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import jvp, vjp
from etn_gpu.symmetry import random_orthogonal
from tests.interop.make_nep_references import native
from tests.interop.nep_cases import CASES, FILES, MADE, PUBLISHED, potential_text, structures

Evaluate = Callable[..., Any]
#: Made potentials that compiled code is tried on at once: every branch of the Program is in one of them.
COMPILED = ("cutoffs of species", "same cutoffs", "flexible repulsion")


@cache
def references() -> dict[str, list[dict[str, Any]]]:
    path = Path(__file__).with_name("references") / "nep.json.gz"
    found: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(path.read_bytes()))
    return found


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Translation]:
    """``made(name, species)``: the made potential of that name."""
    folder = tmp_path_factory.mktemp("nep")

    def read(name: str, species: list[str] | None = None) -> Translation:
        path = folder / f"{name}.txt"
        path.write_text(potential_text(name))
        return read_nep(path, species)

    return read


def compare(evaluated: Evaluate, translation: Translation, cases: list[Atoms], name: str, backend: str) -> None:
    wanted = references()[name]
    found = evaluated(translation, cases, backend)
    for k, atoms in enumerate(cases):
        here = slice(found.offsets[k], found.offsets[k + 1])
        np.testing.assert_allclose(found.energies[here], wanted[k]["energies"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.forces[here], wanted[k]["forces"], rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.stresses[k], wanted[k]["stress"], rtol=0, atol=1e-9, err_msg=str(atoms))


@pytest.mark.parametrize("name", CASES)
def test_oracle_agrees_with_calorine(name: str, made: Callable[..., Translation], evaluated: Evaluate) -> None:
    seed = list(CASES).index(name)
    compare(evaluated, made(name), structures(CASES[name].species, 8, seed), name, "numpy")


@pytest.mark.parametrize("name", COMPILED)
def test_backends_agree_with_calorine(
    name: str, made: Callable[..., Translation], evaluated: Evaluate, backend: str
) -> None:
    seed = list(CASES).index(name)
    compare(evaluated, made(name), structures(CASES[name].species, 8, seed), name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_all_structures(name: str, made: Callable[..., Translation], evaluated: Evaluate, backend: str) -> None:
    seed = list(CASES).index(name)
    compare(evaluated, made(name), structures(CASES[name].species, MADE, seed), name, backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_where_calorine_is_installed(name: str, evaluated: Evaluate, tmp_path: Path) -> None:
    pytest.importorskip("_nepy", reason="calorine is not installed")
    path = tmp_path / "nep.txt"
    path.write_text(potential_text(name))
    for atoms in structures(CASES[name].species, 8, 1000):
        wanted, found = native(path, atoms), evaluated(read_nep(path), [atoms], "numpy")
        np.testing.assert_allclose(found.energies, wanted["energies"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.forces, wanted["forces"], rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.stresses[0], wanted["stress"], rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_published_potentials(name: str, evaluated: Evaluate, backend: str) -> None:
    if not (folder := os.environ.get("ETN_GPU_POTENTIALS")):
        pytest.skip("ETN_GPU_POTENTIALS does not name a folder of published potentials")
    seed = 100 + list(FILES).index(name)
    cases = structures(FILES[name], PUBLISHED, seed)
    compare(evaluated, read_nep(Path(folder) / "nep" / name), cases, name, backend)


def test_single_precision(made: Callable[..., Translation], evaluated: Evaluate, backend: str) -> None:
    cases = structures(CASES["same cutoffs"].species, 3, 0)
    exact, rough = (evaluated(made("same cutoffs"), cases, backend, dtype) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(rough.energies, exact.energies, rtol=0, atol=2e-5)
    np.testing.assert_allclose(rough.forces, exact.forces, rtol=0, atol=2e-4)


def test_an_atom_alone_has_the_reference_energy(made: Callable[..., Translation], evaluated: Evaluate) -> None:
    for name in ("some couplings", "shared network"):
        translation = made(name)
        atoms = [Atoms(s, cell=[30.0] * 3, pbc=True) for s in translation.formulation.species]
        energies = evaluated(translation, atoms, "numpy").energies
        np.testing.assert_allclose(energies, translation.references, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["all couplings", "same cutoffs", "flexible repulsion"])
def test_forces_are_finite_differences(name: str, made: Callable[..., Translation], evaluated: Evaluate) -> None:
    translation, h = made(name), 1e-4
    (atoms,) = structures(CASES[name].species, 5, 7)[4:]
    forces = evaluated(translation, [atoms], "numpy").forces
    moved = []
    for atom, axis, sign in np.ndindex(3, 3, 2):
        moved.append(atoms.copy())
        moved[-1].positions[atom, axis] += h * (1 - 2 * sign)
    found = evaluated(translation, moved, "numpy")
    totals = np.add.reduceat(found.energies, found.offsets[:-1]).reshape(3, 3, 2)
    slopes = (totals[..., 0] - totals[..., 1]) / (2 * h)
    np.testing.assert_allclose(forces[:3], -slopes, rtol=1e-5, atol=1e-6)


def test_curvature_is_a_finite_difference(made: Callable[..., Translation], backend: str) -> None:
    energy = made("same cutoffs").formulation.energy
    rng = np.random.default_rng(3)
    geometry = Geometry(np.array([0, 3, 6]), np.array([0, 1], np.int32), np.array([0, 0, 1, 0, 1, 1], np.int32))
    x, dx = rng.normal(0, 1.4, (2, 6, 3))
    parameters = made("same cutoffs").parameters
    gradient = vjp(energy, {"e": "e_bar"}, {"x": "g"})
    weights = {"e_bar": np.ones((2, 1)), **parameters}
    along = jvp(gradient, {"x": "dx"})
    d_g = run(along, {"x": x, "dx": dx, **weights}, geometry, backend=backend)["d_g"]
    h = 1e-5
    g = [run(gradient, {"x": x + s * h * dx, **weights}, geometry, backend="numpy")["g"] for s in (1, -1)]
    np.testing.assert_allclose(d_g, (g[0] - g[1]) / (2 * h), rtol=1e-6, atol=1e-6)


def test_rotated_mirrored_and_shifted(made: Callable[..., Translation], evaluated: Evaluate) -> None:
    translation, rng = made("all couplings"), np.random.default_rng(5)
    cases = structures(CASES["all couplings"].species, 6, 3)
    before = evaluated(translation, cases, "numpy")
    for proper in (True, False):
        turn: NDArray[np.float64] = random_orthogonal(rng)
        turn = turn * np.linalg.det(turn) * (1.0 if proper else -1.0)
        turned = [Atoms(a.numbers, a.positions @ turn.T + 0.3, cell=a.cell @ turn.T, pbc=True) for a in cases]
        after = evaluated(translation, turned, "numpy")
        np.testing.assert_allclose(after.energies, before.energies, rtol=0, atol=1e-12)
        np.testing.assert_allclose(after.forces, before.forces @ turn.T, rtol=0, atol=1e-11)


def test_bits_do_not_depend_on_the_batch(made: Callable[..., Translation], evaluated: Evaluate, backend: str) -> None:
    translation, species = made("cutoffs of species"), CASES["cutoffs of species"].species
    cases = [a for k in range(4) for a in structures(species[k % 3 : k % 3 + 1 + k // 3], 4, k)]
    together = evaluated(translation, cases, backend)
    for k, atoms in enumerate(cases):
        alone = evaluated(translation, [atoms], backend)
        here = slice(together.offsets[k], together.offsets[k + 1])
        np.testing.assert_array_equal(alone.energies, together.energies[here])
        np.testing.assert_array_equal(alone.forces, together.forces[here])


def test_chosen_species(made: Callable[..., Translation], evaluated: Evaluate, backend: str) -> None:
    name, chosen = "flexible repulsion", ["V", "W"]
    cases = structures(tuple(chosen), 4, 9)
    whole, part = (evaluated(made(name, s), cases, backend if s else "numpy") for s in (None, chosen))
    np.testing.assert_allclose(part.energies, whole.energies, rtol=0, atol=1e-12)
    np.testing.assert_allclose(part.forces, whole.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(part.stresses, whole.stresses, rtol=0, atol=1e-12)
    assert made("cutoffs of species", ["Na"]).formulation.cutoff == 4.0
    with pytest.raises(ModelFileError, match="has no Xe: its species are W Ti V"):
        made(name, ["Xe"])
    with pytest.raises(ModelFileError, match="one or more different ones"):
        made(name, [])
