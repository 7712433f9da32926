"""Duplicates are found in any cell, orientation and order of atoms, and what is only similar is not one."""

from __future__ import annotations

import csv
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

import etn_gpu
from etn_gpu.errors import DataError
from etn_gpu.files import unfinished
from etn_gpu.screening import BatchLimits, MemorySource, Screening, screen
from etn_gpu.screening.duplicates import Duplicates
from etn_gpu.screening.isometry import Surroundings, same
from etn_gpu.screening.packed import packed, periodic, unpacked
from etn_gpu.screening.site_distances import site_distances

TOLERANCE = 0.02


def alloy(seed: int, repeat: tuple[int, int, int] = (2, 2, 1), rattle: float = 0.1) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("W", "bcc", a=3.2, cubic=True) * repeat
    atoms.symbols[:] = rng.permutation((["Mo", "Nb", "W", "W"] * len(atoms))[: len(atoms)])
    atoms.rattle(rattle, seed=seed)
    return atoms


def copy_of(atoms: Atoms, seed: int) -> Atoms:
    """The structure in another cell, larger perhaps, turned, reflected perhaps, shifted, its atoms in another order."""
    rng = np.random.default_rng(seed)
    repeats = np.where(atoms.pbc, rng.integers(1, 3, 3), 1)
    other = atoms * tuple(repeats)
    if atoms.pbc.all():
        shear = np.eye(3)
        shear[0, 1:] = rng.integers(-1, 2, 2)
        other.set_cell(shear @ other.cell.array)
    other = other[rng.permutation(len(other))]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    other.set_cell(other.cell.array @ turn)
    other.positions = other.positions @ turn + rng.normal(size=3)
    if atoms.pbc.all():
        other.wrap()
    return other


def is_same(one: Atoms, other: Atoms, tolerance: float = TOLERANCE) -> bool:
    return same(Surroundings(one), Surroundings(other), tolerance)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rattle=st.sampled_from([0.0, 0.1]))
def test_copies_are_the_same(seed: int, rattle: float) -> None:
    atoms = alloy(seed, (2, 1, 1), rattle)
    other = copy_of(atoms, seed)
    moved = other.copy()
    moved.rattle(0.002, seed=seed)
    first, second, third = site_distances([atoms, other, moved])
    np.testing.assert_allclose(second, first, atol=1e-6)
    assert np.abs(third - first).max() < 0.02
    assert is_same(atoms, other)
    assert is_same(other, atoms)
    assert is_same(atoms, moved)


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("H2O"), molecule("CH3CH2OH"), molecule("CO2"), molecule("N2"), molecule("C6H6"), Atoms("W"),
        bulk("NaCl", "rocksalt", a=5.6), bulk("Ti", "hcp", a=2.9, c=4.6), bulk("Si", "diamond", a=5.4),
        fcc111("Al", (2, 2, 3), vacuum=6.0), Atoms("W", cell=[3.0, 3.0, 3.0], pbc=[True, False, False]),
        Atoms("W", cell=[9.0] * 3, pbc=True),
    ],
    ids=lambda atoms: str(atoms.symbols),
)  # fmt: skip
def test_molecules_slabs_and_chains(atoms: Atoms) -> None:
    moved = atoms.copy()
    moved.positions += 0.3
    assert is_same(atoms, moved[::-1])
    if len(atoms) > 2:
        assert is_same(atoms, copy_of(atoms, 1))
        far = atoms.copy()
        far.positions[0] += [0.0, 0.0, 0.2]
        assert not is_same(atoms, far)


def test_orders_on_one_lattice_differ() -> None:
    """The orders of two elements on eight sites, of which four differ: some share all distances between pairs."""
    lattice = bulk("W", "bcc", a=3.2) * (2, 2, 2)
    orders = []
    for sites in combinations(range(8), 4):
        atoms = lattice.copy()
        atoms.symbols[list(sites)] = "Mo"
        orders.append(atoms)
    model = etn_gpu.load("nbmotaw")
    energies = [result["energy"] for result in model.evaluate(orders)]
    kept: list[tuple[Atoms, float]] = []
    for atoms, energy in zip(orders, energies, strict=True):
        found = [its for one, its in kept if is_same(one, atoms)]
        assert [its for _, its in kept if abs(its - energy) < 1e-9] == pytest.approx(found)
        if not found:
            kept.append((atoms, energy))
    assert len(kept) == 4
    distances = np.array(site_distances([atoms for atoms, _ in kept]))
    assert min(np.abs(a - b).max() for a, b in combinations(distances, 2)) < 1e-9


@pytest.mark.parametrize(
    "change",
    ["strain", "swap", "shift", "volume", "vacancy"],
)
def test_what_is_only_similar_is_not_the_same(change: str) -> None:
    atoms = alloy(1, rattle=0.0)
    other = atoms.copy()
    if change == "strain":
        other.set_cell(other.cell.array * [[1.0], [1.0], [1.01]] * np.cbrt(1 / 1.01), scale_atoms=True)
    elif change == "swap":
        first, second = (int(np.flatnonzero(other.symbols == symbol)[0]) for symbol in ("Mo", "Nb"))
        other.symbols[[first, second]] = other.symbols[[second, first]]
    elif change == "shift":
        other.positions[0] += [0.05, 0.0, 0.0]
    elif change == "volume":
        other.set_cell(other.cell.array * 1.015, scale_atoms=True)
    else:
        del other[0]
    assert not is_same(atoms, other)
    assert not is_same(other, atoms)


