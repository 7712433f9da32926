"""Elements for files that number their species: what `--species` says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import DataError

#: In place of a list of elements: the numbers in the file are atomic numbers.
ATOMIC_NUMBERS = "Z"


def parse_species(text: str) -> tuple[str, ...]:
    """The elements in "Nb,Mo,Ta,W" (or with spaces), in the order of the types of a file; "Z" stays ("Z",).

    Raises:
        DataError: something in it is no chemical symbol.
    """
    return check_species([part for part in text.replace(",", " ").split() if part])


def check_species(species: Sequence[str]) -> tuple[str, ...]:
    """The same elements, spelled as usual.

    Raises:
        DataError: there are none, or one of them is no chemical symbol.
    """
    from ase.data import atomic_numbers

    if list(species) == [ATOMIC_NUMBERS]:
        return (ATOMIC_NUMBERS,)
    names = tuple(str(name).capitalize() for name in species)
    unknown = [given for given, name in zip(species, names, strict=True) if atomic_numbers.get(name, 0) == 0]
    if unknown or not names:
        raise DataError(
            f"species {', '.join(map(str, species)) or 'of no name'}: expected chemical symbols in the order of the "
            f"types in the file, like Nb,Mo,Ta,W, or {ATOMIC_NUMBERS} for a file with atomic numbers"
            + (f"; {', '.join(map(repr, unknown))} is none." if unknown else ".")
        )
    return names


def numbers_of_types(types: Iterable[int], species: Sequence[str] | None, first: int) -> NDArray[np.int64]:
    """Atomic numbers of the types in a file whose lowest type is `first` (0 or 1).

    Raises:
        DataError: no species are given, or too few for the types.
    """
    from ase.data import atomic_numbers

    found = np.asarray(list(types), dtype=np.int64)
    if species is None:
        raise DataError(asks_for_species(np.unique(found)))
    if tuple(species) == (ATOMIC_NUMBERS,):
        if found.size and not (found.min() >= 1 and found.max() <= 118):
            raise DataError(f"{found.min()} or {found.max()} is no atomic number, as --species Z says they are.")
        return found
    if found.size and not (found.min() >= first and found.max() < first + len(species)):
        raise DataError(
            f"the types in it go from {found.min()} to {found.max()}: expected {first} to {first + len(species) - 1} "
            f"for the {len(species)} species {','.join(species)}. Name one element for each type."
        )
    return np.array([atomic_numbers[name] for name in species], dtype=np.int64)[found - first]


def asks_for_species(types: Iterable[int]) -> str:
    """The message that a file with numbers for species needs `--species`."""
    shown = ", ".join(str(kind) for kind in list(types)[:10])
    return (
        f"it holds types ({shown}) and no element names. Name the elements in the order of the types with --species, "
        "for instance --species Nb,Mo,Ta,W."
    )
