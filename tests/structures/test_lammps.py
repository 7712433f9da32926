"""LAMMPS dumps and data files: elements by name, by mass, by --species, never made up."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.structures import Frame, collect_labels, read_structures

HEAD = "ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 3\n0 3\n0 4\n"


def snapshot(columns: str = "id type x y z", *rows: str, step: int = 0) -> str:
    rows = rows or ("2 2 1.5 1.5 1.5", "1 1 0 0 0")
    return HEAD.format(step=step) + f"ITEM: ATOMS {columns}\n" + "".join(f"{row}\n" for row in rows)


def frames(folder: Path, text: str, species: list[str] | None = None) -> list[Frame]:
    (folder / "dump.lammpstrj").write_text(text)
    return list(read_structures(folder / "dump.lammpstrj", species=species))


def symbols(folder: Path, text: str, species: list[str] | None = None) -> list[str]:
    (frame,) = frames(folder, text, species)
    if frame.atoms is None:
        raise frame.error or AssertionError
    return frame.atoms.get_chemical_symbols()


def test_types_ask_for_species(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"frame 0 \(line 1\): it holds types \(1, 2\) and no element names.*--species"):
        symbols(tmp_path, snapshot())
    assert symbols(tmp_path, snapshot(), ["Nb", "W"]) == ["Nb", "W"]
    with pytest.raises(DataError, match="go from 1 to 2: expected 1 to 1"):
        symbols(tmp_path, snapshot(), ["Nb"])


@pytest.mark.parametrize(
    ("columns", "rows", "species", "expected"),
    [
        ("id element x y z", ("1 W 0 0 0", "2 Nb 1 1 1"), None, ["W", "Nb"]),
        ("id type element x y z", ("1 1 W 0 0 0", "2 2 Nb 1 1 1"), None, ["W", "Nb"]),
        ("id type mass x y z", ("1 1 183.84 0 0 0", "2 2 93 1 1 1"), None, ["W", "Nb"]),
        # what LAMMPS writes unless it is told the elements
        ("id type element x y z", ("1 1 C 0 0 0", "2 2 C 1 1 1"), ["Ta", "Nb"], ["Ta", "Nb"]),
        ("id type element x y z", ("1 1 1 0 0 0", "2 2 2 1 1 1"), ["Ta", "Nb"], ["Ta", "Nb"]),
        ("id type mass x y z", ("1 1 1 0 0 0", "2 2 2 1 1 1"), ["Ta", "Nb"], ["Ta", "Nb"]),
    ],
)
def test_elements(
    tmp_path: Path, columns: str, rows: tuple[str, ...], species: list[str] | None, expected: list[str]
) -> None:
    assert symbols(tmp_path, snapshot(columns, *rows), species) == expected
    if species is not None:
        with pytest.raises(DataError, match="no element names"):
            symbols(tmp_path, snapshot(columns, *rows))


def test_forces_come_without_an_energy_made_up(tmp_path: Path) -> None:
    text = snapshot("id element x y z fx fy fz", "1 W 0 0 0 1 2 3", "2 W 1 1 1 -1 -2 -3")
    (frame,) = frames(tmp_path, text)
    assert frame.atoms is not None
    labels = collect_labels([frame.atoms])
    assert np.isnan(labels.energy).all()
    assert labels.forces[0] is not None
    assert labels.forces[0].tolist() == [[1, 2, 3], [-1, -2, -3]]


def test_units_of_the_dump(tmp_path: Path) -> None:
    text = "ITEM: UNITS\nreal\n" + snapshot("id element x y z fx fy fz", "1 W 0 0 0 1 0 0", "2 W 1 1 1 -1 0 0")
    (frame,) = frames(tmp_path, text)
    assert frame.atoms is not None
    assert frame.atoms.get_forces()[0, 0] == pytest.approx(0.0433641, abs=1e-6)


def test_a_broken_snapshot_costs_no_other(tmp_path: Path) -> None:
    bad = snapshot(step=1).replace("1 1 0 0 0\n", "")
    cut = snapshot(step=3)[:120]
    found = frames(tmp_path, snapshot() + bad + snapshot(step=2) + cut, ["Nb", "W"])
    assert [frame.atoms is None for frame in found] == [False, True, False, True]
    assert "expected 2 atom lines as its count says, found 1" in str(found[1].error)
    assert found[2].atoms is not None
    assert found[2].atoms.info["timestep"] == 2


BOX = "0 3 xlo xhi\n0 3 ylo yhi\n0 4 zlo zhi\n"
DATA = "title\n\n2 atoms\n2 atom types\n" + BOX + "\n{}Atoms # atomic\n\n1 1 0 0 0\n2 2 1 1 1\n"


def data(folder: Path, masses: str = "", species: list[str] | None = None) -> Atoms:
    (folder / "structure.data").write_text(DATA.format(masses))
    (frame,) = read_structures(folder / "structure.data", format="lammps-data", species=species)
    assert frame.atoms is not None
    return frame.atoms


def test_data_files(tmp_path: Path) -> None:
    assert data(tmp_path, "Masses\n\n1 183.84\n2 92.9\n\n").get_chemical_symbols() == ["W", "Nb"]
    assert data(tmp_path, "Masses\n\n1 1.0\n2 2.0\n\n", ["Mo", "Ta"]).get_chemical_symbols() == ["Mo", "Ta"]
    assert data(tmp_path, species=["Mo", "Ta"]).get_chemical_symbols() == ["Mo", "Ta"]


@pytest.mark.parametrize("masses", ["", "Masses\n\n1 1.0\n2 2.0\n\n"])
def test_data_files_without_elements_ask_for_species(tmp_path: Path, masses: str) -> None:
    with pytest.raises(DataError, match=r"it holds types \(1, 2\) and no element names") as caught:
        data(tmp_path, masses)
    assert bool(re.search(r"masses \(1, 2\) are of no element", str(caught.value))) == bool(masses)
    with pytest.raises(DataError, match="it has 2 types: expected as many species, got Nb"):
        data(tmp_path, masses, ["Nb"])


@pytest.mark.parametrize("name", ["a.data", "data.alloy", "a.lmp", "a.txt"])
def test_data_files_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    atoms = bulk("W", cubic=True)
    write(tmp_path / name, atoms, format="lammps-data", masses=True)
    (frame,) = read_structures(tmp_path / name)
    assert frame.atoms is not None
    assert frame.atoms.get_chemical_formula() == "W2"
