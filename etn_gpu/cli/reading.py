"""What commands share about the files they read: the options for their format, and what could not be tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etn_gpu.potential import Potential

__all__ = ["load_model", "reading_options", "untried_lines"]


def reading_options(format: str | None, species: str | None) -> dict[str, Any]:
    """The values of --format and --species as :func:`etn_gpu.structures.read_structures` takes them.

    Raises:
        DataError: there is no such format, or something in `species` is no chemical symbol.
    """
    from etn_gpu.structures import check_format, parse_species

    return {
        "format": None if format is None else check_format(format),
        "species": None if species is None else parse_species(species),
    }


def load_model(model: str, species: str | None, allow_large: bool = False, **options: Any) -> Potential:
    """The model of a command; --species says the elements of its types where the file does not, or chooses some.

    Raises:
        ModelFileError: see :func:`etn_gpu.load`.
    """
    import etn_gpu
    from etn_gpu.interop.loading import takes_species
    from etn_gpu.structures import parse_species
    from etn_gpu.structures.species_map import ATOMIC_NUMBERS

    given = () if species is None else parse_species(species)
    if given and given != (ATOMIC_NUMBERS,) and takes_species(model):
        options["species"] = given
    return etn_gpu.load(model, allow_large=allow_large, **options)


def untried_lines(untried: Mapping[str, int | None]) -> Iterator[str]:
    """A line for each file that could not be read to its end, from the number of structures behind the last one."""
    for source, count in untried.items():
        how_many = "what comes" if count is None else f"{count} more {'frame' if count == 1 else 'frames'}"
        yield f"not read: {source}: {how_many} after its last failed frame"
