"""One frame of (extended) XYZ, from text to a structure."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason
from etn_gpu.structures.label_units import in_angstrom
from etn_gpu.structures.occupancy import partial_occupancy
from etn_gpu.structures.xyz_blocks import BlockFrame
from etn_gpu.structures.xyz_columns import named_species, with_e_exponents
from etn_gpu.structures.xyz_frames import RawFrame
from etn_gpu.structures.xyz_header import usual_header
from etn_gpu.structures.xyz_quick import known_atoms, quick_atoms
from etn_gpu.structures.xyz_values import restore_lopsided, usual_values

if TYPE_CHECKING:
    from ase import Atoms

_PROPERTIES = re.compile(r"(?<!\S)Properties=(\S+)")
_PLAIN_COLUMNS = "species:S:1:pos:R:3"


def parse_frame(raw: RawFrame | BlockFrame, index: int, source: str, species: Sequence[str] | None = None) -> Frame:
    """The structure in the text of a frame; `species` names its elements where it holds types."""
    place = f"{source}, frame {index} (line {raw.line})"
    if raw.fault is not None:
        return Frame(index, None, DataError(f"{raw.fault}.", place), None if raw.ends else 0)
    try:
        atoms = _parse(raw, species)
        if (fault := partial_occupancy(atoms)) is None:
            return Frame(index, atoms)
    except DataError as error:
        fault = str(error).removesuffix(".")
    except Exception as error:  # ASE's parser raises whatever its conversions raise
        unknown = str(error) if isinstance(error, KeyError) else ""
        fault = f"no element is called {unknown}" if unknown else f"not a valid XYZ frame ({reason(error)})"
    return Frame(index, None, DataError(f"{fault}.", place), size=raw.size)


def _parse(raw: RawFrame | BlockFrame, species: Sequence[str] | None) -> Atoms:
    if (known := known_atoms(raw)) is not None:
        return known
    header = usual_values(usual_header(raw.header))
    atoms = quick_atoms(header, raw)
    if atoms is None:
        atoms = _slowly(raw.text, header, species)
    restore_lopsided(atoms, header)
    return in_angstrom(atoms)


def _slowly(text: str, header: str, species: Sequence[str] | None) -> Atoms:
    count, _, rows = (*text.split("\n", 2), "")[:3]
    try:
        atoms = _ase_atoms(count, header, rows)
    except Exception:
        # Only what ASE refuses is looked at more closely: numbers from Fortran, numbers for species.
        found = _PROPERTIES.search(header)
        plain = named_species(found[1] if found else _PLAIN_COLUMNS, with_e_exponents(rows), species)
        if plain == rows:
            raise
        atoms = _ase_atoms(count, header, plain)
    return atoms


def _ase_atoms(count: str, header: str, rows: str) -> Atoms:
    # what ase.io.read calls in the end, without what it does for each file before
    from ase.io.extxyz import read_xyz

    return cast("Atoms", next(read_xyz(io.StringIO("\n".join((count, header, rows))), index=0)))
