"""Data sets of MLIP: what a broken configuration costs, and what the words of the format mean."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from etn_gpu.structures import Frame, read_structures

ATOMS = """ AtomData:  id type cartes_x cartes_y cartes_z fx fy fz
 1 0 0 0 0 1 2 3
 2 1 1.5 1.5 1.5 -1 -2 -3
"""
GOOD = f"""BEGIN_CFG
 Size
 2
 Supercell
 3 0 0
 0 3 0
 0 0 4
{ATOMS} Energy
 -12.5
 PlusStress: xx yy zz yz xz xy
 36 72 108 -36 -72 -108
 Feature EFS_by VASP
END_CFG

"""


def frames(folder: Path, text: str, species: str = "Nb,W") -> list[Frame]:
    (folder / "a.cfg").write_text(text)
    return list(read_structures(folder / "a.cfg", species=species.split(",")))


def test_labels_and_structure(tmp_path: Path) -> None:
    (frame,) = frames(tmp_path, GOOD)
    assert frame.atoms is not None
    assert frame.atoms.get_chemical_symbols() == ["Nb", "W"]
    assert frame.atoms.pbc.all()
    assert frame.atoms.get_potential_energy() == -12.5
    assert frame.atoms.get_forces().tolist() == [[1, 2, 3], [-1, -2, -3]]
    assert np.allclose(frame.atoms.get_stress(), [-1, -2, -3, 1, 2, 3], rtol=0, atol=1e-12)


def test_columns_and_components_go_by_their_words(tmp_path: Path) -> None:
    text = GOOD.replace(ATOMS, " AtomData: type id direct_z direct_y direct_x\n1 1 0.5 0 0\n0 2 0 0 0.5\n")
    text = text.replace("xx yy zz yz xz xy\n 36 72 108 -36 -72 -108", "xy xx yy zz xz yz\n -108 36 72 108 -72 -36")
    (frame,) = frames(tmp_path, text)
    assert frame.atoms is not None
    assert frame.atoms.get_chemical_symbols() == ["W", "Nb"]
    assert frame.atoms.positions.tolist() == [[0, 0, 2], [1.5, 0, 0]]
    assert np.allclose(frame.atoms.get_stress(), [-1, -2, -3, 1, 2, 3], rtol=0, atol=1e-12)
    assert "forces" not in frame.atoms.calc.results


def test_fewer_vectors_are_fewer_periodic_directions(tmp_path: Path) -> None:
    slab, cluster = GOOD.replace(" 0 0 4\n", ""), GOOD.replace(" Supercell\n 3 0 0\n 0 3 0\n 0 0 4\n", "")
    first, second = frames(tmp_path, slab + cluster)
    assert first.atoms is not None
    assert second.atoms is not None
    assert first.atoms.pbc.tolist() == [True, True, False]
    assert not second.atoms.pbc.any()
    assert "stress" not in first.atoms.calc.results


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" 1 0 0 0 0 1 2 3\n", "", "expected 2 atoms as its Size says, found 1"),
        (" 1 0 0 0 0 1 2 3\n", " 1 0 0 0 0 1 2\n", "has 7 columns: expected 8"),
        (" 1 0 0 0 0 1", " 1 0 0 0 O 1", "could not convert string to float: 'O'"),
        (" 2 1 1.5", " 2 2 1.5", "go from 0 to 2: expected 0 to 1 for the 2 species Nb,W"),
        ("PlusStress:", "Virial:", "Virial: has no settled sign and unit: expected PlusStress"),
        ("PlusStress:", "Pressure:", "unknown section 'Pressure:'"),
        ("cartes_x", "x", "AtomData has the columns .*: expected cartes_x, cartes_y, cartes_z"),
        ("zz yz", "zz zz", "expected the six components xx yy zz yz xz xy"),
        (" 0 0 4\n", " 0 0 4\n 1 1 1\n", "Supercell has 4 rows"),
        (" Size\n 2\n", "", "it has no Size"),
        ("END_CFG\n", "", "the configuration has no END_CFG"),
    ],
)
def test_a_broken_configuration_costs_no_other(tmp_path: Path, old: str, new: str, message: str) -> None:
    found = frames(tmp_path, GOOD + GOOD.replace(old, new) + GOOD)
    assert [frame.atoms is None for frame in found] == [False, True, False]
    assert found[1].index == 1
    assert re.search(rf"a.cfg, frame 1 \(line 18\): .*{message}", str(found[1].error))


def test_types_ask_for_species(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(GOOD)
    (frame,) = read_structures(tmp_path / "a.cfg")
    assert "it holds types (0, 1) and no element names" in str(frame.error)
    assert "--species" in str(frame.error)
