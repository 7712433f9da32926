"""Models of every kind, by name or file; what a file is, its content tells, never its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.translation import Translation
from etn_gpu.potential import Potential
from etn_gpu.potential.file import find_model, load_any, model_path
from etn_gpu.potential.file_kinds import MODEL, MTP, NEP, PACE, SNAP_COEFFICIENTS, SNAP_PARAMETERS, describe
from etn_gpu.potential.references import REFERENCES
from etn_gpu.potential.size import too_large


@dataclass(frozen=True)
class Kind:
    """A kind of model file: ``module.function`` that reads it, what ``species`` are for it, and its other options.

    Species are 'needed' where the file has types without names, 'chosen' among many, or 'told' by the file.
    """

    reader: str
    species: str
    options: tuple[str, ...] = ()

    def read(self, path: Path, species: Sequence[str] | None, **options: Any) -> Translation:
        """Read a file; the module is imported only now."""
        module, name = self.reader.split(".")
        read: Callable[..., Translation] = getattr(import_module(f"etn_gpu.interop.{module}"), name)
        return read(path, species=species, **options)


_SNAP = Kind("snap.read_snap", "chosen", ("parameters", "zbl"))
#: Kinds by what :func:`~etn_gpu.potential.file_kinds.describe` calls their files.
_KINDS = {
    MTP: Kind("mtp.read_mtp", "needed"),
    SNAP_COEFFICIENTS: _SNAP,
    SNAP_PARAMETERS: _SNAP,
    NEP: Kind("nep.read_nep", "chosen"),
    PACE: Kind("pace.read_pace", "told"),
}


def _kind(path: Path) -> Kind | None:
    return _KINDS.get(describe(path) or "") if path.is_file() else None


def is_model(name_or_path: str | PathLike[str]) -> bool:
    """Whether this is a shipped model, or a file of a kind that :func:`load` reads."""
    path = model_path(name_or_path)
    return path.is_file() and describe(path) in (MODEL, *_KINDS)


def takes_species(name_or_path: str | PathLike[str]) -> bool:
    """Whether the elements of a model file can be told to :func:`load`."""
    kind = _kind(model_path(name_or_path))
    return kind is not None and kind.species != "told"


def lacks_species(name_or_path: str | PathLike[str]) -> bool:
    """Whether the elements of a model file must be told to :func:`load`."""
    kind = _kind(model_path(name_or_path))
    return kind is not None and kind.species == "needed"


def load(
    name_or_path: str | PathLike[str],
    *,
    species: Sequence[str] | None = None,
    allow_large: bool = False,
    **options: Any,
) -> Potential:
    """A model: a shipped one by its name, or a file of any kind that is known by its path.

    Files are those of this library (``.etn``), MTP, SNAP and qSNAP, NEP, and PACE.

    Args:
        name_or_path: a shipped name, which goes before a file of the same name (write ``./name`` for the file), or a
            path; for SNAP either of its two files.
        species: chemical symbols of the types 0, 1, ... of a file that does not name them (MTP); the elements to take
            from a file with many (NEP, SNAP), for SNAP with ``chemflag`` in the order of ``pair_coeff``.
        allow_large: also a model whose compilation may take minutes and gigabytes.
        options: of SNAP ``parameters``, the second file where it has another name, and ``zbl``, the radii (inner,
            outer) in A of the pair style ``zbl`` beside which it was fitted.

    Raises:
        ModelFileError: there is no such name or file; a file of another kind, damaged, or with what is not done here;
            species that are missing, or given where the file has them; options of another kind of file.
    """
    path = find_model(name_or_path)
    kind = _kind(path)
    known = () if kind is None else kind.options
    if unknown := sorted(set(options) - set(known)):
        raise ModelFileError(
            f"the options {', '.join(unknown)} were given for {path}, which is {describe(path) or 'something else'}: "
            f"expected {', '.join(known) or 'none'}"
        )
    if kind is not None:
        if species is None and kind.species == "needed":
            raise ModelFileError(
                f"{path} has types without names: say which elements they are, in their order, with species "
                "(--species Nb,Mo,Ta,W)"
            )
        potential = translated(kind.read(path, species, **options))
        if not allow_large and (reason := too_large(potential.form)):
            raise ModelFileError(f"{path} is refused: {reason}")
        return potential
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
