"""Units of labels and lengths: what counts as a statement, and what it converts to."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from etn_gpu.errors import DataError
from etn_gpu.structures.label_units import in_angstrom, label_unit, unit_statements

HARTREE_BOHR = units.Hartree / units.Bohr

FACTORS = {
    ("energy", "eV"): 1.0,
    ("energy", "meV"): 1e-3,
    ("energy", "Hartree"): units.Hartree,
    ("energy", "E_h"): units.Hartree,
    ("energy", "a.u."): units.Hartree,
    ("energy", "mHa"): 1e-3 * units.Hartree,
    ("energy", "Ry"): units.Rydberg,
    ("energy", "kcal/mol"): units.kcal / units.mol,
    ("energy", "kJ_per_mol"): units.kJ / units.mol,
    ("energy", "eV per atom"): 2.0,
    ("forces", "eV/Å"): 1.0,
    ("forces", "eV/\u212b"): 1.0,
    ("forces", "Ha/a0"): HARTREE_BOHR,
    ("forces", "hartree / bohr"): HARTREE_BOHR,
    ("forces", "kcal mol^-1 A^-1"): units.kcal / units.mol,
    ("forces", "(kcal/mol)/Ang"): units.kcal / units.mol,
    ("forces", "au"): HARTREE_BOHR,
    ("stress", "GPa"): units.GPa,
    ("stress", "kB"): 0.1 * units.GPa,
    ("stress", "bar"): 1e-4 * units.GPa,
    ("stress", "MPa"): 1e-3 * units.GPa,
    ("stress", "eV/Å³"): 1.0,
    ("stress", "eV Å⁻³"): 1.0,
    ("stress", "Hartree/Bohr**3"): units.Hartree / units.Bohr**3,
    ("virial", "kcal/mol"): units.kcal / units.mol,
}


def stated(quantity: str, text: object, key: str | None = None) -> tuple[str, float] | None:
    """What a structure of two atoms states for a label called like its quantity."""
    key = key or f"{quantity}_unit"
    return label_unit(unit_statements([key]), quantity, quantity, Atoms("Al2", info={key: text}))


@pytest.mark.parametrize(("quantity", "text"), FACTORS)
def test_factors(quantity: str, text: str) -> None:
    found = stated(quantity, text)
    assert found is not None
    assert found[0] == text
    assert found[1] == pytest.approx(FACTORS[quantity, text], rel=1e-12)


@pytest.mark.parametrize(
    ("quantity", "text", "factor"),
    [
        ("energy", "hartree", units.Hartree),
        ("forces", "hartree", None),
        ("energy", "eV, Angstrom", 1.0),
        ("forces", "energy:Ha forces:Ha/bohr length:A", HARTREE_BOHR),
        ("stress", "stress = GPa, energy = eV", units.GPa),
        ("virial", "atomic units", units.Hartree),
        ("forces", "metal", 1.0),
        ("stress", "metal", None),
    ],
)
def test_statements_for_all(quantity: str, text: str, factor: float | None) -> None:
    found = stated(quantity, text, "units")
    assert (found and found[1]) == (factor and pytest.approx(factor, rel=1e-12))


@pytest.mark.parametrize("text", ["parsec", "MeV", "real", "eV/parsec", "", 27.2, "eV//A", "/eV"])
@pytest.mark.parametrize("key", ["energy-unit", "units"])
def test_unknown_units(key: str, text: object) -> None:
    with pytest.raises(DataError, match=f"{key}=.* states no unit that is known here: known are eV"):
        stated("energy", text, key)


@pytest.mark.parametrize(
    ("quantity", "text"), [("energy", "GPa"), ("forces", "eV"), ("stress", "eV/A"), ("forces", "eV/atom")]
)
def test_units_of_another_quantity(quantity: str, text: str) -> None:
    with pytest.raises(DataError, match=f"{quantity}_unit={text} is no unit of {quantity}, expected one like eV"):
        stated(quantity, text)


@pytest.mark.parametrize("key", ["unit_cell", "formula_units", "functional_unit", "communities", "time_unit"])
def test_what_is_no_statement(key: str) -> None:
    assert stated("energy", "hartree", key) is None
    atoms = Atoms("Al", positions=[[1.0, 0, 0]], info={key: "bohr"})
    assert in_angstrom(atoms).positions[0, 0] == 1.0


def test_a_word_of_a_comment_is_no_statement() -> None:
    assert stated("energy", True, "units") is None


def test_statements_for_a_prefix() -> None:
    keys = {"energy_unit": "Ry", "REF_energy_unit": "Ha"}
    atoms = Atoms("Al", info=dict(keys))
    statements = unit_statements(keys)
    assert label_unit(statements, "energy", "REF_energy", atoms) == ("Ha", units.Hartree)
    assert label_unit(statements, "energy", "energy", atoms) == ("Ry", units.Rydberg)


@pytest.mark.parametrize("key", ["length_unit", "length-units", "distance_unit", "units"])
def test_lengths_are_converted_once(key: str) -> None:
    atoms = Atoms("Al", positions=[[1.0, 2.0, 3.0]], cell=[4.0] * 3, pbc=True, info={key: "bohr"})
    for _ in range(2):
        atoms = in_angstrom(atoms)
        assert atoms.positions == pytest.approx(np.array([[1.0, 2.0, 3.0]]) * units.Bohr)
        assert atoms.cell.array == pytest.approx(4.0 * units.Bohr * np.eye(3))
    assert atoms.info["length_unit"] == "Angstrom"


def test_positions_and_lattice_apart() -> None:
    info = {"positions_unit": "Angstrom", "lattice_unit": "nm"}
    atoms = in_angstrom(Atoms("Al", positions=[[1.0, 0, 0]], cell=[0.4] * 3, pbc=True, info=info))
    assert atoms.positions[0, 0] == 1.0
    assert atoms.cell.array == pytest.approx(4.0 * np.eye(3))
    cluster = in_angstrom(Atoms("Al", positions=[[1.0, 0, 0]], info={"coordinates_unit": "bohr"}))
    assert cluster.positions[0, 0] == units.Bohr


@pytest.mark.parametrize("text", ["parsec", "eV", "GPa"])
def test_lengths_that_are_none(text: str) -> None:
    atoms = Atoms("Al", cell=[4.0] * 3, info={"length_unit": text})
    with pytest.raises(DataError, match=f"length_unit={text} (states no unit|is no unit of length)"):
        in_angstrom(atoms)


def test_positions_alone_say_nothing_of_the_cell() -> None:
    atoms = Atoms("Al", cell=[4.0] * 3, info={"pos_unit": "bohr"})
    with pytest.raises(DataError, match="pos_unit=bohr gives no unit of the cell: state a length_unit"):
        in_angstrom(atoms)
