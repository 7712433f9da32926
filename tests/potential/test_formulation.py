"""Potentials of other methods: a Program with its numbers evaluates, is saved and loaded as networks are."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from safetensors import safe_open

import etn_gpu
from etn_gpu.errors import ModelFileError, NetworkError
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import EdgeSum, EdgeSumBlock, Mix, MixBlock, PairTable, Products
from etn_gpu.potential import Potential, file, load, size
from etn_gpu.potential.formulation import Formulation
from etn_gpu.potential.selfcheck import check_structures

CUTOFF, SIGMA, EPSILON = 5.5, 2.3, 0.4


def lennard_jones(species: int = 1) -> Program:
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6), shifted to zero at the cutoff, with epsilon of the pair of species."""
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    builder.input("epsilon", "param", species**2)
    square = Products((3, 3, 1), ((0, 0, 0, 1.0), (1, 1, 0, 1.0), (2, 2, 0, 1.0)))
    builder.step("s", "edge", (Term(square, 2, ("x", "x")),))
    formula = Formula()
    sixth = SIGMA**6 * formula.variable**-3.0
    shift = (SIGMA / CUTOFF) ** 12 - (SIGMA / CUTOFF) ** 6
    pair = formula.variable.below(CUTOFF**2, 2.0 * (sixth * sixth - sixth - shift), 0.0)
    builder.step("f", "edge", (Term(formula.functions([pair]), 1, ("s",)),))
    builder.step("k", "edge", (Term(PairTable(1, species), 1, ("epsilon",)),))
    edge_sum = EdgeSum((1, 1, 1), (EdgeSumBlock(0, 1, 0, 1, 0),), 1, merged=True)
    builder.step("e", "atom", (Term(edge_sum, 2, ("f", "k")),))
    return builder.build({"e": "e"})


def potential(*symbols: str) -> Potential:
    n = len(symbols)
    form = Formulation("Lennard-Jones", symbols, CUTOFF, lennard_jones(n))
    epsilon = EPSILON * (1.0 + 0.1 * np.add.outer(np.arange(n), np.arange(n)))
    return Potential(form, {"epsilon": epsilon.ravel(), "E0": -np.arange(float(n))}, metadata={"name": "noble"})


def crystal() -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_results_are_those_of_the_same_potential_elsewhere(backend: str) -> None:
    atoms = crystal()
    (found,) = potential("Cu").evaluate([atoms], backend=backend)
    atoms.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF)
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-10)
    np.testing.assert_allclose(found["stress"], atoms.get_stress(), atol=1e-12)
    assert "extrapolation_grade" not in found


def test_species_and_references_count(backend: str) -> None:
    model = potential("Cu", "Au")
    atoms = crystal()
    atoms.symbols[[0, 3]] = "Au"
    (found,) = model.evaluate([atoms], backend=backend)
    (expected,) = model.evaluate([atoms], backend="numpy")
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-10)
    (all_gold,) = model.evaluate([Atoms(["Au"] * len(atoms), atoms.positions, cell=atoms.cell, pbc=True)])
    (copper,) = potential("Cu").evaluate([crystal()])
    assert all_gold["energy"] == pytest.approx(1.2 * copper["energy"] - len(atoms), abs=1e-9)


def test_everything_that_takes_networks_takes_it(tmp_path: Path) -> None:
    model = potential("Cu")
    atoms = crystal()
    atoms.calc = etn_gpu.ETNCalculator(model)
    assert atoms.get_potential_energy() == pytest.approx(model.evaluate([crystal()])[0]["energy"])
    (relaxed,) = etn_gpu.relax(model, [crystal()], cell="full", fmax=0.01)
    assert relaxed.status == "converged"
    report = etn_gpu.screen(model, [[crystal()]], tmp_path / "rows.csv")
    assert report.counts["ok"] == 1
    assert "Lennard-Jones, cutoff 5.5 A" in str(model.plan_report())
    assert repr(model) == "Potential(Cu, Lennard-Jones, cutoff 5.5 A, 2 parameters, float64)"
    assert pickle.loads(pickle.dumps(model)).evaluate([crystal()])[0]["energy"] == pytest.approx(
        atoms.get_potential_energy()
    )


def test_files_are_exact(tmp_path: Path) -> None:
    model, path = potential("Cu", "Au"), tmp_path / "model.etn"
    model.save(path)
    again = etn_gpu.load(path)
    assert type(again) is Potential
    assert again.form == model.form
    assert again.metadata == model.metadata
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], array)
    assert again.checksum() == model.checksum()
    with safe_open(path, framework="np") as opened:
        document = json.loads(opened.metadata()["etn_gpu"])
    assert document["format_version"] == 3
    assert document["terms"] == [{"kind": "program"}]


