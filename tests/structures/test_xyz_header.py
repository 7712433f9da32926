"""Headers of extended XYZ as other programs write them: read as what they mean, or refused; no crystal is a cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.errors import DataError
from etn_gpu.structures import read_structures
from etn_gpu.structures.xyz_header import usual_header

CELL = np.array([[3.0, 0.1, 0.0], [0.2, 3.1, 0.0], [0.0, 0.3, 3.2]])
NINE = " ".join(map(str, CELL.ravel()))
LATTICE = f'Lattice="{NINE}"'
COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"


def read_one(folder: Path, header: str, row: str = "Al 0 0 0 1 2 3", **options: object) -> Atoms:
    path = folder / "a.xyz"
    path.write_text(f"1\n{header}\n{row}\n")
    (frame,) = read_structures(path, **options)  # type: ignore[arg-type]
    if frame.atoms is None:
        assert frame.error is not None
        raise frame.error
    return frame.atoms


@pytest.mark.parametrize(
    "header",
    [
        f"{LATTICE} {COLUMNS}",
        f'lattice="{NINE}" properties=species:S:1:pos:R:3:forces:R:3',
        f'LATTICE="{NINE}" PROPERTIES=species:S:1:pos:R:3:forces:R:3',
        f'lattice = "{NINE}" properties = species:S:1:pos:R:3:forces:R:3 energy = -1.5',
        f"energy=-1.5\tlattice= '{NINE}'\tproperties =species:S:1:pos:R:3:forces:R:3",
        f"lAttice={{{NINE}}} Properties=Species:s:1:Pos:r:3:forces:R:3",
        f"Lattice=[{NINE.replace(' ', ', ')}] {COLUMNS}",
        f"Lattice={CELL.tolist()} {COLUMNS}",
        f"{LATTICE} {LATTICE.lower()} {COLUMNS}",
        f'Lattice="{NINE.replace(".0", ".0D+00")}" {COLUMNS}',
        f'Lattice="{NINE}" Properties="element:S:1:positions:R:3:forces:R:3" name="a = b"',
        f'{LATTICE} {COLUMNS} unit_cell="9 9 9 9 9 9" cell_index=3',
        f'{LATTICE} {COLUMNS} PBC="T T T"',
    ],
)
def test_a_lattice_in_any_spelling_is_a_crystal(tmp_path: Path, header: str) -> None:
    atoms = read_one(tmp_path, header)
    assert np.allclose(atoms.cell.array, CELL, rtol=0, atol=1e-12)
    assert atoms.pbc.all()
    assert atoms.get_forces().tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("value", "periodic"),
    [
        ('"T T F"', (True, True, False)),
        ('"t t f"', (True, True, False)),
        ("TTF", (True, True, False)),
        ("[1,1,0]", (True, True, False)),
        ("'p p f'", (True, True, False)),
        ('"True true FALSE"', (True, True, False)),
        ("{yes yes no}", (True, True, False)),
        ("T", (True, True, True)),
        ("f", (False, False, False)),
        ("none", (False, False, False)),
        ("0", (False, False, False)),
    ],
)
@pytest.mark.parametrize("key", ["pbc", "PBC", "Pbc "])
def test_flags_of_periodicity(tmp_path: Path, key: str, value: str, periodic: tuple[bool, ...]) -> None:
    assert tuple(read_one(tmp_path, f"{LATTICE} {COLUMNS} {key}={value}").pbc) == periodic


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f'Latice="{NINE}"', r"the header has Latice=.* and no Lattice: give the cell as Lattice="),
        (f'cell="{NINE}"', "the header has cell="),
        (f'unit_cell = "{NINE}"', "the header has unit_cell="),
        (f'Lattice_vectors="{NINE}"', "the header has Lattice_vectors="),
        ('box="10 10 10"', "the header has box="),
        ("box=10.5", "the header has box="),
        ('Cell="3 3 3 90 90 90"', "the header has Cell="),
        ("a=3 b=3 c=3 alpha=90 beta=90 gamma=90", "the header has a, b, c, alpha, beta, gamma and no Lattice"),
        (f"Lattice: {NINE}", "the header has 'Lattice: .*' and no Lattice="),
        ('Lattice="3 3 3"', r"Lattice=\"3 3 3\" holds 3 numbers: expected the nine components"),
        ('lattice="3 3 3 90 90 90"', "holds 6 numbers"),
        ('Lattice="a b c d e f g h i"', "3x3 matrix"),
        ('Lattice="3,0 0,0 0,0 0,0 3,0 0,0 0,0 0,0 3,0"', "3x3 matrix"),
        (f'{LATTICE} lattice="4 0 0 0 4 0 0 0 4"', "two different values for Lattice"),
        (f'{LATTICE} pbc="T T T" PBC="F F F"', "two different values for pbc"),
        (f'{LATTICE} pbc="T T"', 'pbc="T T": expected three flags'),
        (f"{LATTICE} pbc=maybe", "pbc=maybe: expected three flags"),
        (f"{LATTICE} Propertis=species:S:1:pos:R:3:forces:R:3", "Propertis=.* and no Properties: correct the name"),
        (f"{LATTICE} Properties=species:S:1:x:R:1:y:R:1:z:R:1", "names no positions: expected pos:R:3"),
        (f"{LATTICE} Properties=type:I:1:pos:R:3", "names no species: expected species:S:1, or Z:I:1"),
        (f"{LATTICE} Properties=species:S:1:pos:R", "expected NAME:TYPE:COUNT"),
        (f"{LATTICE} Properties=species:S:1:pos:X:3", "'X' is no type of a column"),
    ],
)
def test_what_only_looks_like_a_lattice_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"a.xyz, frame 0 \(line 1\): .*{message}"):
        read_one(tmp_path, header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "an excellent cluster in a box, made for lattice sums",
        "lattice_constant=3.1 lattice_type=bcc",
        "cell_index=3 box_id=7 cell_type=cubic",
        'i = 5, time = 2.5, E = -12.1 vec="1 2 3"',
        "energy=-1.5 a=3 b=4",
        "Properties=species:S:1:pos:R:3 source=1d0.d-x",
    ],
)
def test_clusters_stay_clusters(tmp_path: Path, header: str) -> None:
    assert not read_one(tmp_path, header, "Al 0 0 0").pbc.any()


def test_a_usual_header_comes_back_untouched() -> None:
    header = f'{LATTICE} {COLUMNS} energy=-1.0 config_type="a lattice box" pbc="T T F"'
    assert usual_header(header) is header


def test_six_values_of_stress_with_spaces_around_the_sign(tmp_path: Path) -> None:
    atoms = read_one(tmp_path, f'{LATTICE} {COLUMNS} stress = "1 2 3 4 5 6"')
    assert atoms.get_stress().tolist() == [1, 2, 3, 4, 5, 6]


def test_numbers_as_fortran_prints_them(tmp_path: Path) -> None:
    atoms = read_one(tmp_path, f"{LATTICE} {COLUMNS} energy=-1.5D+02", "Al 1.0D-3 .5d0 0.0D+00 1 2 3")
    assert atoms.positions.tolist() == [[0.001, 0.5, 0.0]]
    assert atoms.get_potential_energy() == -150.0


def test_decimal_commas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not convert string to float: '0,5'"):
        read_one(tmp_path, "", "Al 0,5 0 0")


def test_windows_line_ends_tabs_and_blanks_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_bytes(f"2\r\n{LATTICE} {COLUMNS}  \r\nAl\t0 0 0\t1 2 3 \t \r\nNi 1 1 1 1 2 3\r\n".encode())
    (frame,) = read_structures(path)
    assert frame.atoms is not None
    assert frame.atoms.symbols.get_chemical_formula() == "AlNi"
    assert frame.atoms.pbc.all()


@pytest.mark.parametrize("columns", ["Z:I:1:pos:R:3", "pos:R:3:atomic_numbers:I:1", "species:I:1:pos:R:3"])
def test_columns_of_atomic_numbers(tmp_path: Path, columns: str) -> None:
    row = "0 0 0 41" if columns.startswith("pos") else "41 0 0 0"
    assert read_one(tmp_path, f"{LATTICE} Properties={columns}", row).symbols.get_chemical_formula() == "Nb"


@pytest.mark.parametrize("header", ["", f"{LATTICE} Properties=species:S:1:pos:R:3"])
def test_numbers_in_the_column_of_species(tmp_path: Path, header: str) -> None:
    assert read_one(tmp_path, header, "41 0 0 0").symbols.get_chemical_formula() == "Nb"
    assert read_one(tmp_path, header, "2 0 0 0", species=["Nb", "Mo"]).symbols.get_chemical_formula() == "Mo"
    assert read_one(tmp_path, header, "8 0 0 0", species=["Z"]).symbols.get_chemical_formula() == "O"
    with pytest.raises(DataError, match=r"its species are numbers: it holds types \(2\) and no element names.*Z"):
        read_one(tmp_path, header, "2 0 0 0")
    with pytest.raises(DataError, match="go from 3 to 3: expected 1 to 2 for the 2 species Nb,Mo"):
        read_one(tmp_path, header, "3 0 0 0", species=["Nb", "Mo"])


@pytest.mark.parametrize("symbol", ["D", "Fe1", "Nb+5", "Xx"])
def test_names_of_no_element(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(DataError, match="no element is called"):
        read_one(tmp_path, "", f"{symbol} 0 0 0")
