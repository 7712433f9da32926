"""The model file ``*.etn``: a safetensors file with one float64 tensor per parameter and a JSON document in its header.

The document, the only entry ``etn_gpu`` of the header's metadata, holds ``format`` and ``format_version``, what a model
is made of (architecture, dtype, metadata), what people and other programs want to read without this library (species,
irreps, cutoff, units, reference energies, plan, ...) and a SHA-256 sum over itself and all tensors, so that a damaged
file is never mistaken for another potential. Nothing in a file is ever executed, and the same model always gives the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from etn_gpu import __version__
from etn_gpu.errors import BackendError, ModelFileError, NetworkError
from etn_gpu.files import write_atomically
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.model import ETNPotential

FORMAT = "etn_gpu"
#: Version of the files written, and the newest one that can be read.
FORMAT_VERSION = 1
UNITS = {"length": "A", "energy": "eV", "force": "eV/A", "stress": "eV/A^3"}

Tensors = dict[str, NDArray[np.float64]]
_PARAMETER = "parameters."
_DISTANCES = "minimum_distances"


def shipped_models() -> dict[str, Path]:
    """Names and files of the models that come with the package."""
    folder = Path(str(resources.files("etn_gpu.potential"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.etn"))}


def model_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file that :func:`load` reads: that of a shipped model for its name, else the path itself."""
    shipped = shipped_models() if isinstance(name_or_path, str) else {}
    return shipped.get(str(name_or_path)) or Path(name_or_path)


def save(model: ETNPotential, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path`` (by custom ``*.etn``).

    All numbers are kept bit for bit; tuples in the metadata become lists. A file of that name is replaced, by one that
    appears in one piece: until it is complete, the earlier one stays as it was.

    Raises:
        ModelFileError: metadata that JSON cannot hold (it needs finite numbers), or a file that cannot be written.
    """
    write_atomically(path, pack(_document(model), _tensors(model)), ModelFileError, "the model file")


def load(name_or_path: str | os.PathLike[str]) -> ETNPotential:
    """Read a model: a shipped one by its name, or a file by its path.

    A shipped name goes before a file of the same name; write ``./name`` for the file.

    Raises:
        ModelFileError: there is no such name or file, or the file is no intact model file of a known version.
    """
    path = _find(name_or_path)
    document, tensors = _read(path)
    checksum = document.pop("checksum", None)
    if checksum != _checksum(document, tensors):
        raise ModelFileError(f"{path} is damaged: its content does not match its checksum; get a fresh copy of it")
    try:
        return ETNPotential(
            Architecture.from_dict(document["architecture"]),
            {name.removeprefix(_PARAMETER): array for name, array in tensors.items() if name != _DISTANCES},
            dtype=document["dtype"],
            minimum_distances=tensors[_DISTANCES],
            metadata=document["metadata"],
        )
    except KeyError as error:
        raise ModelFileError(f"{path} is no complete model: it lacks {error}") from None
    except (NetworkError, BackendError, AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} is no valid model: {error}") from None


def pack(document: dict[str, Any], tensors: Tensors) -> bytes:
    """The bytes of a model file; adds the checksum to ``document``.

    Raises:
        ModelFileError: a document that JSON cannot hold.
    """
    try:
        plain = json.loads(_canonical(document))
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"the metadata of the model cannot be written as JSON: {error}; expected dicts with string keys, lists, "
            "strings, finite numbers, booleans and None"
        ) from None
    text = _canonical({**plain, "checksum": _checksum(plain, tensors)})
    return to_safetensors(tensors, {FORMAT: text})


def _document(model: ETNPotential) -> dict[str, Any]:
    architecture, plan = model.architecture, model.plan_report()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "architecture": architecture.to_dict(),
        "dtype": model.dtype,
        "metadata": model.metadata,
        "species": model.species,
        "cutoff": model.cutoff,
        "units": UNITS,
        "irreps": {
            "feature": str(architecture.feature),
            "bonds": [str(bond) for bond in architecture.train.reachable_bonds],
            "target": architecture.target,
        },
        "n_parameters": model.n_parameters,
        "reference_energies": model.reference_energies,
        "plan": {
            "equation": plan.equation,
            "path": plan.path,
            "flops_per_atom": plan.flops_per_atom,
            "bytes_per_atom": plan.bytes_per_atom,
        },
    }


def _tensors(model: ETNPotential) -> Tensors:
    arrays = {f"{_PARAMETER}{name}": array for name, array in model.parameters.items()}
    arrays[_DISTANCES] = model.minimum_distances
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _canonical(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, allow_nan=False)


def _checksum(document: dict[str, Any], tensors: Tensors) -> str:
    digest = hashlib.sha256(_canonical(document).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}".encode())
        digest.update(tensors[name].astype("<f8", copy=False).tobytes())
    return digest.hexdigest()


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    names = ", ".join(shipped_models()) or "none"
    try:
        path = model_path(name_or_path)
    except TypeError:
        given = type(name_or_path).__name__
        raise ModelFileError(
            f"expected the path of a model file or the name of a shipped model ({names}), got an object of type {given}"
        ) from None
    if not path.exists():
        raise ModelFileError(
            f"there is no model file {str(path)!r}, nor a shipped model of that name (there is: {names})"
        )
    if not path.is_file():
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
            document = _parse(path, text)
            _check_format(path, document)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ModelFileError(
            f"{path} is no model file, or it is truncated or damaged: safetensors reports {str(error)!r}"
        ) from None
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from None
    if others := {name: array.dtype.name for name, array in tensors.items() if array.dtype != np.float64}:
        raise ModelFileError(f"{path} is no valid model: expected float64 tensors, found {others}")
    return document, tensors


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: the document in its header is no JSON ({error})") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_format(path: Path, document: Any) -> None:
    """Format and version come before all else: a newer file may have any other content."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is no model of etn_gpu: the document in its header does not say format {FORMAT!r}"
        )
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path} is damaged: format_version {version!r}, expected an integer >= 1")
    if version > FORMAT_VERSION:
        writer = document.get("library_version", "of a later version")
        raise ModelFileError(
            f"{path} has format_version {version} (written by etn_gpu {writer}); etn_gpu {__version__} reads up to "
            f"{FORMAT_VERSION}. Upgrade etn_gpu."
        )
