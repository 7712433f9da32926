"""Structures as users give them, one or many, as lists of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from etn_gpu.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms


def as_list(structures: Atoms | Iterable[Atoms]) -> list[Atoms]:
    """One structure or several as a list of them.

    Raises:
        StructureError: neither.
    """
    from ase import Atoms

    if isinstance(structures, Atoms):
        return [structures]
    if isinstance(structures, str | bytes) or not isinstance(structures, Iterable):
        given = type(structures).__name__
        raise StructureError(f"expected an ase.Atoms or a sequence of them, got an object of type {given}")
    return list(structures)


def chunks_of(structures: list[Atoms], most: int) -> Iterator[list[Atoms]]:
    """Consecutive structures with at most ``most`` atoms in each list, or one that has more."""
    first, atoms = 0, 0
    for i, structure in enumerate(structures):
        size = len(structure) if hasattr(structure, "__len__") else 1
        if i > first and atoms + size > most:
            yield structures[first:i]
            first, atoms = i, 0
        atoms += size
    if structures:
        yield structures[first:]
