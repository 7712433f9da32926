"""Potentials of every kind, from a file to results, by the one function that loads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu.errors import ModelFileError
from etn_gpu.interop.loading import is_model, lacks_species, takes_species
from etn_gpu.interop.saving import save_as
from etn_gpu.interop.snap import write_snap
from etn_gpu.potential import Potential, load
from tests.interop.mtp_cases import CASES as MTP
from tests.interop.nep_cases import potential_text
from tests.interop.snap_cases import CASES as SNAP
from tests.interop.snap_cases import seed

REFERENCES = Path(__file__).parent / "references"


@dataclass(frozen=True)
class Given:
    """A file, what `etn_gpu.load` must be told besides, and the elements that come out."""

    path: Path
    options: dict[str, Any]
    species: tuple[str, ...]


def mtp(folder: Path) -> Given:
    species = tuple(MTP["alloy"].species)
    return Given(REFERENCES / "mtp" / "alloy.mtp", {"species": species}, species)


def snap(folder: Path) -> Given:
    case = SNAP["linear"]
    write_snap(case.file(seed("linear")), folder / "w.snapcoeff")
    return Given(folder / "w.snapcoeff", {"zbl": (2.0, 3.4)}, ("W",))


def snap_parameters(folder: Path) -> Given:
    given = snap(folder)
    return Given(given.path.with_suffix(".snapparam"), given.options, given.species)


def nep(folder: Path) -> Given:
    path = folder / "nep.txt"
    path.write_text(potential_text("one species"))
    return Given(path, {}, etn_gpu.load(path).species)


def pace(folder: Path) -> Given:
    return Given(REFERENCES / "pace_linear.yace", {}, ("Mg",))


KINDS: dict[str, Callable[[Path], Given]] = {
    "MTP": mtp, "SNAP": snap, "SNAP parameters": snap_parameters, "NEP": nep, "PACE": pace,
}  # fmt: skip


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Given:
    return KINDS[request.param](tmp_path)


def crystal(species: tuple[str, ...]) -> Atoms:
    atoms = bulk("Cu", "bcc", a=3.2, cubic=True) * (2, 1, 1)
    atoms.symbols = [species[k % len(species)] for k in range(len(atoms))]
    atoms.rattle(0.1, seed=1)
    return atoms


def test_loads_evaluates_and_is_saved_exactly(given: Given, tmp_path: Path) -> None:
    model = etn_gpu.load(given.path, **given.options)
    assert type(model) is Potential
    assert model.species == given.species
    atoms = crystal(model.species)
    (result,) = model.evaluate([atoms])
    assert np.isfinite(result["energy"])
    assert result["forces"].shape == (4, 3)
    model.save(tmp_path / "model.etn")
    again = etn_gpu.load(tmp_path / "model.etn")
    assert again.form == model.form
    assert again.evaluate([atoms])[0]["energy"] == result["energy"]
    (single,) = model.evaluate([atoms], dtype="float32")
    np.testing.assert_allclose(single["forces"], result["forces"], atol=1e-3 * (1 + np.abs(result["forces"]).max()))
    (oracle,) = model.evaluate([atoms], backend="numpy")
    assert oracle["energy"] == pytest.approx(result["energy"], abs=1e-9)
    assert str(model.plan_report()).startswith(f"method                {model.form.described}")


def test_calculator_and_hessian_products(given: Given) -> None:
    model = etn_gpu.load(given.path, **given.options)
    atoms = crystal(model.species)
    atoms.calc = etn_gpu.ETNCalculator(model)
    direction = np.random.default_rng(0).normal(size=(4, 3))
    h = 1e-4
    energies = []
    for step in (-h, h):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions += step * direction
        energies.append(moved.get_potential_energy())
    slope = (energies[1] - energies[0]) / (2 * h)
    assert -np.sum(atoms.get_forces() * direction) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_the_kind_is_told_by_content(given: Given, tmp_path: Path) -> None:
    assert is_model(given.path)
    assert not is_model(tmp_path / "nothing")
    assert lacks_species(given.path) == given.path.name.endswith(".mtp")
    if given.path.suffix in (".mtp", ".yace"):
        renamed = tmp_path / "potential.txt"
        renamed.write_bytes(given.path.read_bytes())
        assert etn_gpu.load(renamed, **given.options).species == given.species


def test_what_is_missing_or_too_much(tmp_path: Path) -> None:
    path = mtp(tmp_path).path
    with pytest.raises(ModelFileError, match="has types without names: say which elements they are"):
        etn_gpu.load(path)
    with pytest.raises(ModelFileError, match=r"the options zbl were given for .*an MTP potential .*expected none"):
        etn_gpu.load(path, species=MTP["alloy"].species, zbl=(1.0, 2.0))
    with pytest.raises(ModelFileError, match=r"but .*Cu.* were given"):
        etn_gpu.load(pace(tmp_path).path, species=["Cu"])
    with pytest.raises(ModelFileError, match="is an MTP potential"):
        load(path)
    assert takes_species(path)
    assert not takes_species(pace(tmp_path).path)
    assert not takes_species("nbmotaw")


def test_a_potential_relaxes_and_screens(tmp_path: Path) -> None:
    given = mtp(tmp_path)
    model = etn_gpu.load(given.path, **given.options)
    report = etn_gpu.screen(model, [[crystal(model.species)]], tmp_path / "rows.csv")
    assert sum(report.counts.values()) == 1
    calculator = etn_gpu.ETNCalculator(given.path, species=given.species)
    assert calculator.model.species == model.species


@pytest.mark.parametrize("kind", ["MTP", "SNAP", "PACE"])
def test_files_of_their_own_method_from_model_files(tmp_path: Path, kind: str) -> None:
    given = KINDS[kind](tmp_path)
    model = etn_gpu.load(given.path, **given.options)
    model.save(tmp_path / "model.etn")
    again = tmp_path / f"again{given.path.suffix}"
    save_as(etn_gpu.load(tmp_path / "model.etn"), again)
    assert again.read_text() == given.path.read_text()
    assert etn_gpu.load(again, **given.options).form == model.form


def test_only_their_own(tmp_path: Path) -> None:
    model = etn_gpu.load(pace(tmp_path).path)
    with pytest.raises(ModelFileError, match=r"is PACE, cutoff .*, and \.mtp is that of MTP"):
        save_as(model, tmp_path / "a.mtp")
    with pytest.raises(ModelFileError, match=r"and \.txt is that of no method that is written"):
        save_as(model, tmp_path / "a.txt")
    assert not list(tmp_path.glob("a.*"))
