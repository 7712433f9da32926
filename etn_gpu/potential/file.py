"""The model file ``*.etn``: a safetensors file with one float64 tensor per parameter and a JSON document in its header.

A potential of another method (:class:`etn_gpu.potential.formulation.Formulation`) has the Program of its energy in the
document, where a network has its architecture: a file of version 3. A network whose output is no energy but a dipole,
or a quantity of atoms, has a description of it there, ``quantity``: version 4, so that nobody takes it for an energy.
One with layers of message passing, in its architecture, is of version 5. All others are of version 2.

Terms beside the network are five more tensors, ``terms.repulsion``, ``terms.density``, ``terms.distances``,
``terms.embedding`` and ``terms.bounds``, all there or none (:class:`etn_gpu.potential.terms.Terms`); so are
``grade.factors``, ``grade.atoms`` and ``grade.largest`` (:class:`etn_gpu.potential.grade.ExtrapolationGrade`), which
are all that grades and the selection of structures need of the training data. Files of version 1 have neither.

The document, the only entry ``etn_gpu`` of the header's metadata, holds ``format`` and ``format_version``, what a model
is made of (architecture, dtype, metadata), what people and other programs want to read without this library (species,
irreps, cutoff, units, reference energies, terms of the energy, plan, ...) and a SHA-256 sum over itself and all
tensors, so that a damaged file is never mistaken for another potential. Nothing in a file is ever executed, and the
same model always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from etn_gpu import __version__
from etn_gpu.errors import EtnGpuError, ModelFileError, ModelWarning
from etn_gpu.files import write_atomically
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.base import Potential
from etn_gpu.potential.content import (
    LONGEST_DOCUMENT,
    UNITS,
    check_agreement,
    check_distances,
    check_fields,
    check_metadata,
    listed_terms,
    parse_json,
    read_form,
    written_formulation,
)
from etn_gpu.potential.described import ContentError, plain, shortened
from etn_gpu.potential.file_kinds import MODEL, describe
from etn_gpu.potential.formulation import Formulation
from etn_gpu.potential.grade import ExtrapolationGrade
from etn_gpu.potential.model import ETNPotential
from etn_gpu.potential.size import too_large
from etn_gpu.potential.terms import Terms
from etn_gpu.structures.targets import Quantity

FORMAT = "etn_gpu"
#: Version of the files of networks, of those of other methods, of networks for quantities that are no energies, of
#: networks with layers of message passing, and the newest one that can be read.
NETWORK_VERSION, FORMULATION_VERSION, QUANTITY_VERSION, LAYERS_VERSION = 2, 3, 4, 5
FORMAT_VERSION = LAYERS_VERSION

Tensors = dict[str, NDArray[np.float64]]
_PARAMETER = "parameters."
_DISTANCES = "minimum_distances"
_TERMS = {f"terms.{field.name}": field.name for field in fields(Terms)}
_GRADE = {f"grade.{field.name}": field.name for field in fields(ExtrapolationGrade)}
_MOST_AXES = 4
_WRITABLE = "expected dicts with string keys, lists, strings, finite numbers, booleans and None"


def shipped_models() -> dict[str, Path]:
    """Names and files of the models that come with the package."""
    folder = Path(str(resources.files("etn_gpu.potential"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.etn"))}


def model_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file that :func:`load_any` reads: that of a shipped model for its name, else the path itself."""
    shipped = shipped_models() if isinstance(name_or_path, str) else {}
    return shipped.get(str(name_or_path)) or Path(name_or_path)


