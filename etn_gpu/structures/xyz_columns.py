"""The columns of extended XYZ: how `Properties` names them, and species that are numbers instead of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from etn_gpu.errors import DataError
from etn_gpu.structures.species_map import ATOMIC_NUMBERS, numbers_of_types

#: ASE's names of columns, with other names that are used for them.
_SPECIES = ("species", "symbols", "symbol", "element", "elements", "atom", "atoms")
_NUMBERS = ("Z", "numbers", "atomic_numbers", "atomic_number")
_POSITIONS = ("pos", "positions", "position", "coordinates", "coords", "xyz")
_N_COORDINATES = 3
#: No file has so many types that a number above this would be one of them.
_MOST_TYPES = 10
_FORTRAN = re.compile(r"(?<![^\s\"'\[{,=])([+-]?(?:\d+\.\d*|\.\d+))[dD]([+-]?\d{1,3})(?![^\s\"'\]},])")


def with_e_exponents(text: str) -> str:
    """Numbers as Fortran prints them, 1.0D-3, as 1.0E-3."""
    return _FORTRAN.sub(r"\1E\2", text)


@lru_cache(maxsize=1024)
def usual_properties(text: str) -> str:
    """The value of `Properties`, with species, atomic numbers and positions under the names that ASE takes.

    Raises:
        DataError: it is no list of NAME:TYPE:COUNT, or it names no species or no positions.
    """
    fields = text.split(":")
    if len(fields) % 3 or not all(count.isdecimal() for count in fields[2::3]):
        raise DataError(f"Properties={text}: expected NAME:TYPE:COUNT, again and again, like species:S:1:pos:R:3")
    columns = [[name, kind.upper(), count] for name, kind, count in zip(*(fields[k::3] for k in range(3)), strict=True)]
    if bad := [kind for _, kind, _ in columns if kind not in ("S", "R", "I", "L")]:
        raise DataError(f"Properties={text}: {bad[0]!r} is no type of a column; expected S, R, I or L")
    species = _rename(columns, _SPECIES, ("S", "I"), 1)
    numbers = _rename(columns, _NUMBERS, ("I",), 1)
    if not _rename(columns, _POSITIONS, ("R",), _N_COORDINATES):
        raise DataError(f"Properties={text} names no positions: expected pos:R:3")
    if not (species or numbers):
        raise DataError(f"Properties={text} names no species: expected species:S:1, or Z:I:1 for atomic numbers")
    return ":".join(":".join(column) for column in columns)


def _rename(columns: list[list[str]], names: tuple[str, ...], kinds: tuple[str, ...], count: int) -> bool:
    """Gives the column with the first of the `names` that is there the first name of all; whether there is one."""
    for name in names:
        for column in columns:
            if column[0].lower() == name.lower() and column[1] in kinds and column[2] == str(count):
                column[0] = names[0]
                if names is _SPECIES:
                    column[1] = "S"
                return True
    return False


def named_species(properties: str, rows: str, species: Sequence[str] | None) -> str:
    """The atom lines `rows` with element symbols where the species column holds numbers; otherwise as they are.

    Numbers are the types, from 1 on, of the `species` given. Without any they are atomic numbers, if one of them is too
    large for a type.

    Raises:
        DataError: they are numbers that may be types, and no species are given.
    """
    from ase.data import chemical_symbols

    names = properties.split(":")
    if "species" not in names[::3]:
        return rows
    place = names[::3].index("species")
    column = sum(int(count) for count in names[2::3][:place])
    lines = [line.split() for line in rows.splitlines()]
    found = [words[column] for words in lines if len(words) > column and not words[0].startswith("VEC")]
    if not found or not all(word.isdecimal() for word in found):
        return rows
    values = [int(word) for word in found]
    if species is None and max(values) > _MOST_TYPES:
        species = (ATOMIC_NUMBERS,)
    try:
        symbols = iter(chemical_symbols[z] for z in numbers_of_types(values, species, 1))
    except DataError as error:
        hint = " (--species Z: they are atomic numbers.)" if species is None else ""
        raise DataError(f"its species are numbers: {error}{hint}") from None
    for words in lines:
        if len(words) > column and not words[0].startswith("VEC"):
            words[column] = next(symbols)
    return "\n".join(" ".join(words) for words in lines) + "\n"
