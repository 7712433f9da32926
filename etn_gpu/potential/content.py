"""What a model file holds: one description of its document, and what in it must agree with its tensors.

The parts that other files hold as well, the architecture and strict JSON, are described here for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.registry import DTYPES
from etn_gpu.errors import IrrepsError, NetworkError, PlanError
from etn_gpu.network.messages import MOST_HEADS, MOST_LAYERS
from etn_gpu.plan import Program
from etn_gpu.potential.architecture import (
    LARGEST_DEGREE,
    LARGEST_SIZE,
    MOST_BONDS,
    Architecture,
)
from etn_gpu.potential.described import (
    ContentError,
    boolean,
    choice,
    either,
    exactly,
    integer,
    list_of,
    mapping_of,
    number,
    optional,
    plain,
    record,
    text,
)
from etn_gpu.potential.formulation import Form, Formulation
from etn_gpu.structures.elements import SYMBOLS
from etn_gpu.structures.targets import IRREPS
from etn_gpu.structures.validate import LARGEST_CUTOFF

if TYPE_CHECKING:
    from etn_gpu.potential.base import Potential

UNITS = {"length": "A", "energy": "eV", "force": "eV/A", "stress": "eV/A^3"}
#: A document longer than this, in characters, is none of ours: ten thousand parameters take a few kB.
LONGEST_DOCUMENT = 10_000_000
#: JSON integers with more digits than any double has.
_MOST_DIGITS = 400

_SIZE = integer(1, LARGEST_SIZE)
_LAYER = record(
    {
        "hidden": text(1000),
        "bonds": list_of(text(1000), 1, MOST_BONDS),
        "lmax": integer(0, LARGEST_DEGREE),
        "n_radial": _SIZE,
        "attention": integer(0, MOST_HEADS),
        "readout": boolean,
    }
)
_ARCHITECTURE = record(
    {
        "species": list_of(choice(*SYMBOLS, of="a chemical symbol"), 1, len(SYMBOLS)),
        "cutoff": number(above=0.0, most=LARGEST_CUTOFF),
        "inner": number(0.0, LARGEST_CUTOFF),
        "n_radial": _SIZE,
        "channels": list_of(integer(0, LARGEST_SIZE), 1, LARGEST_DEGREE + 1),
        "neighbour_rank": _SIZE,
        "centre_rank": _SIZE,
        "bonds": list_of(text(1000), 1, MOST_BONDS),
        "target": text(20),
    },
    {"layers": list_of(_LAYER, 1, MOST_LAYERS)},
)
_FORMULATION = record(
    {
        "method": text(100),
        "species": list_of(choice(*SYMBOLS, of="a chemical symbol"), 1, len(SYMBOLS)),
        "cutoff": number(above=0.0, most=LARGEST_CUTOFF),
        "program": plain,
    }
)
_LINES = optional(either(str, {str: text(), list: list_of(text())}))
_NOTES = optional(mapping_of(lambda name, value: None))
_METADATA = record(
    {},
    {
        "formation_references": optional(mapping_of(number(), SYMBOLS, of="a chemical symbol")),
        **dict.fromkeys(("training_data_origin", "licence", "citation", "description", "name"), _LINES),
        **dict.fromkeys(("training_data", "errors", "training"), _NOTES),
    },
    closed=False,
)
_PLAN = record(
    {},
    {
        "equation": text(),
        "path": list_of(text()),
        "flops_per_atom": number(0.0),
        "bytes_per_atom": number(0.0),
    },
    closed=False,
)
#: What the energy is a sum of, reference energies aside. Files have it from version 2 on.
_NETWORK, _REPULSION, _EMBEDDING = {"kind": "network"}, {"kind": "zbl", "screening": "universal"}, {"kind": "embedding"}
_PROGRAM = {"kind": "program"}
_TERM = record(
    {"kind": choice(*(term["kind"] for term in (_NETWORK, _PROGRAM, _REPULSION, _EMBEDDING)))},
    {"screening": choice(_REPULSION["screening"])},
)
#: What the output of a network is where it is no energy. Files have it from version 4 on.
_QUANTITY = record(
    {"name": text(200), "irreps": choice(*IRREPS.values()), "of": choice("atom", "structure"), "unit": text(100)}
)
_FIELDS = record(
    {"dtype": choice(*DTYPES), "metadata": _METADATA},
    {"library_version": text(100), "plan": _PLAN, "terms": list_of(_TERM, 1, 3), "quantity": _QUANTITY},
    closed=False,
)


def parse_json(document: str, *, finite: bool = True) -> Any:
    """The value of a JSON text, without what Python's parser lets pass or fails on.

    ``finite``: NaN and Infinity, which JSON does not have, are not accepted.

    Raises:
        ContentError: no JSON, keys given twice, integers without end, nested too deep, too long.
    """
    if len(document) > LONGEST_DOCUMENT:
        raise ContentError(f"a document of {len(document)} characters, expected up to {LONGEST_DOCUMENT}")
    try:
        constant = _no_constant if finite else float
        return json.loads(document, object_pairs_hook=_once, parse_int=_integer, parse_constant=constant)
    except RecursionError:
        raise ContentError("the values in the document lie too deep inside each other") from None
    except ValueError as error:
        raise ContentError(f"the document is no JSON ({error})") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return values


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def read_architecture(data: Any, name: str = "architecture") -> Architecture:
    """The architecture of a document that comes from a file.

    Raises:
        ContentError: a field that is missing, unknown, or not of its type or range; fields that do not fit together.
    """
    _ARCHITECTURE(name, data)
    try:
        return Architecture.from_dict(data)
    except (NetworkError, IrrepsError) as error:
        raise ContentError(f"{name}: {error}") from None


def written_formulation(formulation: Formulation) -> dict[str, Any]:
    """The formulation of a potential as JSON holds it; :func:`read_form` is the inverse."""
    return {
        "method": formulation.method,
        "species": list(formulation.species),
        "cutoff": formulation.cutoff,
        "program": json.loads(formulation.energy.to_json()),
    }


def read_form(document: Mapping[str, Any]) -> Form:
    """The architecture or the formulation in the document of a model file.

    Raises:
        ContentError: neither is there, or not as described; a Program that is none, or that reaches outside its values.
    """
    if "formulation" not in document:
        if "architecture" not in document:
            raise ContentError("it lacks 'architecture'")
        return read_architecture(document["architecture"])
    data = document["formulation"]
    _FORMULATION("formulation", data)
    try:
        program = Program.from_json(json.dumps(data["program"]))
        return Formulation(data["method"], tuple(data["species"]), float(data["cutoff"]), program)
    except (PlanError, NetworkError) as error:
        raise ContentError(f"formulation: {error}") from None


def check_metadata(metadata: Any) -> None:
    """That metadata can be kept in a file, and that what the library reads of them is as it expects.

    Raises:
        ContentError: names the entry.
    """
    plain("metadata", metadata)
    _METADATA("metadata", metadata)


def check_fields(document: Mapping[str, Any]) -> None:
    """What a model is made of besides architecture and tensors.

    Raises:
        ContentError: an entry that is missing, or not as described.
    """
    _FIELDS("", document)


def listed_terms(model: Potential) -> list[dict[str, str]]:
    """What the energy of a model is a sum of, one entry a term; the numbers of all but the network are tensors."""
    first = _NETWORK if isinstance(model.form, Architecture) else _PROGRAM
    return [first] if model.terms is None else [first, _REPULSION, _EMBEDDING]


def check_agreement(document: Mapping[str, Any], model: Potential) -> None:
    """That what people and other programs read in the document is what this library makes of the rest of the file.

    Raises:
        ContentError: an entry at odds with architecture and parameters.
    """
    repeated = {
        "species": exactly(list(model.species)),
        "cutoff": exactly(model.cutoff),
        "units": exactly(UNITS),
        "terms": exactly(listed_terms(model)),
        "n_parameters": exactly(model.n_parameters),
        "reference_energies": exactly(model.reference_energies),
    }
    if isinstance(architecture := model.form, Architecture):
        irreps = {
            "feature": exactly(str(architecture.feature)),
            "bonds": exactly([str(bond) for bond in architecture.train.reachable_bonds]),
            "target": exactly(architecture.target),
        }
        repeated["irreps"] = record({}, irreps)
    record({}, repeated, closed=False)("", document)


def check_distances(distances: NDArray[np.float64], n_species: int) -> None:
    """The closest pairs in the training data.

    Raises:
        ContentError: another shape, or values that are no distances.
    """
    expected = f"a matrix of {n_species} x {n_species} distances from 0 to {LARGEST_CUTOFF:g} A"
    if distances.shape != (n_species, n_species):
        raise ContentError(f"minimum_distances have shape {distances.shape}, expected {expected}")
    if (bad := distances[~((distances >= 0.0) & (distances <= LARGEST_CUTOFF))]).size:
        raise ContentError(f"minimum_distances hold {float(bad[0])!r}, expected {expected}")
