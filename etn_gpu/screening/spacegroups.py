"""Space groups of structures, by spglib (Togo et al., Sci. Technol. Adv. Mater. Meth. 4, 2384822 (2024))."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from etn_gpu.checks import is_number
from etn_gpu.errors import DataError
from etn_gpu.screening.columns import Kind, ResultColumn

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["COLUMN", "check_tolerance", "spacegroup"]

COLUMN = ResultColumn("spacegroup", Kind.text)


def check_tolerance(tolerance: float) -> float:
    """The tolerance in A, if it is one and spglib is there.

    Raises:
        DataError: it is none, or spglib is not installed.
    """
    if not is_number(tolerance) or tolerance <= 0.0:
        raise DataError(f"spacegroup = {tolerance!r}: expected a tolerance in A above 0, such as 0.01")
    if importlib.util.find_spec("spglib") is None:
        raise DataError("space groups need spglib, which is not installed: pip install 'etn_gpu[symmetry]'")
    return float(tolerance)


def spacegroup(atoms: Atoms, tolerance: float) -> str | None:
    """Symbol and number, like ``Im-3m (229)``; None unless periodic in all three directions, and where there is none.

    Args:
        atoms: the structure.
        tolerance: by how much equal positions may differ, in A.
    """
    import spglib

    if not atoms.pbc.all():
        return None
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    try:
        found = spglib.get_spacegroup(cell, symprec=tolerance)
    except Exception:  # spglib has its own class of errors for cells that it can make nothing of
        return None
    return None if found is None else str(found)
