"""Models of every kind, by name or file; what a file is, its content tells, never its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.translation import Translation
from etn_gpu.potential import Potential
from etn_gpu.potential.file import find_model, load_any, model_path
from etn_gpu.potential.file_kinds import MODEL, describe
from etn_gpu.potential.references import REFERENCES

#: How a file is read: its path, and species where they are given.
Reader = Callable[[Path, Sequence[str] | None], Translation]


@dataclass(frozen=True)
class Kind:
    """A kind of model file: how it is read, and whether it says which elements its types are."""

    read: Reader
    has_species: bool


def _kinds() -> dict[str, Kind]:
    """Kinds of files by what :func:`~etn_gpu.potential.file_kinds.describe` calls them."""
    return {}


def is_model(name_or_path: str | PathLike[str]) -> bool:
    """Whether this is a shipped model, or a file of a kind that :func:`load` reads."""
    path = model_path(name_or_path)
    return path.is_file() and (kind := describe(path)) is not None and (kind == MODEL or kind in _kinds())


def lacks_species(name_or_path: str | PathLike[str]) -> bool:
    """Whether :func:`load` must be told the elements of a model file."""
    path = model_path(name_or_path)
    kind = _kinds().get((path.is_file() and describe(path)) or "")
    return kind is not None and not kind.has_species


def load(
    name_or_path: str | PathLike[str], *, species: Sequence[str] | None = None, allow_large: bool = False
) -> Potential:
    """A model: a shipped one by its name, or a file of any kind that is known by its path.

    A shipped name goes before a file of the same name; write ``./name`` for the file. ``species`` are the chemical
    symbols of the types 0, 1, ... of a file that does not say them. ``allow_large``: also a model whose compilation may
    take minutes and gigabytes.

    Raises:
        ModelFileError: there is no such name or file; a file of another kind, damaged, or with what is not done here;
            species that are missing, or given where the file has them.
    """
    path = find_model(name_or_path)
    kind = _kinds().get(describe(path) or "")
    if kind is not None:
        return translated(kind.read(path, species))
    model = load_any(name_or_path, allow_large=allow_large, callers=2)
    if species is not None and tuple(species) != model.species:
        raise ModelFileError(
            f"species {' '.join(species)} were given for {path}, which has {' '.join(model.species)}: leave them out"
        )
    return model


def translated(translation: Translation) -> Potential:
    """The potential of a translation."""
    parameters = {**translation.parameters, REFERENCES: translation.references}
    return Potential(translation.formulation, parameters, metadata=translation.metadata)
