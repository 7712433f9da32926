"""`etn-gpu grade`: a model learns to tell how far outside of its training set a structure is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

import etn_gpu
from etn_gpu.potential import Architecture, ETNPotential, shipped_models
from etn_gpu.potential.grade import graded
from etn_gpu.structures import StructureBatch

Run = Callable[..., Any]
NUMPY = ["--backend", "numpy"]
pytestmark = pytest.mark.filterwarnings("ignore::etn_gpu.errors.ModelWarning")


def random_model(**changes: Any) -> ETNPotential:
    sizes: dict[str, Any] = {"bonds": ("2x0e+1x1o", "2x0e+1x1o"), "target": "1x0e", **changes}
    architecture = Architecture(("Al", "Ni", "Cu"), 4.0, 1.5, 3, (2, 1), 2, 1, **sizes)
    rng = np.random.default_rng(0)
    parameters = {name: 0.3 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    return ETNPotential(architecture, parameters)


def alloys(count: int, seed: int = 0) -> list[Atoms]:
    """Rattled fcc cells of Al and Ni."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        atoms = bulk("Al", cubic=True, a=rng.uniform(3.6, 4.1))
        atoms.numbers[rng.random(4) < 0.5] = 28
        atoms.rattle(0.15, seed=seed + number)
        out.append(atoms)
    return out


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the current folder, the model m.etn, and train.extxyz and more.extxyz."""
    monkeypatch.chdir(tmp_path)
    random_model().save("m.etn")
    write("train.extxyz", alloys(30))
    write("more.extxyz", alloys(10, seed=50))


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path.cwd().iterdir() if path.is_file()}


@pytest.mark.parametrize("batch_atoms", [7, 4096])
def test_the_new_model_has_the_grade_of_all_files(run: Run, batch_atoms: int) -> None:
    finished = run(
        "grade", "m.etn", "train.extxyz", "more.extxyz", "-o", "new.etn", *NUMPY, "--batch-atoms", batch_atoms
    )
    assert finished.code == 0, finished.err
    old, new = etn_gpu.potential.load("m.etn"), etn_gpu.potential.load("new.etn")
    structures = [*alloys(30), *alloys(10, seed=50)]
    batch = StructureBatch.build(structures, old.species, old.cutoff)
    assert new.grade is not None
    expected = old.with_grade(graded(old, [batch], backend="numpy"))
    assert expected.grade is not None
    np.testing.assert_array_equal(new.grade.atoms, expected.grade.atoms)
    # Batches change the order in which sums are taken, and files of structures have eight decimals.
    others = [*structures, bulk("Ni", cubic=True, a=3.0), *alloys(3, seed=90)]
    wanted, found = (
        np.concatenate([r["extrapolation_grades"] for r in model.evaluate(others, backend="numpy")])
        for model in (expected, new)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert new.parameters.keys() == old.parameters.keys()
    assert all(np.array_equal(new.parameters[name], array) for name, array in old.parameters.items())

    grades = [r["extrapolation_grade"] for r in new.evaluate(structures, backend="numpy")]
    assert max(grades) == pytest.approx(1.0, abs=1e-4)
    for symbol in "Al", "Ni":
        count = sum(int((atoms.symbols == symbol).sum()) for atoms in structures)
        assert f"{symbol:<7}  {count:>14}" in finished.out
    middle, most = np.quantile(grades, [0.5, 0.9])
    assert f"grades of these structures: 50% up to {middle:.3f}, 90% up to {most:.3f}, 99% up to " in finished.out
    assert ", 100% up to 1.000" in finished.out
    assert "40 structures, 160 atoms, " in finished.out
    assert "model: new.etn" in finished.out
    assert "warning: there are no atoms of Cu: every structure with them will be far outside" in finished.out


def test_then_screen_evaluate_and_plan(run: Run) -> None:
    plain = run("plan", "m.etn").out
    assert (
        "extrapolation grade   none: the model has nothing to tell an extrapolation grade by; `etn-gpu grade" in plain
    )
    assert run("grade", "m.etn", "train.extxyz", "-o", "new.etn", *NUMPY).code == 0
    numbers = np.concatenate([atoms.symbols for atoms in alloys(30)])
    counts = ", ".join(f"{(numbers == symbol).sum()} {symbol}" for symbol in ("Al", "Ni", "Cu"))
    assert f"extrapolation grade   from 120 training atoms ({counts})" in run("plan", "new.etn").out
    vector = random_model(target="1x1o")
    vector.save("vector.etn")
    assert "extrapolation grade" not in run("plan", "vector.etn").out

    squeezed = bulk("Al", cubic=True, a=2.6)
    structures = [*alloys(2), squeezed]
    for atoms in structures:
        atoms.info["REF_energy"] = -1.0
    write("in.extxyz", structures)
    screened = run("screen", "new.etn", "in.extxyz", *NUMPY, "--rank", "energy_per_atom")
    assert screened.code == 0, screened.err
    assert "2 ok, 1 extrapolating; 0 failed" in screened.out
    assert "has nothing to tell" not in screened.out
    evaluated = run("evaluate", "new.etn", "in.extxyz", *NUMPY)
    assert "extrapolation grade above 1.5: 1 of 3 structures; the largest is " in evaluated.out
    assert evaluated.out.rstrip().endswith("(in.extxyz [2])")


def test_what_cannot_be_used_is_listed(run: Run) -> None:
    good = alloys(12)
    overlapping, nan = good[0].copy(), good[1].copy()
    overlapping.positions[1] = overlapping.positions[0]
    nan.positions[0, 0] = np.nan
    write("some.traj", [*good, overlapping, nan])
    finished = run("grade", "m.etn", "some.traj", "-o", "new.etn", *NUMPY)
    assert finished.code == 1
    assert "failed: some.traj [12]: " in finished.out
    assert "failed: some.traj [13]: " in finished.out
    assert "12 structures, 48 atoms" in finished.out
    write("good.traj", good)
    assert run("grade", "m.etn", "good.traj", "-o", "other.etn", *NUMPY).code == 0
    assert Path("new.etn").read_bytes() == Path("other.etn").read_bytes()


def test_a_broken_frame_is_listed(run: Run) -> None:
    lines = Path("train.extxyz").read_text().splitlines(keepends=True)
    lines[2] = "Al broken\n"
    Path("train.extxyz").write_text("".join(lines))
    finished = run("grade", "m.etn", "train.extxyz", "-o", "new.etn", *NUMPY)
    assert finished.code == 1
    assert "failed: train.extxyz [0]: " in finished.out
    assert "29 structures, 116 atoms" in finished.out


def test_the_input_is_replaced_where_that_is_wanted_only(run: Run) -> None:
    before = contents()
    refused = run("grade", "m.etn", "train.extxyz", "-o", "m.etn", *NUMPY)
    assert refused.code == 2
    assert "cannot write m.etn: it is the input file m.etn" in refused.err
    assert contents() == before
    Path("new.etn").write_bytes(b"precious")
    refused = run("grade", "m.etn", "train.extxyz", "-o", "new.etn", *NUMPY)
    assert refused.code == 2
    assert "new.etn exists already" in refused.err
    assert Path("new.etn").read_bytes() == b"precious"
    assert run("grade", "m.etn", "train.extxyz", "-o", "new.etn", *NUMPY, "--overwrite").code == 0
    assert run("grade", "m.etn", "train.extxyz", "-o", "m.etn", *NUMPY, "--overwrite").code == 0
    assert Path("new.etn").read_bytes() == Path("m.etn").read_bytes()
    # A grade that is there already is replaced, not built upon.
    assert run("grade", "m.etn", "train.extxyz", "-o", "again.etn", *NUMPY).code == 0
    assert Path("again.etn").read_bytes() == Path("m.etn").read_bytes()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("link", [False, True])
def test_structures_and_shipped_models_are_never_replaced(run: Run, link: bool, overwrite: list[str]) -> None:
    target = Path("train.extxyz").resolve()
    Path("link.etn").symlink_to(target)
    if not link:
        Path("train.etn").write_bytes(target.read_bytes())
    files = ["train.extxyz", "-o", "link.etn"] if link else ["train.etn", "-o", "train.etn"]
    before = contents()
    finished = run("grade", "m.etn", *files, *NUMPY, *overwrite)
    assert finished.code == 2
    assert "it is the input file train" in finished.err
    assert contents() == before
    path = shipped_models()["mo"]
    shipped = path.read_bytes()
    finished = run("grade", "mo", "train.extxyz", "-o", path, *overwrite)
    assert finished.code == 2
    assert "it is the input file" in finished.err
    assert path.read_bytes() == shipped


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["m.etn", "foreign.extxyz"], "foreign.extxyz [1] has Au, Xe, and the model knows Al, Ni, Cu only"),
        (["m.etn", "none.traj"], "no structure in none.traj can be evaluated (the first: none.traj [0]: no atoms"),
        (["m.etn", "empty.extxyz"], "empty.extxyz"),
        (["m.etn", "missing.extxyz"], "missing.extxyz"),
        (["vector.etn", "train.extxyz"], "grades are of energies, and vector.etn has the covariant output 1x1o"),
        (["train.extxyz", "train.extxyz"], "train.extxyz"),
        (["m.etn", "train.extxyz", "--backend", "abacus"], "abacus"),
        (["m.etn", "train.extxyz", "-o", "missing/new.etn"], "the folder missing does not exist"),
        (["m.etn", "train.extxyz", "-o", "new.csv"], "a model file is written"),
        (["m.etn", "train.extxyz", "--format", "nonsense"], "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use(run: Run, arguments: list[str], complaint: str) -> None:
    random_model(target="1x1o").save("vector.etn")
    write("foreign.extxyz", [Atoms("Al"), Atoms("XeAlAu", positions=3.0 * np.eye(3))])
    write("none.traj", Atoms())
    Path("empty.extxyz").touch()
    before = contents()
    output = [] if "-o" in arguments else ["-o", "new.etn"]
    finished = run("grade", *arguments, *output, *([] if "--backend" in arguments else NUMPY))
    assert finished.code == 2
    assert finished.err.startswith("Error: ")
    assert len(finished.err.splitlines()) == 1
    assert complaint in finished.err
    assert contents() == before


def test_no_output_is_wrong_use(run: Run) -> None:
    finished = run("grade", "m.etn", "train.extxyz")
    assert finished.code == 2
    assert "--output" in finished.err


def test_an_unknown_model_lists_those_there_are(run: Callable[..., Any], tmp_path: Path) -> None:
    finished = run("grade", "steel", "x.xyz", "-o", tmp_path / "new.etn")
    assert finished.code == 2
    assert (
        "there is no model file 'steel', nor a shipped model of that name (there is: mo, nbmotaw, si)" in finished.err
    )
