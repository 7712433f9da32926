"""LAMMPS: dumps, frame by frame, and data files. Both may number the species instead of naming them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason
from etn_gpu.structures.species_map import ATOMIC_NUMBERS, asks_for_species, numbers_of_types

if TYPE_CHECKING:
    from ase import Atoms

_START, _ATOMS, _UNITS, _COUNT = "ITEM: TIMESTEP", "ITEM: ATOMS", "ITEM: UNITS", "ITEM: NUMBER OF ATOMS"
_LONGEST_LINE = 1 << 20
#: What LAMMPS writes for every element unless told by dump_modify.
_DEFAULT_ELEMENT = "C"
#: Columns that ASE takes elements from.
_NAMING = ("element", "mass")
#: Masses in u that differ by more are not those of an element.
_SAME_MASS = 0.3


def dump_frames(stream: TextIO, source: str, species: Sequence[str] | None) -> Iterator[Frame]:
    """The snapshots of a text dump, one at a time; a broken one comes with its error.

    Elements come from the column element or mass, or else from `species` in the order of the types, from 1 on.
    """
    for index, (line, text) in enumerate(_snapshots(stream)):
        place = f"{source}, frame {index} (line {line})"
        try:
            yield Frame(index, _snapshot(text, species))
        except DataError as error:
            yield Frame(index, None, DataError(f"{str(error).removesuffix('.')}.", place))
        except Exception as error:  # ASE's parser raises whatever its conversions raise
            yield Frame(index, None, DataError(f"not a valid LAMMPS snapshot ({reason(error)}).", place))


def _snapshots(stream: TextIO) -> Iterator[tuple[int, str]]:
    lines: list[str] = []
    start = 1
    units: list[str] = []
    for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), ""), start=1):
        if line.startswith(_UNITS):  # once, before the first snapshot
            units = [line, stream.readline(_LONGEST_LINE)]
            continue
        if line.startswith(_START):
            if any(map(str.strip, lines)):
                yield start, "".join([*units, *lines])
            start, lines = number, []
        lines.append(line)
    if any(map(str.strip, lines)):
        yield start, "".join([*units, *lines])


def _snapshot(text: str, species: Sequence[str] | None) -> Atoms:
    from ase.io.lammpsrun import read_lammps_dump_text

    lines = text.splitlines()
    heads = {line[: len(name)]: k for k, line in enumerate(lines) for name in (_ATOMS, _COUNT) if line.startswith(name)}
    if set(heads) != {_ATOMS, _COUNT}:
        raise DataError(f"it has no {' and no '.join(sorted({_ATOMS, _COUNT} - set(heads)))}")
    n, rows = int(lines[heads[_COUNT] + 1]), [line for line in lines[heads[_ATOMS] + 1 :] if line.strip()]
    if len(rows) != n:
        raise DataError(f"expected {n} atom lines as its count says, found {len(rows)}")
    names = lines[heads[_ATOMS]].split()[2:]
    options: dict[str, Any] = {}
    if lines[0].startswith(_UNITS):
        options["units"] = lines[1].strip()
    types = [int(row.split()[names.index("type")]) for row in rows] if "type" in names else None
    if types is not None and not _names_elements(names, rows, types):
        options["specorder"] = _in_order(types, species)
        names, rows = _without(_NAMING, names, rows)
    elif not set(_NAMING) & set(names):
        raise DataError(f"its columns are {' '.join(names)}: expected element, or type and --species")
    lines = [*lines[: heads[_ATOMS]], f"{_ATOMS} {' '.join(names)}", *rows]
    atoms: Atoms = read_lammps_dump_text(io.StringIO("\n".join(lines) + "\n"), index=0, **options)
    if atoms.calc is not None:
        atoms.calc.results.pop("energy", None)  # ASE makes one up, 0
    return atoms


def _names_elements(names: list[str], rows: list[str], types: list[int]) -> bool:
    """Whether a column of elements, or else of masses, tells the elements."""
    if "element" in names:
        elements = {row.split()[names.index("element")] for row in rows}
        return not (elements == {_DEFAULT_ELEMENT} and len(set(types)) > 1) and not any(map(str.isdecimal, elements))
    return "mass" in names and _are_of_elements(float(row.split()[names.index("mass")]) for row in rows)


def _are_of_elements(masses: Iterable[float]) -> bool:
    from ase.data import atomic_masses

    return all(np.abs(atomic_masses[1:] - mass).min() <= _SAME_MASS for mass in set(masses))


def _without(unwanted: tuple[str, ...], names: list[str], rows: list[str]) -> tuple[list[str], list[str]]:
    """The columns but for some, and the rows to match."""
    keep = [k for k, name in enumerate(names) if name not in unwanted]
    if len(keep) == len(names):
        return names, rows
    return [names[k] for k in keep], [" ".join(words[k] for k in keep) for words in map(str.split, rows)]


def _in_order(types: list[int], species: Sequence[str] | None) -> list[str]:
    """A chemical symbol for each type from 1 on."""
    from ase.data import chemical_symbols

    numbers_of_types(types, species, 1)
    return chemical_symbols[1:] if tuple(species or ()) == (ATOMIC_NUMBERS,) else list(species or ())


def data_file(path: Path, species: Sequence[str] | None) -> Atoms:
    """The structure in a LAMMPS data file; `species` are the elements of its types, from 1 on.

    Without them the elements come from type labels or from the masses.

    Raises:
        DataError: the types have neither, or masses of no element, and no species are given.
    """
    from ase.data import atomic_numbers
    from ase.io import read

    text = path.read_text("utf-8", errors="replace")
    if species is not None:
        count = _n_types(text)
        if tuple(species) != (ATOMIC_NUMBERS,) and len(species) != count:
            raise DataError(f"it has {count} types: expected as many species, got {','.join(species)}")
        table = {k + 1: z for k, z in enumerate(numbers_of_types(range(1, count + 1), species, 1).tolist())}
        return cast("Atoms", read(path, format="lammps-data", Z_of_type=table))
    labels = [words[1] for words in _section(text, "Atom Type Labels") if len(words) > 1]
    masses = [float(words[1]) for words in _section(text, "Masses") if len(words) > 1]
    if masses and _are_of_elements(masses):
        return cast("Atoms", read(path, format="lammps-data"))
    if labels and all(atomic_numbers.get(label) for label in labels) and not masses:
        return cast("Atoms", read(path, format="lammps-data"))
    hint = f" Its masses ({', '.join(f'{mass:g}' for mass in masses[:10])}) are of no element." if masses else ""
    raise DataError(asks_for_species(range(1, _n_types(text) + 1)) + hint)


def _n_types(text: str) -> int:
    for line in itertools.islice(text.splitlines(), 100):
        words = line.split()
        if words[1:3] == ["atom", "types"]:
            return int(words[0])
    raise DataError("it does not say how many atom types it has")


def _section(text: str, name: str) -> list[list[str]]:
    """The words of the lines below a heading, up to the next heading."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        bare = line.split("#")[0].strip()
        if bare and bare[0].isalpha():
            if inside:
                break
            inside = bare == name
        elif inside and bare:
            rows.append(bare.split())
    return rows