def test_what_needs_a_network_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.etn"
    potential("Cu").save(path)
    message = r"model\.etn is Lennard-Jones, cutoff 5\.5 A: training needs an equivariant tensor network"
    with pytest.raises(ModelFileError, match=message):
        load(path, purpose="training")
    with pytest.raises(NetworkError, match="extrapolation grades are those of a network; this is Lennard-Jones"):
        potential("Cu").evaluate([crystal()], grade=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": ["Xx"]}, r"formulation\.species\[0\] is 'Xx', expected a chemical symbol"),
        ({"species": ["Cu", "Au"]}, "the Program has tables for 1 species, expected 2"),
        ({"cutoff": -1.0}, r"formulation\.cutoff is -1\.0"),
        ({"program": {"type": "Harmonics", "lmax": 3}}, "this text holds a Harmonics, expected a Program"),
        ({"program": {"type": "os.system"}}, "unknown class 'os.system'"),
        ({"more": 1}, "has the unknown entry 'more'"),
    ],
)
def test_damaged_formulations(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    model, path = potential("Cu"), tmp_path / "model.etn"
    document = file._document(model)
    document["formulation"] |= change
    path.write_bytes(file.pack(document, file._tensors(model)))
    with pytest.raises(ModelFileError, match=message):
        etn_gpu.load(path)


def test_programs_that_reach_outside_their_values_are_refused(tmp_path: Path) -> None:
    model, path = potential("Cu"), tmp_path / "model.etn"
    document = file._document(model)
    text = json.dumps(document["formulation"]["program"])
    document["formulation"]["program"] = json.loads(text.replace("[2, 2, 0, 1.0]", "[2, 2, 7, 1.0]"))
    path.write_bytes(file.pack(document, file._tensors(model)))
    with pytest.raises(ModelFileError, match=r"products in 's' addresses the components 0\.\.7 of slot 'z'"):
        etn_gpu.load(path)


def test_huge_programs_are_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here those above a thousandth of the limit, which are written and read in a moment."""
    monkeypatch.setattr(size, "LIMITS", replace(size.LIMITS, code=size.LIMITS.code / 1000))
    path = tmp_path / "model.etn"
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    many = Products((3, 3, 400), tuple((0, 1, k, 1.0) for k in range(0, 400, 2)))
    builder.step("y", "edge", (Term(many, 2, ("x", "x")),))
    edge_sum = EdgeSum((400, 3, 1), (EdgeSumBlock(0, 1, 0, 1, 0),), 1, merged=True)
    builder.step("e", "atom", (Term(edge_sum, 2, ("y", "x")),))
    form = Formulation("large", ("Cu",), 3.0, builder.build({"e": "e"}))
    Potential(form, {"E0": [0.0]}).save(path)
    with pytest.raises(ModelFileError, match=r"very large.*of code.*--allow-large"):
        etn_gpu.load(path)
    assert etn_gpu.load(path, allow_large=True).form == form


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"species": ()}, "species must be one or more different chemical symbols"),
        ({"species": ("Cu", "Cu")}, "species must be one or more different chemical symbols"),
        ({"cutoff": float("nan")}, "the cutoff must be a positive number"),
    ],
)
def test_formulations_that_are_none(changes: dict[str, Any], message: str) -> None:
    parts: dict[str, Any] = {"method": "LJ", "species": ("Cu",), "cutoff": CUTOFF, "energy": lennard_jones()}
    with pytest.raises(NetworkError, match=message):
        Formulation(**(parts | changes))


def test_a_program_that_gives_no_energy() -> None:
    builder = ProgramBuilder()
    builder.input("x", "atom", 3)
    builder.input("w", "param", 3)
    builder.step("e", "atom", (Term(Mix((3, 3, 1), (MixBlock(0, 3, 1, 3, 1, 0, 0),)), 2, ("w", "x")),))
    with pytest.raises(NetworkError, match=r"takes x \[edge 3\] and gives e"):
        Formulation("LJ", ("Cu",), CUTOFF, builder.build({"e": "e"}))


def test_backends_agree_on_the_structures_of_the_self_check() -> None:
    model = potential("Cu", "Au")
    many = check_structures(model.species, CUTOFF)
    for a, b in zip(model.evaluate(many, backend="numpy"), model.evaluate(many, backend="numba"), strict=True):
        np.testing.assert_allclose(a["forces"], b["forces"], atol=1e-9)


def test_many_values_on_edges_are_no_reason_to_refuse(tmp_path: Path) -> None:
    """A moment tensor potential of level 16 has more than a hundred: what counts is the code that they take."""
    builder = ProgramBuilder()
    builder.input("x", "edge", 3)
    many = Products((3, 3, 150), tuple((0, 1, k, 1.0) for k in range(150)))
    builder.step("y", "edge", (Term(many, 2, ("x", "x")),))
    edge_sum = EdgeSum((150, 3, 1), (EdgeSumBlock(0, 1, 0, 1, 0),), 1, merged=True)
    builder.step("e", "atom", (Term(edge_sum, 2, ("y", "x")),))
    form = Formulation("wide", ("Cu",), 3.0, builder.build({"e": "e"}))
    Potential(form, {"E0": [0.0]}).save(tmp_path / "model.etn")
    assert etn_gpu.load(tmp_path / "model.etn").form == form
