"""What a structure must be before it may be evaluated, checked for a whole batch at once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import StructureError
from etn_gpu.structures.geometry import StructureArrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    return np.take(_places(tuple(species)), numbers, mode="clip")


@lru_cache(maxsize=64)
def _places(species: tuple[str, ...]) -> NDArray[np.int32]:
    """The place of every atomic number; the first and the last stand for what is below and above."""
    from ase.data import atomic_numbers, chemical_symbols

    unknown = [symbol for symbol in species if atomic_numbers.get(symbol, 0) == 0]
    if unknown or len(set(species)) != len(species) or not species:
        raise StructureError(f"species = {species!r}: expected chemical symbols, at least one and each once.")
    table = np.full(len(chemical_symbols) + 1, -1, dtype=np.int32)
    table[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))
    table.flags.writeable = False
    return table


def geometry_failures(
    geometry: StructureArrays, species_index: NDArray[np.int32], species: Sequence[str], cutoff: float
) -> dict[int, StructureError]:
    """The first fault of each structure that must not reach the neighbour search, by index into the geometry."""
    if not (faults := _faults(geometry, species_index, cutoff)):
        return {}
    from etn_gpu.structures.fault_messages import fault_message

    messages = {s: fault_message(geometry, s, fault, species_index, species, cutoff) for s, fault in faults.items()}
    return {s: StructureError(message) for s, message in messages.items() if message is not None}


def _faults(geometry: StructureArrays, species_index: NDArray[np.int32], cutoff: float) -> dict[int, int]:
    """The faults of structures that are not sound; see :mod:`etn_gpu.structures.faults`."""
    from etn_gpu.structures.faults import find_faults

    faults = np.empty(geometry.n_structures, np.int64)
    count = find_faults(
        geometry.atom_offsets, geometry.positions, geometry.cells, geometry.pbc, species_index, cutoff,
        LARGEST_COORDINATE, SAME_PLACE, SMALLEST_RELATIVE_VOLUME, MOST_SHIFTS, MOST_NEIGHBOURS, MOST_IMAGES, faults,
    )  # fmt: skip
    return {int(s): int(faults[s]) for s in np.flatnonzero(faults)} if count else {}


def estimate_edges(structures: Sequence[Atoms], cutoff: float) -> NDArray[np.float64]:
    """Roughly how many edges [S] each structure will have in a StructureBatch, for splitting work by memory beforehand.

    From the density in bins, without a neighbour search (0.15 microseconds per atom); 0 for a structure that
    StructureBatch.build would reject for its atoms, positions or cell.

    Raises:
        StructureError: a bad cutoff.
    """
    cutoff = check_cutoff(cutoff)
    geometry = StructureArrays.gather(structures)
    from etn_gpu.structures.faults import CROWDED, THIN

    faults = _faults(geometry, np.zeros(len(geometry.positions), np.int32), cutoff)
    malformed = [s for s, fault in faults.items() if fault not in (CROWDED, THIN)]
    sound = all_but(malformed, geometry.n_structures)
    estimate = np.zeros(geometry.n_structures)
    estimate[sound] = geometry.select(sound).estimate_edges(cutoff)
    return estimate


def overlap_failures(geometry: StructureArrays, edges: Edges) -> dict[int, StructureError]:
    """The structures in which two atoms, or an atom and a periodic image, are closer than SAME_PLACE."""
    close = edges.shortest < SAME_PLACE
    if not close.any():
        return {}
    from ase.data import chemical_symbols

    failures: dict[int, StructureError] = {}
    for s in map(int, np.flatnonzero(close)):
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


def all_but(faults: Iterable[int], n_structures: int) -> NDArray[np.bool_]:
    """A mask [S] that is false for the structures with a fault."""
    keep = np.ones(n_structures, dtype=bool)
    keep[list(faults)] = False
    return keep
