"""Formats by name: asked for, or near to what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.structures import check_format, read_structures


@pytest.mark.parametrize(
    ("given", "meant"),
    [("extxyz", "extxyz"), ("XYZ", "extxyz"), ("vasp", "vasp"), ("POSCAR", "vasp"), ("mlip-cfg", "mlip-cfg")],
)
def test_names(given: str, meant: str) -> None:
    assert check_format(given) == meant


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lammps", r"no format 'lammps' of structures; did you mean .*lammps-d"),
        ("mysql", "no format 'mysql'"),
        ("png", "no format 'png'"),
        ("", "no format ''.*ase info --formats"),
    ],
)
def test_unknown_names(given: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_format(given)


def test_a_format_that_no_name_tells(tmp_path: Path) -> None:
    path = tmp_path / "structure.1"
    write(path, bulk("Al", cubic=True), format="vasp")
    with pytest.raises(DataError, match="name its format with --format"):
        read_structures(path)
    (frame,) = read_structures(path, format="vasp")
    assert frame.atoms is not None
    assert frame.atoms.get_chemical_formula() == "Al4"


def test_a_poscar_without_elements(tmp_path: Path) -> None:
    path = tmp_path / "POSCAR"
    path.write_text("no elements\n1.0\n3 0 0\n0 3 0\n0 0 3\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n")
    with pytest.raises(DataError, match=r"names no elements for its 2 groups.*VASP 4.*--species"):
        list(read_structures(path))
    with pytest.raises(DataError, match="it has 2 groups of atoms: expected as many species, got Nb"):
        list(read_structures(path, species=["Nb"]))
    (frame,) = read_structures(path, species=["Nb", "W"])
    assert frame.atoms is not None
    assert frame.atoms.get_chemical_symbols() == ["Nb", "W"]


@pytest.mark.parametrize(
    ("species", "message"), [(["Nb", "Qq"], "'Qq' is none"), ([], "species of no name"), (["X"], "'X'")]
)
def test_species_that_are_none(tmp_path: Path, species: list[str], message: str) -> None:
    write(tmp_path / "a.xyz", bulk("Al"))
    with pytest.raises(DataError, match=message):
        read_structures(tmp_path / "a.xyz", species=species)
