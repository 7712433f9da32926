"""`etn-gpu convert`, and several models evaluated side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk

import etn_gpu
from etn_gpu.plan import ProgramBuilder, Term
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import EdgeSum, EdgeSumBlock, Products
from etn_gpu.potential import Potential
from etn_gpu.potential.formulation import Formulation

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def model(factor: float) -> Potential:
    """Pairs of atoms with the energy factor (16 - r^2)^2 each."""
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    square = Products((3, 3, 1), ((0, 0, 0, 1.0), (1, 1, 0, 1.0), (2, 2, 0, 1.0)))
    builder.step("s", "edge", (Term(square, 2, ("x", "x")),))
    formula = Formula()
    pair = formula.functions([formula.variable.below(16.0, 0.5 * factor * (16.0 - formula.variable) ** 2, 0.0), 1.0])
    builder.step("f", "edge", (Term(pair, 1, ("s",)),))
    edge_sum = EdgeSum((2, 2, 1), (EdgeSumBlock(0, 1, 1, 1, 0),), 1, merged=True)
    builder.step("e", "atom", (Term(edge_sum, 2, ("f", "f")),))
    return Potential(Formulation("pairs", ("Cu",), 4.0, builder.build({"e": "e"})), {"E0": [-1.0]})


@pytest.fixture
def structures() -> Path:
    """A crystal labelled by the model with the factor 0.01."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    (result,) = model(0.01).evaluate([atoms])
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = result["energy"], result["forces"]
    ase.io.write("test.extxyz", [atoms])
    return Path("test.extxyz")


def test_a_model_becomes_a_model_file(run: Run) -> None:
    model(0.01).save("a.etn")
    finished = run("convert", "a.etn", "--output", "b.etn")
    assert finished.code == 0, finished.err
    assert "b.etn: Potential(Cu, pairs, cutoff 4 A, 1 parameters, float64)" in finished.out
    assert etn_gpu.load("b.etn").checksum() == etn_gpu.load("a.etn").checksum()
    refused = run("convert", "a.etn", "--output", "b.etn")
    assert refused.code == 2
    assert "b.etn exists" in refused.err
    assert run("convert", "a.etn", "--output", "b.csv").code == 2


def test_what_is_no_model_is_not_converted(run: Run, structures: Path) -> None:
    finished = run("convert", structures, "--output", "b.etn")
    assert finished.code == 2
    assert "test.extxyz is extended XYZ, structures and no model" in finished.err
    assert not Path("b.etn").exists()


def test_models_side_by_side(run: Run, structures: Path) -> None:
    for name, factor in (("a", 0.01), ("b", 0.011)):
        model(factor).save(f"{name}.etn")
    finished = run("evaluate", "a.etn", "b.etn", structures, "--json", "errors.json")
    assert finished.code == 0, finished.err
    assert "side by side" in finished.out
    assert "us/atom" in finished.out
    first, second = json.loads(Path("errors.json").read_text())["models"]
    assert (first["model"], second["model"]) == ("a.etn", "b.etn")
    assert first["energy"]["mae"] == pytest.approx(0.0, abs=1e-9)
    (atoms,) = ase.io.iread(structures)
    forces = 0.1 * np.abs(atoms.arrays["REF_forces"]).mean()
    assert second["forces"]["mae"] == pytest.approx(forces, rel=1e-5)


def test_models_need_structures(run: Run) -> None:
    model(0.01).save("a.etn")
    finished = run("evaluate", "a.etn", "a.etn")
    assert finished.code == 2
    assert "no structures were given to evaluate a.etn and a.etn on" in finished.err


def test_the_plan_of_a_program(run: Run) -> None:
    model(0.01).save("a.etn")
    finished = run("plan", "a.etn")
    assert finished.code == 0, finished.err
    assert "method                pairs, cutoff 4 A" in finished.out
    assert "energy                program" in finished.out


def test_there_and_back_again(run: Run) -> None:
    path = Path(__file__).parents[1] / "interop" / "references" / "mtp" / "alloy.mtp"
    lacking = run("convert", path, "--output", "pot.etn")
    assert lacking.code == 2
    assert "has types without names" in lacking.err
    assert run("convert", path, "--species", "Nb,Mo,Ta,W", "--output", "pot.etn").code == 0
    assert etn_gpu.load("pot.etn").species == ("Nb", "Mo", "Ta", "W")
    assert run("convert", "pot.etn", "--output", "again.mtp").code == 0
    assert Path("again.mtp").read_text() == path.read_text()
    refused = run("convert", "pot.etn", "--output", "again.yace")
    assert refused.code == 2
    assert "the potential is MTP" in refused.err
    zbl = run("convert", path, "--species", "Nb,Mo,Ta,W", "--zbl", "4,4.8", "--output", "z.etn")
    assert zbl.code == 2
    assert "the options zbl were given" in zbl.err
    assert run("convert", path, "--species", "Nb,Mo,Ta,W", "--zbl", "4", "--output", "z.etn").code == 2
