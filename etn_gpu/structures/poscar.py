"""POSCAR: files of VASP 4 name no elements."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etn_gpu.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

_COUNTS = 5


def poscar(path: Path, species: Sequence[str] | None) -> Atoms:
    """The structure in a POSCAR or CONTCAR; `species` are the elements of its groups of atoms if it names none.

    Raises:
        DataError: it names no elements, and no `species` are given, or not one for each group.
    """
    from ase.io import ParseError, read

    lines = path.read_text("utf-8", errors="replace").splitlines()
    counts = lines[_COUNTS].split("!")[0].split() if len(lines) > _COUNTS else []
    nameless = bool(counts) and all(word.isdecimal() for word in counts)
    if nameless and species is not None:
        if len(species) != len(counts):
            raise DataError(f"it has {len(counts)} groups of atoms: expected as many species, got {','.join(species)}")
        text = "\n".join([*lines[:_COUNTS], " ".join(species), *lines[_COUNTS:]])
        return cast("Atoms", read(io.StringIO(text), format="vasp"))
    try:
        return cast("Atoms", read(path, format="vasp"))
    except ParseError as error:
        if not nameless:
            raise
        raise DataError(
            f"it names no elements for its {len(counts)} groups of atoms, as files of VASP 4 do. Name them with "
            "--species, for instance --species Nb,Mo,Ta,W."
        ) from error
