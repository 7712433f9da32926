"""Units that a file states for its labels or its lengths: converted exactly where they are known, else refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etn_gpu.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

#: Powers of energy, length and number of atoms in the unit of each quantity, and that unit in words.
_DIMENSIONS = {
    "energy": ((1, 0, 0), "eV"),
    "forces": ((1, -1, 0), "eV/A"),
    "stress": ((1, -3, 0), "eV/A^3"),
    "virial": ((1, 0, 0), "eV"),
    "length": ((0, 1, 0), "A"),
}
_OF = {name: quantity for quantity in ("energy", "forces", "stress", "virial") for name in (quantity, quantity + "s")}
_OF |= {"energies": "energy", "force": "forces", "stresses": "stress", "free_energy": "energy", "e": "energy"}
_POSITIONS = ("position", "positions", "pos", "coordinate", "coordinates", "coord", "coords")
_OF |= dict.fromkeys(("length", "lengths", "distance", "distances"), "length")
_OF |= dict.fromkeys(_POSITIONS, "positions") | {"lattice": "lattice"}
#: `energy-unit`, `REF_forces_units`, `unit_energy`, `energyunit`; `units` alone speaks for all.
_STATEMENT = re.compile(r"(?P<prefix>ref_|dft_)?(?:(?P<name>[a-z_]*?)_?units?|units?_(?P<other>[a-z_]+))")
#: Words for whole systems of units: of energy, forces, stress, virial, length.
_ASE = {"energy": "eV", "forces": "eV/A", "virial": "eV", "length": "A"}
_ATOMIC = {"energy": "Ha", "forces": "Ha/bohr", "stress": "Ha/bohr^3", "virial": "Ha", "length": "bohr"}
_SYSTEMS = {"ase": _ASE, "metal": _ASE, "au": _ATOMIC, "a.u.": _ATOMIC, "atomic": _ATOMIC, "atomic units": _ATOMIC}
_TOKEN = re.compile(r"(?P<sign>[/*]?)(?P<unit>[A-Za-z_]+)(?:\^?(?P<power>-?[0-9]))?")
#: The lengths that statements of units speak of.
LENGTHS = ("length", "positions", "lattice")
_LENGTHS = {"positions": ("positions",), "lattice": ("cell",)} | dict.fromkeys(("length", ""), ("positions", "cell"))
_KNOWN = "known are eV, meV, hartree, Ry, kcal/mol and kJ/mol, each also per A or bohr; GPa, MPa, kbar, bar, eV/A^3"
_SPELLINGS = {
    "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}": "A",
    "\N{ANGSTROM SIGN}": "A",
    "\N{COMBINING RING ABOVE}": "",
    "\N{LATIN SMALL LETTER O WITH DIAERESIS}": "o",
    "\N{SUPERSCRIPT THREE}": "^3",
    "\N{SUPERSCRIPT MINUS}": "^-",
    "\N{SUPERSCRIPT ONE}": "1",
    "\N{MIDDLE DOT}": "*",
    "**": "^",
    "^-^3": "^-3",
    "a0": "bohr",
    "a_0": "bohr",
    "(": "",
    ")": "",
}


class UnitStatement(NamedTuple):
    """An entry of `info` that states a unit.

    quantity: "energy", "forces", "stress", "virial", "length", "positions", "lattice", "" for all of them, or the key
    that it speaks of; prefix: "ref_" or "dft_" for keys with that prefix only, "" for all.
    """

    quantity: str
    prefix: str
    key: str


def unit_statements(keys: Iterable[str]) -> tuple[UnitStatement, ...]:
    """Those of the keys that state units, the most specific first."""
    found = []
    for key in keys:
        lower = _plain(key)
        if "unit" in lower and (match := _STATEMENT.fullmatch(lower)):
            name = match["name"] or match["other"] or ""
            found.append(UnitStatement(_OF.get(name, name), match["prefix"] or "", key))
    return tuple(sorted(found, key=lambda item: (not item.prefix, not item.quantity)))


def label_unit(statements: Iterable[UnitStatement], quantity: str, key: str, atoms: Atoms) -> tuple[str, float] | None:
    """The unit that a structure states for the label under `key`, and what one of it is in eV, eV/A or eV/A^3.

    None where nothing is stated.

    Raises:
        DataError: a unit that is not known, or is no unit of this quantity.
    """
    plain = _plain(key)
    for statement in statements:
        if statement.quantity in (quantity, "", plain) and plain.startswith(statement.prefix):
            found = _read(statement, quantity, atoms)
            if found is not None:
                text, value, per_atom = found
                return text, value * (len(atoms) if per_atom else 1)
    return None


def in_angstrom(atoms: Atoms) -> Atoms:
    """The structure with positions and cell in A, whatever unit its `info` states for them.

    The statement is made true: it says Angstrom from then on.

    Raises:
        DataError: a unit of lengths that is not known, or of positions only where there is a cell too.
    """
    scales, places = _length_scales(atoms)
    if all(scale == 1.0 for scale in scales.values()):
        return atoms
    if not atoms.cell.array.any():
        scales.setdefault("cell", 1.0)
    if missing := {"positions", "cell"} - set(scales):
        raise DataError(
            f"{', '.join(places)} gives no unit of the {', '.join(missing)}: state a length_unit for both, or write "
            "all lengths in A"
        )
    atoms.set_cell(atoms.cell.array * scales["cell"], scale_atoms=False)
    atoms.positions *= scales["positions"]
    for statement in unit_statements(key for key in atoms.info if isinstance(key, str)):
        if statement.quantity in LENGTHS:
            del atoms.info[statement.key]
    atoms.info["length_unit"] = "Angstrom"
    return atoms


def lengths_are_foreign(atoms: Atoms) -> bool:
    """Whether `info` states another unit of positions or cell than A, or one that is not known."""
    try:
        return any(scale != 1.0 for scale in _length_scales(atoms)[0].values())
    except DataError:
        return True


def _length_scales(atoms: Atoms) -> tuple[dict[str, float], list[str]]:
    """What the stated units of "positions" and "cell" are in A, and the statements as they are written."""
    keys = [key for key in atoms.info if isinstance(key, str) and "unit" in key.lower()]
    scales: dict[str, float] = {}
    places: list[str] = []
    for statement in unit_statements(keys):
        parts = _LENGTHS.get(statement.quantity, ())
        if parts and (found := _read(statement, "length", atoms)) is not None:
            places.append(f"{statement.key}={found[0]}")
            for part in parts:
                scales.setdefault(part, found[1])
    return scales, places


def _plain(key: str) -> str:
    return re.sub(r"[-\s.]", "_", key.lower())


def _read(statement: UnitStatement, quantity: str, atoms: Atoms) -> tuple[str, float, bool] | None:
    """The text of a statement, what its unit of the quantity is, and whether it is per atom; None if it is silent."""
    value = atoms.info[statement.key]
    if isinstance(value, bool | np.bool_):
        return None  # a word of a comment: "positions in units of ..."
    if isinstance(value, list | tuple | np.ndarray):
        value = " ".join(str(item) for item in (value.ravel() if isinstance(value, np.ndarray) else value))
    found = _factor(str(value), quantity, f"{statement.key}={value!s}", general=not statement.quantity)
    return None if found is None else (str(value), *found)


@cache
def _factor(text: str, quantity: str, place: str, *, general: bool) -> tuple[float, bool] | None:
    """What a unit is in those used here, and whether it is per atom; None if a general statement leaves it open."""
    words = _normal(text)
    system = _SYSTEMS.get(text.strip().lower())
    if system is not None:
        return _factor(system[quantity], quantity, place, general=False) if quantity in system else None
    expected, unit = _DIMENSIONS[quantity]
    # a general statement may list several units: "eV, Angstrom" or "energy:eV forces:eV/A"
    for item in re.split(r"[,;\s]+", words) if general else [words.replace(" ", "*")]:
        name, _, value = item.replace("=", ":").rpartition(":")
        parsed = _parse(value)
        if parsed is None:
            raise DataError(f"{place} states no unit that is known here: {_KNOWN}.")
        named = _OF.get(name.lower(), name)
        if general and named and named != quantity:
            continue
        factor, dimension = parsed
        per_atom = quantity == "energy" and dimension == (1, 0, -1)
        if dimension == expected or per_atom:
            return factor, per_atom
        if not general or named:
            raise DataError(f"{place} is no unit of {quantity}, expected one like {unit}: {_KNOWN}.")
    return None


def _normal(text: str) -> str:
    """A product of units in ASCII letters, with the signs / * ^ and no spaces round them."""
    for old, new in _SPELLINGS.items():
        text = text.replace(old, new)
    text = re.sub(r"_per_|\s+per\s+", "/", text)
    return re.sub(r"\s*([/*^:=])\s*", r"\1", text.strip())


def _parse(text: str) -> tuple[float, tuple[int, int, int]] | None:
    """Size in eV and A, and dimension (energy, length, atoms) of a product of units; None for what is none."""
    units, size, dimension, place = _units(), 1.0, np.zeros(3, dtype=int), 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or (place > 0) != bool(match["sign"]) or match["unit"] == "MeV":
            return None
        unit = units.get(match["unit"].lower())
        if unit is None:
            return None
        power = int(match["power"] or 1) * (-1 if match["sign"] == "/" else 1)
        size *= unit[0] ** power
        dimension += power * np.array(unit[1])
        place = match.end()
    return (size, (int(dimension[0]), int(dimension[1]), int(dimension[2]))) if text else None


@cache
def _units() -> dict[str, tuple[float, tuple[int, int, int]]]:
    """Size and dimension of every unit by its names in lower case."""
    from ase import units

    energy, length, pressure = (1, 0, 0), (0, 1, 0), (1, -3, 0)
    named = {
        ("ev", "electronvolt", "electronvolts"): (1.0, energy),
        ("mev",): (1e-3, energy),
        ("ha", "hartree", "hartrees", "eh", "e_h"): (units.Hartree, energy),
        ("mha", "mhartree", "meh"): (1e-3 * units.Hartree, energy),
        ("ry", "rydberg", "rydbergs"): (units.Rydberg, energy),
        ("kcal",): (units.kcal, energy),
        ("kj",): (units.kJ, energy),
        ("mol", "mole"): (units.mol, (0, 0, 0)),
        ("a", "ang", "angs", "angstrom", "angstroms"): (1.0, length),
        ("bohr", "bohrs"): (units.Bohr, length),
        ("nm", "nanometer", "nanometers"): (10.0, length),
        ("gpa",): (units.GPa, pressure),
        ("mpa",): (1e-3 * units.GPa, pressure),
        ("pa",): (1e-9 * units.GPa, pressure),
        ("kbar", "kb"): (0.1 * units.GPa, pressure),
        ("bar",): (1e-4 * units.GPa, pressure),
        ("atom", "atoms"): (1.0, (0, 0, 1)),
    }
    return {name: value for names, value in named.items() for name in names}
