"""What is said about a structure that has one of the :mod:`faults <etn_gpu.structures.faults>`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu.structures.faults import (
    CROWDED,
    EMPTY,
    FAR_OUTSIDE,
    NO_VOLUME,
    UNKNOWN_ELEMENT,
    WILD_CELL,
    WILD_POSITION,
)
from etn_gpu.structures.geometry import StructureArrays
from etn_gpu.structures.validate import LARGEST_COORDINATE, MOST_IMAGES, MOST_NEIGHBOURS, MOST_SHIFTS


def fault_message(
    geometry: StructureArrays,
    s: int,
    fault: int,
    species_index: NDArray[np.int32],
    species: Sequence[str],
    cutoff: float,
) -> str | None:
    """What is wrong with structure ``s``; None where a closer look finds nothing."""
    begin, end = geometry.atom_offsets[s : s + 2]
    positions, cell = geometry.positions[begin:end], geometry.cells[s]
    if fault == EMPTY:
        return "no atoms: expected at least one."
    if fault == WILD_POSITION:
        # written so that nan, for which every comparison is false, counts as wild
        atom = int(np.argmin((np.abs(positions) <= LARGEST_COORDINATE).all(axis=1)))
        where = ", ".join(f"{x:g}" for x in positions[atom])
        return f"atom {atom} is at ({where}) A: expected finite positions within {LARGEST_COORDINATE:g} A."
    if fault == WILD_CELL:
        return f"cell {_rows(cell)} A: expected finite vectors within {LARGEST_COORDINATE:g} A."
    if fault == NO_VOLUME:
        axes = ", ".join(name for name, periodic in zip("abc", geometry.pbc[s], strict=True) if periodic)
        return (
            f"cell {_rows(cell)} A is periodic along {axes}, but these vectors span no volume: expected linearly "
            "independent vectors along the periodic directions. Set the cell, or pbc=False for a molecule."
        )
    if fault == UNKNOWN_ELEMENT:
        return _unknown(geometry.numbers[begin:end][species_index[begin:end] < 0], species)
    one = geometry.select(np.arange(geometry.n_structures) == s)
    if fault == FAR_OUTSIDE:
        furthest, lowest = np.abs(positions).max(), one.heights[0][one.pbc[0]].min()
        return (
            f"an atom is {furthest:g} A from the origin of a cell {lowest:g} A high: expected at most "
            f"{MOST_SHIFTS:g} heights. Wrap the positions into the cell, or correct it."
        )
    per_atom, images = one.estimate_edges(cutoff)[0] / len(positions), one.images(cutoff)[0]
    if fault == CROWDED and not per_atom <= MOST_NEIGHBOURS:
        return (
            f"about {per_atom:.0e} neighbours per atom inside the cutoff of {cutoff:g} A: expected at most "
            f"{MOST_NEIGHBOURS:g}. Check that positions and cell {_rows(cell)} are in Angstrom."
        )
    if images > MOST_IMAGES:
        return (
            f"about {images:.0e} images of the cell {_rows(cell)} A come within the cutoff of {cutoff:g} A: expected "
            f"at most {MOST_IMAGES:g}. Take a reduced cell (ase.build.niggli_reduce)."
        )
    return None


def _unknown(numbers: NDArray[np.int64], species: Sequence[str]) -> str:
    from ase.data import chemical_symbols

    found = [chemical_symbols[z] if 0 <= z < len(chemical_symbols) else f"number {z}" for z in np.unique(numbers)]
    return f"unknown element {', '.join(found)}: the known species are {', '.join(species)}."


def _rows(cell: NDArray[np.float64]) -> str:
    return "[" + ", ".join("(" + ", ".join(f"{x:g}" for x in row) + ")" for row in cell) + "]"
