"""Sites that are shared or partly occupied: no structure of whole atoms, whatever the format that says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from etn_gpu.structures import Frame, read_structures

CUBIC = """_cell_length_a 3.2
_cell_length_b 3.2
_cell_length_c 3.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
"""
SPACE_GROUP = "_symmetry_Int_Tables_number 229\n"
SITES = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def block(name: str, *sites: str, symmetry: str = SPACE_GROUP) -> str:
    return f"data_{name}\n{CUBIC}{symmetry}{SITES}" + "".join(f"{site}\n" for site in sites)


def frames(folder: Path, *blocks: str) -> list[Frame]:
    (folder / "a.cif").write_text("\n".join(blocks))
    return list(read_structures(folder / "a.cif"))


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (("Mo1 Mo 0 0 0 0.55", "Nb1 Nb 0 0 0 0.45"), "site 0 is shared by Mo 0.55 / Nb 0.45"),
        (("Ta1 Ta 0 0 0 0.25",), "site 0 is occupied by Ta 0.25"),
        (("Ta1 Ta 0 0 0 0.25(3)",), "site 0 is occupied by Ta 0.25"),
        (("W1 W 0 0 0 1.0", "Ta1 Ta 0.25 0.5 0 0.9"), "site 1 is occupied by Ta 0.9"),
        (("Mo1 Mo 0 0 0 0.5", "Nb1 Nb 1 0 0 0.5"), "site 0 is shared by Mo 0.5 / Nb 0.5"),
        (("Ta1 Ta 0 0 0 2",), "site 0 is occupied by Ta 2"),
    ],
)
def test_a_site_that_is_not_one_atom_is_named(tmp_path: Path, sites: tuple[str, ...], message: str) -> None:
    (frame,) = frames(tmp_path, block("x", *sites))
    assert frame.atoms is None
    assert f"a.cif, frame 0 (data_x): {message}" in str(frame.error)


@pytest.mark.parametrize(
    "sites",
    [
        ("Ta1 Ta 0 0 0 1",),
        ("Ta1 Ta 0 0 0 0.9995",),
        ("Ta1 Ta 0 0 0 .",),
        ("Ta1 Ta 0 0 0 0.333", "Ta2 Ta 0 0 0 0.333", "Ta3 Ta 0 0 0 0.334"),
    ],
)
def test_one_whole_atom_on_each_site_is_fine(tmp_path: Path, sites: tuple[str, ...]) -> None:
    (frame,) = frames(tmp_path, block("x", *sites))
    assert frame.atoms is not None
    assert frame.atoms.get_chemical_formula() == "Ta2"
    assert "occupancy" not in frame.atoms.info


def test_blocks_are_read_one_by_one(tmp_path: Path) -> None:
    empty = f"data_cell\n{CUBIC}"
    plain = block("c", "W1 W 0 0 0 1", symmetry="")
    found = frames(
        tmp_path, block("a", "W1 W 0 0 0 1"), empty, block("b", "W1 W 0 0 0 0.5"), block("bad", "Q Q 0 0 0 1"), plain
    )
    assert [frame.index for frame in found] == [0, 1, 2, 3]
    assert [None if frame.atoms is None else len(frame.atoms) for frame in found] == [2, None, None, 1]
    assert "data_bad): not a readable cif block" in str(found[2].error)


def test_the_note_survives_other_formats(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(block("x", "Mo1 Mo 0 0 0 0.55", "Nb1 Nb 0 0 0 0.45"))
    disordered = read(tmp_path / "a.cif")
    for name in ("a.extxyz", "a.traj"):
        write(tmp_path / name, disordered)
        (frame,) = read_structures(tmp_path / name)
        assert "shared by Mo 0.55 / Nb 0.45" in str(frame.error), name


def test_protein_data_bank(tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    atoms.set_array("occupancy", np.array([1.0, 0.5, 1.0, 1.0]))
    write(tmp_path / "a.pdb", atoms)
    text = (tmp_path / "a.pdb").read_text()
    assert "1.00" in text
    lines = text.splitlines(keepends=True)
    second = next(k for k, line in enumerate(lines) if line.startswith("ATOM      2"))
    lines[second] = lines[second][:54] + "  0.50" + lines[second][60:]
    (tmp_path / "a.pdb").write_text("".join(lines))
    (frame,) = read_structures(tmp_path / "a.pdb")
    assert "site 1 is occupied by Al 0.5" in str(frame.error)


def test_ghosts_are_no_element(tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", Atoms("XAl", positions=[[0, 0, 0], [0, 0, 2]]))
    (frame,) = read_structures(tmp_path / "a.extxyz")
    assert frame.atoms is not None  # what a model does not know is refused when it is evaluated
    assert frame.atoms.numbers[0] == 0
