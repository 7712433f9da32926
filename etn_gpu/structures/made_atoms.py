"""Structures from arrays that are known to be sound, in a tenth of the time that ASE's constructor takes to check."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

#: What a structure of ASE consists of. One with anything else is left to ASE's constructor.
_PARTS = {"_cellobj", "_pbc", "arrays", "_celldisp", "_constraints", "info", "_calc"}


def made_atoms(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
    pbc: Sequence[bool],
    info: dict[str, Any],
) -> Atoms:
    """The structure of atomic numbers [n], positions [n, 3] in A, cell vectors [3, 3] (rows, in A) and entries of info.

    It keeps the arrays, which must be contiguous and belong to nobody else, and the dictionary.
    """
    kind, cell_kind, known = _ase()
    if not known:
        return kind(numbers, positions=positions, cell=cell, pbc=pbc, info=info)
    atoms = kind.__new__(kind)
    atoms.__dict__ = {
        "_cellobj": cell_kind(np.zeros((3, 3)) if cell is None else cell),
        "_pbc": np.array(pbc, dtype=bool),
        "arrays": {"numbers": numbers, "positions": positions},
        "_celldisp": np.zeros((3, 1)),
        "_constraints": [],
        "info": info,
        "_calc": None,
    }
    return atoms


@cache
def _ase() -> tuple[type[Atoms], Any, bool]:
    """ASE's classes of structures and cells, and whether structures have the parts that are known here."""
    from ase import Atoms
    from ase.cell import Cell

    return Atoms, Cell, set(vars(Atoms())) == _PARTS