def save(model: Potential, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path`` (by custom ``*.etn``).

    All numbers are kept bit for bit; tuples in the metadata become lists. A file of that name is replaced, by one that
    appears in one piece: until it is complete, the earlier one stays as it was.

    Raises:
        ModelFileError: metadata that JSON cannot hold (it needs finite numbers), or a file that cannot be written.
    """
    try:
        check_metadata(model.metadata)
    except ContentError as error:
        raise ModelFileError(f"the metadata of the model cannot be written as JSON: {error}; {_WRITABLE}") from None
    write_atomically(path, pack(_document(model), _tensors(model)), ModelFileError, "the model file")


def checksum(model: Potential) -> str:
    """The sum that a file of the model has, see :meth:`Potential.checksum`."""
    return _checksum(_document(model), _tensors(model))


def load_any(name_or_path: str | os.PathLike[str], *, allow_large: bool = False, callers: int = 1) -> Potential:
    """Read a model: a shipped one by its name, or a file by its path.

    A shipped name goes before a file of the same name; write ``./name`` for the file. ``allow_large``: also a model
    whose compilation may take minutes and gigabytes (:mod:`etn_gpu.potential.size`). ``callers``: how many calls up the
    line lies that a warning names.

    Warns:
        ModelWarning: nothing bounds the energies of the model at short distances; once for each file in a process.

    Raises:
        ModelFileError: there is no such name or file, the file is no intact model file of a known version, something
            in it is not as :mod:`etn_gpu.potential.content` describes it, or the model is too large.
    """
    path = find_model(name_or_path)
    document, tensors = _read(path)
    checksum = document.pop("checksum", None)
    if checksum != _checksum(document, tensors):
        raise ModelFileError(f"{path} is damaged: its content does not match its checksum; get a fresh copy of it")
    try:
        model = _model(document, tensors, allow_large)
    except ModelFileError as error:
        raise ModelFileError(f"{path} is refused: {error}") from None
    except EtnGpuError as error:
        raise ModelFileError(f"{path} is no valid model: {error}") from None
    _warn_of_unbounded_energies(model, name_or_path, path, callers + 2)
    return model


def load(
    name_or_path: str | os.PathLike[str], *, allow_large: bool = False, purpose: str = "what was asked for"
) -> ETNPotential:
    """As :func:`load_any`, for what only networks can do: ``purpose`` says what.

    Raises:
        ModelFileError: as for :func:`load_any`, and for a potential of another method.
    """
    return as_network(load_any(name_or_path, allow_large=allow_large, callers=2), purpose, os.fspath(name_or_path))


def as_network(model: Potential, purpose: str, name: str = "the potential") -> ETNPotential:
    """The same potential, if it is a network.

    Raises:
        ModelFileError: it is of another method.
    """
    if not isinstance(model, ETNPotential):
        raise ModelFileError(f"{name} is {model.form.described}: {purpose} needs an equivariant tensor network")
    return model


#: Files that a warning was given of in this process.
_warned: set[Path] = set()


def _warn_of_unbounded_energies(model: Potential, name: str | os.PathLike[str], path: Path, stacklevel: int) -> None:
    whole = path.resolve()
    if model.terms is None and isinstance(model, ETNPotential) and model.is_energy and whole not in _warned:
        _warned.add(whole)
        warnings.warn(
            f"the model {os.fspath(name)} has nothing that holds atoms apart: its energies may fall without bound at "
            f"short distances; `etn-gpu grade {os.fspath(name)} train.extxyz --output NEW.etn` adds "
            "what is missing",
            ModelWarning,
            stacklevel=stacklevel,
        )


def _model(document: dict[str, Any], tensors: Tensors, allow_large: bool) -> Potential:
    """The model of a document and tensors that may hold anything; ModelFileError only for one that is too large."""
    form = read_form(document)
    if not allow_large and (reason := too_large(form)):
        raise ModelFileError(reason)
    expected = {_DISTANCES, *(f"{_PARAMETER}{name}" for name in form.parameter_shapes)}
    if document["format_version"] > 1:
        if "terms" not in document:
            raise ContentError("it lacks 'terms'")
        for group in (_TERMS, _GRADE):
            if not group.keys().isdisjoint(tensors):
                expected |= group.keys()
    if missing := sorted(expected - set(tensors)):
        raise ContentError(f"it lacks the tensors {shortened(missing)}")
    if unknown := sorted(set(tensors) - expected):
        raise ContentError(f"it has the unknown tensors {shortened(unknown)}")
    check_distances(tensors[_DISTANCES], form.n_species)
    check_fields(document)
    terms, grade = ({name: tensors[key] for key, name in g.items() if key in tensors} for g in (_TERMS, _GRADE))
    numbers = {name: tensors[f"{_PARAMETER}{name}"] for name in form.parameter_shapes}
    parts: dict[str, Any] = dict(
        dtype=document["dtype"],
        minimum_distances=tensors[_DISTANCES],
        metadata=document["metadata"],
        terms=Terms(**terms) if terms else None,
        grade=ExtrapolationGrade(**grade) if grade else None,
        quantity=Quantity.from_dict(document["quantity"]) if "quantity" in document else None,
    )
    model: Potential
    if isinstance(form, Architecture):
        model = ETNPotential(form, numbers, **parts)
    else:
        model = Potential(form, numbers, **parts)
    check_agreement(document, model)
    return model


def pack(document: dict[str, Any], tensors: Tensors) -> bytes:
    """The bytes of a model file; adds the checksum to ``document``.

    Raises:
        ModelFileError: a document that JSON cannot hold, or that is too long.
    """
    try:
        plain = json.loads(_canonical(document))
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the document of the model cannot be written as JSON: {error}; {_WRITABLE}") from None
    text = _canonical({**plain, "checksum": _checksum(plain, tensors)})
    if len(text) > LONGEST_DOCUMENT:
        raise ModelFileError(
            f"the metadata of the model take {len(text)} characters, expected up to {LONGEST_DOCUMENT}; keep large "
            "data in files of their own"
        )
    return to_safetensors(tensors, {FORMAT: text})


def _document(model: Potential) -> dict[str, Any]:
    form = model.form
    document = {
        "format": FORMAT,
        "format_version": NETWORK_VERSION if isinstance(form, Architecture) else FORMULATION_VERSION,
        "library_version": __version__,
        "dtype": model.dtype,
        "metadata": model.metadata,
        "species": model.species,
        "cutoff": model.cutoff,
        "units": UNITS,
        "n_parameters": model.n_parameters,
        "reference_energies": model.reference_energies,
        "terms": listed_terms(model),
    }
    if isinstance(form, Formulation):
        return document | {"formulation": written_formulation(form)}
    assert isinstance(model, ETNPotential)
    if model.quantity is not None:
        document |= {"format_version": QUANTITY_VERSION, "quantity": model.quantity.to_dict()}
    if model.architecture.layers:
        document |= {"format_version": LAYERS_VERSION}
    return document | _network(model)


def _network(model: ETNPotential) -> dict[str, Any]:
    """What the document of a network has beside."""
    architecture, plan = model.architecture, model.plan_report()
    return {
        "architecture": architecture.to_dict(),
        "irreps": {
            "feature": str(architecture.feature),
            "bonds": [str(bond) for bond in architecture.train.reachable_bonds],
            "target": architecture.target,
        },
        "plan": {
            "equation": plan.equation,
            "path": plan.path,
            "flops_per_atom": plan.flops_per_atom,
            "bytes_per_atom": plan.bytes_per_atom,
        },
    }


def _tensors(model: Potential) -> Tensors:
    arrays = {f"{_PARAMETER}{name}": array for name, array in model.parameters.items()}
    arrays[_DISTANCES] = model.minimum_distances
    if model.terms is not None:
        arrays |= {key: getattr(model.terms, name) for key, name in _TERMS.items()}
    if model.grade is not None:
        arrays |= {key: getattr(model.grade, name) for key, name in _GRADE.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _canonical(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, allow_nan=False)


def _checksum(document: dict[str, Any], tensors: Tensors) -> str:
    digest = hashlib.sha256(_canonical(document).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}".encode())
        digest.update(tensors[name].astype("<f8", copy=False).tobytes())
    return digest.hexdigest()


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a shipped model, or the path itself, which must be that of a file.

    Raises:
        ModelFileError: there is no such file or name.
    """
    names = ", ".join(shipped_models()) or "none"
    try:
        path = model_path(name_or_path)
    except TypeError:
        given = type(name_or_path).__name__
        raise ModelFileError(
            f"expected the path of a model file or the name of a shipped model ({names}), got an object of type {given}"
        ) from None
    try:
        exists, is_file = path.exists(), path.is_file()
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {shortened(str(path))}: {error.strerror or error}") from None
    if not exists:
        raise ModelFileError(
            f"there is no model file {str(path)!r}, nor a shipped model of that name (there is: {names})"
        )
    if not is_file:
        raise ModelFileError(f"{path} is no file: expected a model file (*.etn) or a shipped model's name ({names})")
    return path


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The document and all tensors of a file that says it is ours."""
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(FORMAT)
            if text is None:
                raise ModelFileError(
                    f"{path} is a safetensors file, but no model of etn_gpu: its header has no entry {FORMAT!r}"
                )
            document = _document_of(path, text)
            tensors = _tensors_of(path, file)
    except SafetensorError as error:
        raise _not_ours(path, error) from None
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from None
    return document, tensors


def _tensors_of(path: Path, file: Any) -> Tensors:
    """All tensors, once it is known that NumPy can hold them: safetensors has more types and numbers of axes."""
    names = list(file.keys())
    headers = {name: file.get_slice(name) for name in names}
    if others := {n: kind for n, header in headers.items() if (kind := header.get_dtype()) != "F64"}:
        raise ModelFileError(f"{path} is no valid model: expected float64 tensors, found {shortened(others)}")
    if many := {n: axes for n, header in headers.items() if (axes := len(header.get_shape())) > _MOST_AXES}:
        raise ModelFileError(f"{path} is no valid model: expected up to {_MOST_AXES} axes, found {shortened(many)}")
    return {name: file.get_tensor(name) for name in names}


def _not_ours(path: Path, error: SafetensorError) -> ModelFileError:
    """The error for a file that is not in the format of safetensors, with what it is instead."""
    kind = describe(path)
    if kind is None or kind == MODEL or "safetensors" in kind:
        return ModelFileError(
            f"{path} is no model file, or it is truncated or damaged: safetensors reports {str(error)[:200]!r}"
        )
    return ModelFileError(
        f"{path} is {kind}: expected a model file of etn_gpu (*.etn) or the name of a shipped model "
        f"({', '.join(shipped_models()) or 'there is none'})"
    )


def _document_of(path: Path, text: str) -> dict[str, Any]:
    """The document of a known format and version; these come first, for a newer file may have any other content."""
    try:
        document = parse_json(text)
        if isinstance(document, dict) and document.get("format") == FORMAT:
            _check_version(path, document)
        plain("the document", document)
    except ContentError as error:
        raise ModelFileError(f"{path} is damaged: in its header, {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is no model of etn_gpu: the document in its header does not say format {FORMAT!r}"
        )
    return document


def _check_version(path: Path, document: dict[str, Any]) -> None:
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path} is damaged: format_version {shortened(version)}, expected an integer >= 1")
    if version > FORMAT_VERSION:
        writer = document.get("library_version", "of a later version")
        raise ModelFileError(
            f"{path} has format_version {version} (written by etn_gpu {str(writer)[:40]}); etn_gpu {__version__} reads "
            f"up to {FORMAT_VERSION}. Upgrade etn_gpu."
        )
