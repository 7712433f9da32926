"""Sites that are not occupied by exactly one atom: no structure of atoms stands for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

#: Occupancies are printed with few digits.
FULL = 1.0 - 1e-3
_OVERFULL = 1.0 + 1e-3
_ARRAYS = ("occupancy", "occupancies")


def partial_occupancy(atoms: Atoms) -> str | None:
    """Why a structure is none of whole atoms, as ASE's readers note it; None when every site is occupied by one.

    ASE keeps one element of a shared site in the structure and the rest in info["occupancy"] (CIF) or in an array
    (protein data bank, muSTEM, prismatic).
    """
    table = atoms.info.get("occupancy")
    if isinstance(table, dict) and (fault := shared_sites(table)) is not None:
        return fault
    for name in _ARRAYS:
        if (values := atoms.arrays.get(name)) is None:
            continue
        partial = np.flatnonzero(~(np.abs(_floats(values) - 1.0) <= _OVERFULL - 1.0))
        if partial.size:
            return describe(int(partial[0]), {atoms.symbols[partial[0]]: float(_floats(values)[partial[0]])})
    return None


def shared_sites(table: Mapping[Any, Any]) -> str | None:
    """The first site of {site: {element: occupancy}} that is not occupied by one whole atom, in words."""
    for site, elements in table.items():
        if not isinstance(elements, dict):
            continue
        if len(elements) != 1 or not FULL <= next(iter(elements.values())) <= _OVERFULL:
            return describe(site, elements)
    return None


def describe(site: object, elements: Mapping[str, float]) -> str:
    """The occupancy of a site in words."""
    shares = " / ".join(f"{element} {share:g}" for element, share in elements.items())
    how = f"shared by {shares}" if len(elements) > 1 else f"occupied by {shares}"
    return (
        f"site {site} is {how}: a structure of whole atoms is expected. Make one with each site occupied by one "
        "element, for instance a special quasirandom structure"
    )


def _floats(values: Any) -> Any:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.ones(len(values))
