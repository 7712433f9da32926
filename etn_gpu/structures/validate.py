"""What a structure must be before it may be evaluated, checked for a whole batch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.structures.geometry import StructureArrays, relative_volumes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms

    from etn_gpu.structures.neighbours import Edges

#: Two atoms (or an atom and its image) closer than this, in A, are at one place: their direction is noise.
SAME_PLACE = 1e-3
#: Beyond this coordinate, in A, a double holds distances to less than 1e-8 A.
LARGEST_COORDINATE = 1e7
#: A cell whose periodic vectors span less than this fraction of the product of their lengths is singular.
SMALLEST_RELATIVE_VOLUME = 1e-4
#: More neighbours per atom than this is no matter but a cell or positions in wrong units; it would also exhaust memory.
MOST_NEIGHBOURS = 20_000
#: Atoms further from the origin than this many heights of their cell overflow the 32-bit cell shifts.
MOST_SHIFTS = 1e8
#: A cell of which more images than this come within the cutoff is so thin or skewed that a search would take for ever.
MOST_IMAGES = 1e7
#: A larger cutoff, in A, belongs to no short-ranged potential.
LARGEST_CUTOFF = 100.0


def check_cutoff(cutoff: float) -> float:
    """The cutoff as a float.

    Raises:
        StructureError: the cutoff is not a number above 0, or larger than LARGEST_CUTOFF.
    """
    try:
        value = float(cutoff)
    except (TypeError, ValueError):
        value = np.nan
    if not 0 < value <= LARGEST_CUTOFF:
        raise StructureError(f"cutoff = {cutoff!r}: expected a radius above 0 and up to {LARGEST_CUTOFF:g} Angstrom.")
    return value


def species_of(numbers: NDArray[np.int64], species: Sequence[str]) -> NDArray[np.int32]:
    """The place in `species` of atomic numbers [N], -1 for elements that are not there.

    Raises:
        StructureError: `species` is empty, names something that is no element, or names an element twice.
    """
    from ase.data import atomic_numbers, chemical_symbols

    unknown = [symbol for symbol in species if atomic_numbers.get(symbol, 0) == 0]
    if unknown or len(set(species)) != len(species) or not species:
        raise StructureError(f"species = {tuple(species)!r}: expected chemical symbols, at least one and each once.")
    table = np.full(len(chemical_symbols), -1, dtype=np.int32)
    table[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))
    exists = (numbers > 0) & (numbers < len(table))
    return np.where(exists, table[np.where(exists, numbers, 0)], np.int32(-1))


def geometry_failures(
    geometry: StructureArrays, species_index: NDArray[np.int32], species: Sequence[str], cutoff: float
) -> dict[int, StructureError]:
    """The first fault of each structure that must not reach the neighbour search, by index into the geometry."""
    faults = _malformed(geometry)
    for s, message in _unknown_elements(geometry, species_index, species):
        faults.setdefault(s, message)
    sound = all_but(faults, geometry.n_structures)
    for check in (_too_dense, _too_thin):
        for s, message in check(geometry.select(sound), cutoff):
            faults.setdefault(int(np.flatnonzero(sound)[s]), message)
    return {s: StructureError(faults[s]) for s in sorted(faults)}


def estimate_edges(structures: Sequence[Atoms], cutoff: float) -> NDArray[np.float64]:
    """Roughly how many edges [S] each structure will have in a StructureBatch, for splitting work by memory beforehand.

    From the density in bins, without a neighbour search (0.15 microseconds per atom); 0 for a structure that
    StructureBatch.build would reject for its atoms, positions or cell.

    Raises:
        StructureError: a bad cutoff.
    """
    cutoff = check_cutoff(cutoff)
    geometry = StructureArrays.gather(structures)
    sound = all_but(_malformed(geometry), geometry.n_structures)
    estimate = np.zeros(geometry.n_structures)
    estimate[sound] = geometry.select(sound).estimate_edges(cutoff)
    return estimate


def overlap_failures(geometry: StructureArrays, edges: Edges) -> dict[int, StructureError]:
    """The structures in which two atoms, or an atom and a periodic image, are closer than SAME_PLACE."""
    from ase.data import chemical_symbols

    failures: dict[int, StructureError] = {}
    for s in map(int, np.flatnonzero(edges.shortest < SAME_PLACE)):
        start, stop = geometry.atom_offsets[s : s + 2]
        first, last = edges.offsets[start], edges.offsets[stop]
        distances = np.linalg.norm(edges.vectors[first:last], axis=1)
        edge = first + int(np.argmax(distances < SAME_PLACE))
        i, j = int(np.searchsorted(edges.offsets, edge, side="right")) - 1, int(edges.neighbour[edge])
        symbols = [chemical_symbols[geometry.numbers[k]] for k in (i, j)]
        other = f"atom {j - start} ({symbols[1]})" if i != j else "its own periodic image"
        failures[s] = StructureError(
            f"atom {i - start} ({symbols[0]}) and {other} are at one place ({distances[edge - first]:.1e} A apart): "
            f"expected at least {SAME_PLACE} A. Remove the duplicate or correct the cell."
        )
    return failures


def _malformed(geometry: StructureArrays) -> dict[int, str]:
    """Structures without atoms, with wild positions or with a wild cell: nothing can be computed from them."""
    faults: dict[int, str] = {}
    for check in (_empty, _wild_positions, _wild_cells):
        for s, message in check(geometry):
            faults.setdefault(s, message)
    sound = all_but(faults, geometry.n_structures)
    for s, message in _far_outside(geometry.select(sound)):
        faults[int(np.flatnonzero(sound)[s])] = message
    return faults


def all_but(faults: Iterable[int], n_structures: int) -> NDArray[np.bool_]:
    """A mask [S] that is false for the structures with a fault."""
    keep = np.ones(n_structures, dtype=bool)
    keep[list(faults)] = False
    return keep


def _empty(geometry: StructureArrays) -> Iterator[tuple[int, str]]:
    for s in np.flatnonzero(np.diff(geometry.atom_offsets) == 0):
        yield int(s), "no atoms: expected at least one."


def _unknown_elements(
    geometry: StructureArrays, species_index: NDArray[np.int32], species: Sequence[str]
) -> Iterator[tuple[int, str]]:
    from ase.data import chemical_symbols

    unknown = np.flatnonzero(species_index < 0)
    of_atom = geometry.structure_of_atom
    for s in np.unique(of_atom[unknown]):
        numbers = np.unique(geometry.numbers[unknown[of_atom[unknown] == s]])
        found = [chemical_symbols[z] if 0 <= z < len(chemical_symbols) else f"number {z}" for z in numbers]
        yield int(s), f"unknown element {', '.join(found)}: the known species are {', '.join(species)}."


def _wild_positions(geometry: StructureArrays) -> Iterator[tuple[int, str]]:
    # written so that nan, for which every comparison is false, counts as wild
    wild = np.flatnonzero(~(np.abs(geometry.positions) <= LARGEST_COORDINATE).all(axis=1))
    structures, first = np.unique(geometry.structure_of_atom[wild], return_index=True)
    for s, atom in zip(structures, wild[first], strict=True):
        where = ", ".join(f"{x:g}" for x in geometry.positions[atom])
        index = atom - geometry.atom_offsets[s]
        yield int(s), f"atom {index} is at ({where}) A: expected finite positions within {LARGEST_COORDINATE:g} A."


def _wild_cells(geometry: StructureArrays) -> Iterator[tuple[int, str]]:
    tame = (np.abs(geometry.cells) <= LARGEST_COORDINATE).all(axis=(1, 2))
    for s in np.flatnonzero(~tame):
        yield int(s), f"cell {_rows(geometry.cells[s])} A: expected finite vectors within {LARGEST_COORDINATE:g} A."
    cells, pbc = geometry.cells[tame], geometry.pbc[tame]
    short = pbc & (np.linalg.norm(cells, axis=2) < SAME_PLACE)
    for s in np.flatnonzero(tame)[short.any(axis=1) | (relative_volumes(cells, pbc) < SMALLEST_RELATIVE_VOLUME)]:
        axes = ", ".join(name for name, periodic in zip("abc", geometry.pbc[s], strict=True) if periodic)
        yield (
            int(s),
            f"cell {_rows(geometry.cells[s])} A is periodic along {axes}, but these vectors span no volume: expected "
            "linearly independent vectors along the periodic directions. Set the cell, or pbc=False for a molecule.",
        )


def _far_outside(geometry: StructureArrays) -> Iterator[tuple[int, str]]:
    if geometry.n_structures == 0:
        return
    lowest = np.where(geometry.pbc, geometry.heights, np.inf).min(axis=1)
    furthest = np.maximum.reduceat(np.abs(geometry.positions).max(axis=1), geometry.atom_offsets[:-1])
    for s in np.flatnonzero(furthest > MOST_SHIFTS * lowest):
        yield (
            int(s),
            f"an atom is {furthest[s]:g} A from the origin of a cell {lowest[s]:g} A high: expected at most "
            f"{MOST_SHIFTS:g} heights. Wrap the positions into the cell, or correct it.",
        )


def _too_dense(geometry: StructureArrays, cutoff: float) -> Iterator[tuple[int, str]]:
    if geometry.most_neighbours(cutoff).max(initial=0.0) <= MOST_NEIGHBOURS:
        return
    per_atom = geometry.estimate_edges(cutoff) / np.diff(geometry.atom_offsets)
    for s in np.flatnonzero(~(per_atom <= MOST_NEIGHBOURS)):
        yield (
            int(s),
            f"about {per_atom[s]:.0e} neighbours per atom inside the cutoff of {cutoff:g} A: expected at most "
            f"{MOST_NEIGHBOURS:g}. Check that positions and cell {_rows(geometry.cells[s])} are in Angstrom.",
        )


def _too_thin(geometry: StructureArrays, cutoff: float) -> Iterator[tuple[int, str]]:
    images = geometry.images(cutoff)
    for s in np.flatnonzero(images > MOST_IMAGES):
        yield (
            int(s),
            f"about {images[s]:.0e} images of the cell {_rows(geometry.cells[s])} A come within the cutoff of "
            f"{cutoff:g} A: expected at most {MOST_IMAGES:g}. Take a reduced cell (ase.build.niggli_reduce).",
        )


def _rows(cell: NDArray[np.float64]) -> str:
    return "[" + ", ".join("(" + ", ".join(f"{x:g}" for x in row) + ")" for row in cell) + "]"
