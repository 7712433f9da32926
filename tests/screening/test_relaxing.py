"""Runs that relax: rows in order whatever converges first, statuses, references that are relaxed, runs that go on."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from pyarrow import parquet

import etn_gpu
from etn_gpu.errors import DataError, RelaxationError
from etn_gpu.files import unfinished
from etn_gpu.screening import BatchLimits, MemorySource, Screening, enthalpies, screen

OPTIONS: dict[str, Any] = {"relax": True, "cell": "full", "fmax": 0.02}


@pytest.fixture(scope="module")
def model() -> Any:
    return etn_gpu.load("nbmotaw")


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    rng = np.random.default_rng(3)
    found = []
    for number in range(14):
        atoms = bulk("W", "bcc", a=3.2, cubic=True) * ((2, 1, 1) if number % 2 else (1, 1, 1))
        atoms.symbols[:] = rng.choice(["Nb", "Mo", "Ta", "W"], len(atoms))
        atoms.set_cell(atoms.cell * rng.uniform(0.95, 1.08), scale_atoms=True)
        atoms.rattle(0.05, seed=number)
        atoms.info["name"] = f"n{number}"
        found.append(atoms)
    found[3].symbols[0] = "Cu"
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_those_of_relaxations(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    report = screen(
        model, structures, tmp_path / "out.csv", structures=tmp_path / "out.extxyz", keep=["name"],
        limits=BatchLimits.for_atoms(10), **OPTIONS,
    )  # fmt: skip
    rows = rows_of(tmp_path / "out.csv")
    ends = etn_gpu.relax(model, structures, cell="full", fmax=0.02)
    assert [row["name"] for row in rows] == [atoms.info["name"] for atoms in structures]
    for row, end in zip(rows, ends, strict=True):
        if end.energy is None or end.initial_energy is None:
            assert (row["status"], row["energy"], row["relaxation_steps"]) == ("failed", "", "")
            assert "Cu" in row["message"]
            continue
        assert float(row["energy"]) == end.energy
        assert int(row["relaxation_steps"]) == end.steps > 0
        assert float(row["initial_energy_per_atom"]) == end.initial_energy / len(end.atoms)
        assert float(row["max_force"]) < 0.02
        assert float(row["volume_per_atom"]) == pytest.approx(end.atoms.get_volume() / len(end.atoms))
    assert {row["status"] for row in rows} == {"ok", "failed"}
    frames = read(tmp_path / "out.extxyz", ":")
    relaxed = [end.atoms for end in ends if end.status == "converged"]
    for frame, atoms in zip(frames, relaxed, strict=True):
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(frame.cell.array, atoms.cell.array)
    assert report.n_rows == len(structures)


def test_labels_of_the_input_are_those_it_had(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    def note(number: int) -> str | None:
        out = tmp_path / f"{number}.csv"
        return screen(model, [given], out, structures=out.with_suffix(".xyz"), **OPTIONS).labels.note()

    given = structures[0].copy()
    assert note(0) is None
    given.calc = SinglePointCalculator(given, energy=-1.0)
    assert note(1) == "labels in the input were not used: energy (replaced by the results of this run)"


def test_references_are_relaxed_by_the_model(tmp_path: Path, model: Any) -> None:
    given = [bulk(symbol, "bcc", a=a, cubic=True) for symbol, a in (("W", 3.25), ("Mo", 3.1), ("Nb", 3.2), ("Ta", 3.4))]
    report = screen(model, given, tmp_path / "out.csv", relax=True, cell="full", fmax=1e-3)
    for row in rows_of(tmp_path / "out.csv"):
        assert float(row["formation_energy"]) == pytest.approx(0.0, abs=1e-5)
        assert float(row["energy_above_hull"]) == pytest.approx(0.0, abs=1e-5)
    assert report.references.description.count("bcc, relaxed by the model") == 4


def test_elements_that_are_missing_in_a_file_of_references(tmp_path: Path, model: Any) -> None:
    alone = screen(model, [], tmp_path / "alone.csv", relax=True, cell="full", pressure=50.0).references
    write(tmp_path / "refs.extxyz", [bulk("W", "bcc", a=3.2), bulk("W", "bcc", a=3.2)])
    mixed = screen(
        model, [], tmp_path / "out.csv", relax=True, cell="full", pressure=50.0, references=tmp_path / "refs.extxyz"
    ).references
    assert "training data" not in mixed.description
    assert mixed.description.count("refs.extxyz, structure") == 1
    assert mixed.description.startswith("formation enthalpies at 50 GPa relative to, in eV/atom: ")
    assert {symbol: mixed.energies[symbol] for symbol in ("Nb", "Mo", "Ta")} == {
        symbol: alone.energies[symbol] for symbol in ("Nb", "Mo", "Ta")
    }


PER_EV = 160.21766208  # GPa in one eV/A^3


def test_enthalpies_under_pressure(tmp_path: Path, model: Any) -> None:
    pressure = 30.0
    options: dict[str, Any] = {"cell": "full", "fmax": 1e-3}
    given = [bulk("W", "bcc", a=3.1, cubic=True) * (2, 1, 1) for _ in range(5)]
    for number, atoms in enumerate(given):
        atoms.symbols[:number] = "Mo"
    given.append(Atoms("W2", positions=[[0.0] * 3, [0.0, 0.0, 2.6]]))  # has no volume
    write(tmp_path / "in.extxyz", given)
    report = screen(
        model, tmp_path / "in.extxyz", tmp_path / "out.csv", relax=True, pressure=pressure, **options,
        where="enthalpy_above_hull < 1", report=tmp_path / "report.html",
    )  # fmt: skip
    rows = rows_of(tmp_path / "out.csv")

    def enthalpy(atoms: Atoms) -> float:
        [end] = etn_gpu.relax(model, [atoms], pressure=pressure, **options)
        assert end.energy is not None
        return (end.energy + pressure / PER_EV * end.atoms.get_volume()) / len(atoms)

    found = [enthalpy(atoms) for atoms in given[:5]]
    pure = {symbol: enthalpy(bulk(symbol, "bcc", a=3.1)) for symbol in ("W", "Mo")}
    shares = [number / 4 for number in range(5)]
    phases = [(x, h) for x, h, row in zip(shares, found, rows, strict=False) if row["status"] == "ok"]
    assert len(phases) > 1
    phases += [(0.0, pure["W"]), (1.0, pure["Mo"])]
    for x, h, row in zip(shares, found, rows, strict=False):
        # The lowest of all straight lines between two phases on both sides.
        hull = min(
            h1 if x1 == x2 else h1 + (h2 - h1) * (x - x1) / (x2 - x1)
            for x1, h1 in phases for x2, h2 in phases if x1 <= x <= x2 and (x1 < x2 or x1 == x)
        )  # fmt: skip
        assert float(row["enthalpy_per_atom"]) == pytest.approx(h, abs=1e-9)
        assert float(row["formation_enthalpy"]) == pytest.approx(h - (1 - x) * pure["W"] - x * pure["Mo"], abs=1e-5)
        assert float(row["enthalpy_above_hull"]) == pytest.approx(h - hull, abs=1e-5)
        assert row["formation_energy"] == row["energy_above_hull"] == ""
    assert [rows[5][name] for name in ("enthalpy_per_atom", "formation_enthalpy", "enthalpy_above_hull")] == [""] * 3
    assert report.ranking.by == "formation_enthalpy"
    assert [row.index for row in report.ranking.rows()] == sorted(
        range(5), key=lambda number: float(rows[number]["formation_enthalpy"])
    )
    assert report.references.description.startswith("formation enthalpies at 30 GPa relative to, in eV/atom: ")
    page = (tmp_path / "report.html").read_text()
    assert "ormation enthalpy" in page
    assert "ormation energy" not in page
    screen(model, given, tmp_path / "out.parquet", relax=True, pressure=pressure, **options)
    schema = parquet.read_schema(tmp_path / "out.parquet")
    assert {schema.field(column.name).metadata[b"unit"] for column in enthalpies.COLUMNS} == {b"eV/atom"}


@pytest.mark.parametrize(
    ("pressed", "options", "message"),
    [
        (True, {"rank": "energy_above_hull"}, r"rank = 'energy_above_hull': expected one of .* under pressure"),
        (False, {"rank": "formation_enthalpy"}, r"rank = 'formation_enthalpy': expected one of .* without pressure"),
        (True, {"where": "energy_above_hull < 1"}, r"energy_above_hull, .*; did you mean enthalpy_above_hull\?"),
        (False, {"where": "enthalpy_above_hull < 1"}, r"enthalpy_above_hull, .*; did you mean energy_above_hull\?"),
    ],
)
def test_what_a_run_does_not_compare(
    tmp_path: Path, model: Any, pressed: bool, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Screening(model, [], tmp_path / "out.csv", relax=True, cell="full", pressure=20.0 * pressed, **options)


def test_references_under_pressure_need_volumes(tmp_path: Path, model: Any) -> None:
    write(tmp_path / "refs.extxyz", Atoms("W2", positions=[[0.0] * 3, [0.0, 0.0, 2.6]]))
    with pytest.raises(DataError, match=r"refs\.extxyz, structure 0: .* a pressure needs periodicity in all three"):
        screen(
            model, [], tmp_path / "out.csv", relax=True, cell="full", pressure=5.0, references=tmp_path / "refs.extxyz"
        )


def test_ends_that_are_none(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    far = structures[0].copy()
    far.rattle(0.25, seed=1)
    thin = bulk("W", "bcc", a=3.2, cubic=True)
    thin.set_cell(thin.cell * 1.9, scale_atoms=True)
    report = screen(model, [far, thin, structures[0]], tmp_path / "out.csv", steps=2, **OPTIONS)
    first, second, _ = rows_of(tmp_path / "out.csv")
    assert first["status"] == "not converged"
    assert "after 2 steps" in first["message"]
    assert first["energy"] != ""
    assert second["status"] in ("exploded", "not converged", "extrapolating")
    assert report.counts["not converged"] >= 1
    assert report.n_rows == 3
    assert all(row.status != "failed" for row in report.ranking.rows())


def test_ends_are_phases_of_the_hull_only_if_converged(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    screen(model, structures[:3], tmp_path / "out.csv", relax=True, cell="full", steps=1, fmax=1e-6)
    rows = rows_of(tmp_path / "out.csv")
    assert {row["status"] for row in rows} == {"not converged"}
    for row in rows:
        assert float(row["energy_above_hull"]) == pytest.approx(float(row["formation_energy"]))


def interrupted(structures: list[Atoms], after: int) -> Iterator[Atoms]:
    yield from structures[:after]
    raise KeyboardInterrupt


def test_a_run_that_relaxes_goes_on(
    tmp_path: Path, model: Any, structures: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "_INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "_SHARE", 0.0)
    options = {**OPTIONS, "limits": BatchLimits.for_atoms(8)}

    def run(folder: str, after: int | None, **more: Any) -> Any:
        (tmp_path / folder).mkdir(exist_ok=True)
        given: Any = structures if after is None else interrupted(structures, after)
        more["structures"] = tmp_path / folder / "out.extxyz.gz"
        return Screening(model, [MemorySource("m", given)], tmp_path / folder / "out.csv", **options, **more)

    run("whole", None).run()
    steps = iter(run("stopped", None))
    for _ in range(3):
        next(steps)
    steps.close()
    options["fmax"] = 0.03
    with pytest.raises(DataError, match=r"relaxation was .*0\.02.*, is .*0\.03"):
        run("stopped", None, resume=True)
    options["fmax"] = 0.02
    again = run("stopped", None, resume=True)
    assert 0 < again.run().n_before < len(structures)
    for name in ("out.csv", "out.extxyz.gz"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "half"}, "cell = 'half'"),
        ({"fmax": -1.0}, "fmax"),
        ({"steps": 0}, "steps"),
        ({"pressure": 5.0}, "pressure"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RelaxationError, match=message):
        Screening(model, [], tmp_path / "out.csv", relax=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_relaxed_structures(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    write(tmp_path / "in.extxyz", structures[:4])
    options: dict[str, Any] = {"report": tmp_path / "r.html", "top": 2}
    screen(model, tmp_path / "in.extxyz", tmp_path / "out.csv", **options, **OPTIONS)
    assert "relaxation: cell" in (tmp_path / "r.html").read_text()