def test_packed_structures() -> None:
    for atoms in (alloy(3), molecule("H2O"), fcc111("Al", (1, 1, 2), vacuum=3.0), Atoms("W", pbc=[False, True, True])):
        text = packed(atoms)
        again = unpacked(text)
        np.testing.assert_array_equal(again.numbers, atoms.numbers)
        np.testing.assert_array_equal(again.pbc, atoms.pbc)
        np.testing.assert_allclose(again.positions, atoms.positions, atol=1e-6)
        np.testing.assert_allclose(again.cell.array, atoms.cell.array, atol=1e-6)
        assert periodic(text) == sum(1 << axis for axis in range(3) if atoms.pbc[axis])
        assert not set('",\n') & set(text)


def numbers_of(rows: list[tuple[Atoms, float, bool]]) -> dict[int, int]:
    duplicates = Duplicates(TOLERANCE)
    for number, (atoms, energy, ok) in enumerate(rows):
        volume = atoms.get_volume() / len(atoms) if atoms.pbc.all() else None
        duplicates.see(number, ok, atoms.get_chemical_formula(), energy, volume, packed(atoms))
    return duplicates.found()


def test_the_best_is_kept() -> None:
    a, b = alloy(1, (2, 1, 1)), alloy(2, (2, 1, 1))
    copies = [copy_of(a, seed) for seed in range(4)]
    assert numbers_of([(copies[0], -1.0, True), (copies[1], -1.0, True)]) == {1: 0}
    assert numbers_of([(copies[0], -1.0, True), (b, -1.0, True), (copies[1], -1.0005, True)]) == {0: 2}
    assert numbers_of([(copies[0], -1.0, True), (copies[1], -1.0 - 1e-8, True)]) == {1: 0}  # round-off
    assert numbers_of([(copies[0], -1.0005, False), (copies[1], -1.0, True)]) == {0: 1}
    assert numbers_of([(copies[0], -1.0, True), (copies[1], -1.01, True)]) == {}
    assert numbers_of([(copies[k], -1.0, True) for k in (2, 0, 3, 1)]) == {1: 0, 2: 0, 3: 0}


def test_neither_batches_nor_the_others_matter() -> None:
    rows = [(copy_of(alloy(k % 7, (2, 1, 1)), k), -1.0 - 0.1 * (k % 7), True) for k in range(30)]
    found = numbers_of(rows)
    assert found == {k: k % 7 for k in range(7, 30)}
    assert numbers_of(rows[:12]) == {k: k % 7 for k in range(7, 12)}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def structures() -> list[Atoms]:
    found = []
    for k in range(24):
        atoms = copy_of(alloy(k % 5, (2, 1, 1)), k)
        atoms.info["name"] = f"n{k}"
        found.append(atoms)
    found[3].symbols[0] = "Cu"  # fails
    return found


def test_rows_of_duplicates_are_there_and_not_ranked(tmp_path: Path, model: Any, structures: list[Atoms]) -> None:
    options: dict[str, Any] = {"unique": TOLERANCE, "rank": "energy_per_atom"}
    source = MemorySource("m", structures)
    report = screen(model, source, tmp_path / "out.csv", **options)
    rows = rows_of(tmp_path / "out.csv")
    originals = {0: 0, 1: 1, 2: 2, 3: 8, 4: 4}
    expected = ["" if originals[k % 5] == k or k == 3 else f"m [{originals[k % 5]}]" for k in range(24)]
    assert [row["duplicate_of"] for row in rows] == expected
    assert list(rows[0])[-1] == "duplicate_of"
    assert {row.index for row in report.ranking.rows()} == set(originals.values())
    assert report.ranking.n_duplicates == 18
    screen(model, MemorySource("m", structures), tmp_path / "ids.csv", id="name", **options)
    assert [row["duplicate_of"] for row in rows_of(tmp_path / "ids.csv")] == [
        text and f"n{originals[k % 5]}" for k, text in enumerate(expected)
    ]
    asked = screen(
        model, MemorySource("m", structures), tmp_path / "asked.csv", where="duplicate_of == None", **options
    ).ranking
    assert asked.n_ranked == 5


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_run_that_goes_on_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, structures: list[Atoms], suffix: str
) -> None:
    monkeypatch.setattr(unfinished, "_INTERVAL", 0.0)
    monkeypatch.setattr(unfinished, "_SHARE", 0.0)
    options: dict[str, Any] = {"unique": TOLERANCE, "keep": ["name"], "limits": BatchLimits.for_atoms(40)}
    whole = screen(model, structures, tmp_path / f"whole.{suffix}", **options)
    steps = iter(Screening(model, structures, tmp_path / f"out.{suffix}", **options))
    first = next(steps)
    assert "duplicate_of" in first[0].more
    assert first[0].more["duplicate_of"] is None
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"unique was 0\.02, is null"):
        Screening(model, structures, tmp_path / f"out.{suffix}", resume=True, **options | {"unique": None})
    again = screen(model, structures, tmp_path / f"out.{suffix}", resume=True, **options | {"limits": BatchLimits()})
    assert again.n_before > 0
    assert (tmp_path / f"out.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert again.ranking.rows() == whole.ranking.rows()


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0, float("nan"), True, "x"])
def test_tolerances_that_are_none(tmp_path: Path, model: Any, tolerance: Any) -> None:
    with pytest.raises(DataError, match=r"unique = .*: expected a tolerance in A from 0\.001 to 0\.2"):
        Screening(model, [], tmp_path / "out.csv", unique=tolerance)


def test_pipes_have_no_duplicates(model: Any) -> None:
    with pytest.raises(DataError, match=r"/dev/null is a pipe or a device, .*: choose a file as the output"):
        Screening(model, [], "/dev/null", unique=TOLERANCE)
