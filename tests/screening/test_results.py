"""What depends on all rows: energies above the hull, rankings by them, Parquet, kept entries, the page."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from pyarrow import parquet

from etn_gpu import load
from etn_gpu.errors import DataError, ModelFileError
from etn_gpu.screening import BatchLimits, MemorySource, Screening, demo_structures, screen
from etn_gpu.screening.composition import composition
from etn_gpu.screening.hull import EnergyHull
from etn_gpu.screening.rows import row_of

ELEMENTS = ("Mo", "Nb", "Ta", "W")


@pytest.fixture
def structures() -> list[Atoms]:
    found = list(demo_structures(60))
    for number, atoms in enumerate(found):
        atoms.info |= {"name": f"=0{number}", "age": number if number % 2 else 0.5 * number, "odd": [1, 2]}
    found[5].symbols[0] = "Cu"
    found[7].set_cell(found[7].cell * 0.65, scale_atoms=True)  # extrapolates
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_energies_above_the_hull_are_those_of_all_rows(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    model.metadata["formation_references"] = {"Mo": -1.0, "Nb": -2.0, "Ta": -3.0, "W": -4.0}
    screen(model, structures, tmp_path / "out.csv", limits=BatchLimits.for_atoms(100))
    rows = [row for row in rows_of(tmp_path / "out.csv") if row["status"] != "failed"]
    counts = np.array([[composition(row["formula"]).get(symbol, 0) for symbol in ELEMENTS] for row in rows])
    energies = np.array([float(row["energy_per_atom"]) for row in rows])
    ok = np.array([row["status"] == "ok" for row in rows])
    assert 0 < ok.sum() < len(rows)
    hull = EnergyHull(ELEMENTS, np.vstack([np.eye(4), counts[ok]]), [-1.0, -2.0, -3.0, -4.0, *energies[ok]])
    found = np.array([float(row["energy_above_hull"]) for row in rows])
    np.testing.assert_allclose(found, hull.above(counts, energies), atol=1e-9)
    assert found[ok].min() >= 0.0


def test_hull_of_references_only(tmp_path: Path, model: Any) -> None:
    model.metadata["formation_references"] = {"Mo": 0.0, "W": 0.0, "Nb": 0.0}
    crystals = [Atoms("MoW", positions=[[0.0] * 3, [1.6] * 3], cell=[3.2] * 3, pbc=True), Atoms("Ta")]
    screen(model, crystals, tmp_path / "out.csv", hull_of_run=False)
    first, second = rows_of(tmp_path / "out.csv")
    assert float(first["energy_above_hull"]) == pytest.approx(float(first["energy_per_atom"]))
    assert float(first["energy_above_hull"]) < 0.0
    assert second["energy_above_hull"] == ""


@pytest.mark.parametrize("of_run", [True, False])
def test_a_hull_of_nothing(tmp_path: Path, model: Any, of_run: bool) -> None:
    model.metadata.clear()
    close = Atoms("W2", positions=[[0.0] * 3, [1.0, 0.0, 0.0]])  # extrapolates
    screen(model, [close, Atoms("Cu")], tmp_path / "out.csv", hull_of_run=of_run)
    assert [row["energy_above_hull"] for row in rows_of(tmp_path / "out.csv")] == ["", ""]


def test_ranking_by_the_hull(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    options: dict[str, Any] = {"rank": "energy_above_hull", "top": 7, "where": "status == 'ok' and n_atoms < 100"}
    model.metadata["formation_references"] = dict.fromkeys(ELEMENTS, 0.0)
    report = screen(model, structures, tmp_path / "out.csv", **options)
    rows = [r for r in rows_of(tmp_path / "out.csv") if r["status"] == "ok" and int(r["n_atoms"]) < 100]
    numbers = {int(row["index"]): float(row["energy_above_hull"]) for row in rows}
    assert [row.index for row in report.ranking.rows()] == sorted(numbers, key=lambda index: numbers[index])[:7]
    assert report.ranking.n_ranked == len(rows)
    assert report.ranking.n_excluded + len(rows) + report.n_failed == len(structures) > len(rows) + report.n_failed


def test_best_of_each_composition(tmp_path: Path, model: Any) -> None:
    cells = [3.2, 3.15, 3.25]
    crystals = [
        Atoms(symbols, positions=[[0.0] * 3, [a / 2] * 3], cell=[a] * 3, pbc=True)
        for symbols in ("MoW", "W2", "NbTa")
        for a in cells
    ]
    crystals.append(crystals[0].repeat((2, 1, 1)))  # the composition of the first
    report = screen(model, crystals, tmp_path / "out.csv", rank="energy_per_atom", per_composition=True, top=2)
    rows = rows_of(tmp_path / "out.csv")
    energies = np.array([float(row["energy_per_atom"]) for row in rows])
    best = sorted(
        [*np.argmin(energies[[0, 1, 2]], keepdims=True), 3 + np.argmin(energies[3:6]), 6 + np.argmin(energies[6:9])]
    )
    ranked = [row.index for row in report.ranking.rows()]
    assert ranked == sorted(best, key=lambda place: (energies[place], place))[:2]
    assert report.ranking.n_ranked == 3


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".pq"])
def test_kept_entries(tmp_path: Path, model: Any, structures: list[Atoms], suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    screen(model, structures, output, keep=["age", "energy", "odd"], id="name")
    if suffix.startswith(".csv"):
        rows = rows_of(output)
        assert [row["id"] for row in rows[:3]] == ["'=00", "'=01", "'=02"]
        assert [row["age"] for row in rows[:3]] == ["0.0", "1", "1.0"]
        assert {row["input_energy"] for row in rows} == {row["odd"] for row in rows} == {""}
        return
    table = parquet.read_table(output)
    assert table["id"].to_pylist() == [atoms.info["name"] for atoms in structures]
    assert table["age"].to_pylist() == [float(atoms.info["age"]) for atoms in structures]
    assert table["odd"].null_count == len(structures)
    assert table.schema.field("energy").metadata == {b"unit": b"eV"}
    assert {str(table.schema.field(name).type) for name in ("energy", "age")} == {"double"}
    assert str(table.schema.field("index").type) == "int64"


def test_entries_longer_than_csv_takes_at_first(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    structures[0].info["name"] = "x" * 200_000
    before = csv.field_size_limit(131_072)
    try:
        screen(model, structures[:2], tmp_path / "out.csv", id="name")
        assert [len(row["id"]) for row in rows_of(tmp_path / "out.csv")] == [200_000, 4]
    finally:
        csv.field_size_limit(before)


def test_parquet_has_the_rows_of_csv(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    screen(model, structures, tmp_path / "out.csv")
    screen(model, structures, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    for row, record in zip(rows_of(tmp_path / "out.csv"), table, strict=True):
        assert {name: "" if value is None else str(value) for name, value in record.items()} == row
    again = tmp_path / "again.parquet"
    screen(model, structures, again)
    assert again.read_bytes() == (tmp_path / "out.parquet").read_bytes()


def test_parquet_without_pyarrow(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"Parquet needs pyarrow, which is not installed: pip install 'etn_gpu\[parquet\]"
    ):
        Screening(model, [], tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "formation_enery < 0"}, "did you mean formation_energy"),
        ({"where": "my_key == 1", "keep": ["other"]}, "names my_key, which is no column"),
        ({"keep": ["a", "a"]}, "the entry 'a' is to be kept twice"),
        ({"fmax": 0.1}, "fmax without relax=True"),
        ({"keep": "name"}, r"keep = 'name', id = None: expected a list of keys of info"),
        ({"id": ["name"]}, r"id = \['name'\]: expected a list of keys of info, and one key"),
        ({"rank": "hull"}, "rank = 'hull': expected one of energy_above_hull, formation_energy"),
        ({"top": -1}, "top = -1: expected a whole number, 0 or more"),
        ({"top": 2.5}, "top = 2.5: expected a whole number"),
        ({"references": ["a.xyz"]}, r"references = \['a\.xyz'\]: expected the path of a file of phases"),
    ],
)
def test_options_that_mean_nothing(tmp_path: Path, model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Screening(model, [], tmp_path / "out.csv", **options)
    assert list(tmp_path.iterdir()) == []


def test_models_by_their_names(tmp_path: Path) -> None:
    atoms = Atoms("Mo2", positions=[[0.0] * 3, [1.6] * 3], cell=[3.2] * 3, pbc=True)
    screen("mo", atoms, tmp_path / "name.csv")
    screen(load("mo"), atoms, tmp_path / "model.csv")
    assert (tmp_path / "name.csv").read_bytes() == (tmp_path / "model.csv").read_bytes()
    for nothing in ("no such model", None, 3):
        with pytest.raises(ModelFileError, match="model"):
            screen(nothing, atoms, tmp_path / "out.csv")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"report": "report.html"}, {"rank": "energy_above_hull"}, {"where": "energy_above_hull < 0.1"}]
)
def test_what_depends_on_all_rows_needs_a_file_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"/dev/null is a pipe or a device, .*: choose a file as the output"):
        Screening(model, [], "/dev/null", **options)


def test_conditions_on_kept_entries(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    report = screen(
        model, structures, tmp_path / "out.csv", keep=["age"], id="name", rank="energy_per_atom",
        where="age > 20 and id != '=031'",
    )  # fmt: skip
    ages = {atoms.info["name"]: atoms.info["age"] for atoms in structures}
    assert {row.more["id"] for row in report.ranking.rows()} <= {n for n, age in ages.items() if age > 20} - {"=031"}


def test_conditions_that_do_not_fit_kept_entries_lose_nothing(tmp_path: Path, model: Any) -> None:
    given = [Atoms("W", info={"my key": value}) for value in (3, 4.5, "abc", True)]
    report = screen(
        model, [MemorySource("m", given)], tmp_path / "out.csv", keep=["my key"], rank="energy_per_atom",
        where="`my key` > 3.5",
    )  # fmt: skip
    assert [row["my key"] for row in rows_of(tmp_path / "out.csv")] == ["3", "4.5", "abc", "True"]
    assert report.ranking.n_unfit == 4  # what holds text is a column of text
    assert report.ranking.unfit.startswith("m [0]: the condition '`my key` > 3.5' does not fit the columns: '3' cannot")
    fits = screen(
        model, [MemorySource("m", given[:2])], tmp_path / "numbers.csv", keep=["my key"], rank="energy_per_atom",
        where="`my key` > 3.5",
    ).ranking  # fmt: skip
    assert [row.index for row in fits.rows()] == [1]
    assert fits.unfit == ""
    with pytest.raises(DataError, match="status is text, 1 is a number"):
        Screening(model, given, tmp_path / "new.csv", where="status == 1")
    assert not any(tmp_path.glob("new*"))


def test_rows_are_parsed_once(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return row_of(*arguments)

    monkeypatch.setattr("etn_gpu.screening.table.row_of", counted)
    options: dict[str, Any] = {"rank": "energy_above_hull"}
    screen(model, [Atoms("W")] * 5, tmp_path / "out.parquet", **options)
    assert calls == 5


def test_references_of_a_file(tmp_path: Path, model: Any) -> None:
    def crystal(symbols: str, a: float) -> Atoms:
        return Atoms(symbols, positions=[[0.0] * 3, [a / 2] * 3], cell=[a] * 3, pbc=True)

    phases = [crystal("W2", 3.2), crystal("W2", 3.0), crystal("MoW", 3.1)]
    write(tmp_path / "refs.extxyz", phases)
    given = [*phases, crystal("Mo2", 3.1)]
    report = screen(model, given, tmp_path / "out.csv", references=tmp_path / "refs.extxyz", hull_of_run=False)
    rows = rows_of(tmp_path / "out.csv")
    energies = [float(row["energy_per_atom"]) for row in rows]
    lowest = min(energies[:2])
    assert float(rows[0]["formation_energy"]) == pytest.approx(energies[0] - lowest)
    assert float(rows[2]["formation_energy"]) == pytest.approx(energies[2] - 0.5 * (lowest - 1.0))
    assert float(rows[2]["energy_above_hull"]) == 0.0
    assert report.references.energies["W"] == lowest
    assert report.references.energies["Mo"] == -1.0
    assert "refs.extxyz, structure" in report.references.description
    assert "Mo -1.0000 (training data)" in report.references.description


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Cu", r"refs\.extxyz, structure 0: a reference cannot be used: .*Cu.*[^.]\.$"),
        (None, r"no such file or folder: .*refs\.extxyz"),
    ],
)
def test_references_that_cannot_be_used(tmp_path: Path, model: Any, content: str | None, message: str) -> None:
    if content:
        write(tmp_path / "refs.extxyz", Atoms(content))
    with pytest.raises(DataError, match=message):
        screen(model, [Atoms("W")], tmp_path / "out.csv", references=tmp_path / "refs.extxyz")
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "out.csv.part").exists()


def test_the_page_of_a_run(tmp_path: Path, structures: list[Atoms]) -> None:
    import etn_gpu

    write(tmp_path / "in.extxyz", structures[:8])
    model = etn_gpu.load("nbmotaw")
    options: dict[str, Any] = {"report": tmp_path / "report.html", "top": 3, "rank": "energy_above_hull"}
    report = screen(model, tmp_path / "in.extxyz", tmp_path / "out.csv", **options)
    page = (tmp_path / "report.html").read_text()
    best = report.ranking.rows()[0]
    assert f"{best.energy_per_atom:.4f}".replace("-", "\N{MINUS SIGN}") in page
    assert page.count("<svg") > 3
    with pytest.raises(DataError, match=r"report\.html exists already"):
        screen(model, tmp_path / "in.extxyz", tmp_path / "other.csv", **options)
    with pytest.raises(DataError, match="a report is written as HTML"):
        screen(model, tmp_path / "in.extxyz", tmp_path / "other.csv", report=tmp_path / "report.pdf")


def test_entries_that_are_not_there_are_told(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    del structures[3].info["name"]
    structures[4].info["age"] = 10**5000
    given: dict[str, Any] = {"id": "name", "keep": ["age", "odd", "agee"]}
    assert screen(model, structures, tmp_path / "out.csv", **given).kept.notes() == [
        "1 structures have no entry 'name': the column id is empty there",
        "1 structures have something else than a scalar as 'age': the column age is empty there",
        "60 structures have something else than a scalar as 'odd': the column odd is empty there",
        "60 structures have no entry 'agee': the column agee is empty there",
    ]
    assert screen(model, structures[:3], tmp_path / "none.csv", keep=["age"]).kept.notes() == []


def test_ids_that_occur_twice_are_told(tmp_path: Path, model: Any) -> None:
    twice = [Atoms("W", info={"uid_text": name}) for name in ("a", "b", "a", "c", "a")]
    report = screen(model, [MemorySource("m", twice)], tmp_path / "out.csv", id="uid_text")
    assert len(rows_of(tmp_path / "out.csv")) == 5
    assert report.repeated_ids == {"a": 3}


def test_space_groups(tmp_path: Path, model: Any) -> None:
    from ase.build import bulk

    bcc, b2 = bulk("W", "bcc", a=3.2, cubic=True), bulk("W", "bcc", a=3.2, cubic=True)
    b2.symbols[1] = "Mo"
    shaken = bcc.copy()
    shaken.positions[1] += [0.02, 0.0, 0.0]
    given = [bcc, b2, shaken, Atoms("W"), Atoms("Cu", cell=[3.0] * 3, pbc=True)]
    screen(model, given, tmp_path / "out.csv", spacegroup=0.1)
    found = [row["spacegroup"] for row in rows_of(tmp_path / "out.csv")]
    assert found == ["Im-3m (229)", "Pm-3m (221)", "Im-3m (229)", "", "Pm-3m (221)"]
    screen(model, given[2:3], tmp_path / "strict.csv", spacegroup=1e-3, where="spacegroup != 'Im-3m (229)'")
    assert rows_of(tmp_path / "strict.csv")[0]["spacegroup"] != "Im-3m (229)"


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf"), True, "x"])
def test_tolerances_that_are_none(tmp_path: Path, model: Any, tolerance: Any) -> None:
    with pytest.raises(DataError, match="expected a tolerance in A above 0"):
        Screening(model, [], tmp_path / "out.csv", spacegroup=tolerance)


def test_space_groups_without_spglib(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"need spglib, which is not installed: pip install 'etn_gpu\[symmetry\]'"):
        Screening(model, [], tmp_path / "out.csv", spacegroup=0.01)


def test_structures_in_a_database(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    from ase.db import connect
    from ase.io import read

    options: dict[str, Any] = {"limits": BatchLimits.for_atoms(300)}
    screen(model, structures, tmp_path / "a.csv", structures=tmp_path / "out.db", **options)
    screen(model, structures, tmp_path / "b.csv", structures=tmp_path / "out.extxyz", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "out.db", "out.extxyz"]
    with connect(tmp_path / "out.db") as database:
        rows = list(database.select())
        assert database.count(source_index=7) == 1
    frames = read(tmp_path / "out.extxyz", ":")
    assert len(rows) == len(frames) == len(structures) - 1
    for row, frame in zip(rows, frames, strict=True):
        np.testing.assert_array_equal(row.positions, frame.positions)
        assert row.energy == frame.get_potential_energy()
        np.testing.assert_array_equal(row.forces, frame.get_forces())
        assert row.key_value_pairs["status"] == frame.info["status"]
        assert row.get("name", row.data.get("name")) == frame.info["name"]
        assert list(row.data["odd"]) == [1, 2]


@pytest.mark.parametrize(
    "value", [1j, {"a": [1, None]}, ["x", 2], np.array(["a", "b"]), "12", "", 2**70, None, np.eye(2) * 1j]
)
def test_odd_entries_in_a_database(tmp_path: Path, model: Any, value: Any) -> None:
    from ase.db import connect

    atoms = Atoms("W2", positions=[[0.0] * 3, [0.0, 0.0, 2.7]], info={"note": value, "a key": 1})
    atoms.arrays["words"] = np.array(["x", "yz"])
    screen(model, [atoms], tmp_path / "a.csv", structures=tmp_path / "out.db")
    [row] = connect(tmp_path / "out.db").select()
    assert row.natoms == 2
    assert "words" in row.data


def test_a_database_of_nothing(tmp_path: Path, model: Any) -> None:
    from ase.db import connect

    screen(model, [Atoms("Cu")], tmp_path / "a.csv", structures=tmp_path / "out.db")
    assert connect(tmp_path / "out.db").count() == 0
    with pytest.raises(DataError, match=r"out\.db.* already"):
        screen(model, [Atoms("W")], tmp_path / "b.csv", structures=tmp_path / "out.db")
    screen(model, [Atoms("W")], tmp_path / "b.csv", structures=tmp_path / "out.db", overwrite=True)
    assert connect(tmp_path / "out.db").count() == 1
