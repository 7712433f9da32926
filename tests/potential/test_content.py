"""What a model file may hold: each field of its document with what is wrong, and then anything at all."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as to_safetensors

from etn_gpu.errors import ModelFileError
from etn_gpu.potential import Architecture, ETNPotential, file, load

METADATA = {
    "formation_references": {"Al": -3.0, "Ni": -5.0},
    "citation": ["nobody"],
    "errors": {"train": {"energy_mae": 0.1}},
    "training_data": {"file": "x"},
}


@pytest.fixture(scope="module")
def model() -> ETNPotential:
    architecture = Architecture(("Al", "Ni"), 4.5, 1.5, 3, (2, 1, 1), 2, 1, ("2x0e+1x1o", "1x0e+1x1o"))
    rng = np.random.default_rng(0)
    parameters = {name: rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    return ETNPotential(architecture, parameters, metadata=METADATA)


@pytest.fixture
def path(tmp_path: Path, model: ETNPotential) -> Path:
    model.save(tmp_path / "model.etn")
    return tmp_path / "model.etn"


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Document and tensors, to be changed and put together again with a checksum that fits."""
    with safe_open(path, framework="np") as opened:
        document = json.loads(opened.metadata()["etn_gpu"])
        document.pop("checksum")
        return document, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def packed(document: dict[str, Any], tensors: dict[str, Any]) -> bytes:
    """As :func:`file.pack`, also for what that refuses."""
    with suppress(ValueError, TypeError):
        document = {**document, "checksum": file._checksum(document, tensors)}
    return to_safetensors(tensors, {"etn_gpu": json.dumps(document, sort_keys=True)})


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("architecture.cutoff", True, "architecture.cutoff is True, expected a finite number above 0 up to 100"),
        ("architecture.cutoff", 1e3, "architecture.cutoff is 1000.0, expected a finite number above 0 up to 100"),
        ("architecture.inner", 4.5, r"architecture: the inner radius must be in \[0, cutoff = 4\.5\)"),
        ("architecture.n_radial", 3.0, "architecture.n_radial is 3.0, expected an integer from 1 to 1000000"),
        ("architecture.n_radial", "3", "architecture.n_radial is '3', expected an integer"),
        ("architecture.species", "Al", r"architecture.species is 'Al', expected a list of 1 to 118 items"),
        ("architecture.species", ["Al", "Xx"], r"architecture.species\[1\] is 'Xx', expected a chemical symbol"),
        ("architecture.species", ["Al", "Al"], "species must be one or more different chemical symbols"),
        ("architecture.channels", {"0": 2}, "architecture.channels is {'0': 2}, expected a list of 1 to 33 items"),
        ("architecture.channels", [2, None, 1], r"architecture.channels\[1\] is None, expected an integer from 0"),
        ("architecture.bonds", ["2x0e", 3], r"architecture.bonds\[1\] is 3, expected a string"),
        ("architecture.bonds", ["999999999x50e"] * 2, "multiplicities up to 1000000, got 999999999x50e"),
        ("architecture.bonds", ["2x0e"] * 50, "architecture.bonds is .*, expected a list of 1 to 20 items"),
        ("architecture.target", None, "architecture.target is None, expected a string"),
        ("dtype", "float16", "dtype is 'float16', expected one of float64, float32"),
        ("species", ["Ni", "Al"], r"species is \['Ni', 'Al'\], but the rest of the file says \['Al', 'Ni'\]"),
        ("cutoff", 5.0, "cutoff is 5.0, but the rest of the file says 4.5"),
        ("units.energy", "Ry", "units is .*'Ry'.*, but the rest of the file says"),
        ("irreps.bonds", [], r"irreps.bonds is \[\], but the rest of the file says"),
        ("n_parameters", 7, "n_parameters is 7, but the rest of the file says"),
        ("reference_energies.Al", 9.0, "reference_energies is .*9.0.*, but the rest of the file says"),
        ("plan.flops_per_atom", "many", "plan.flops_per_atom is 'many', expected a finite number of at least 0"),
        ("metadata", None, "metadata is None, expected a dictionary"),
        ("metadata.formation_references", [1], r"formation_references is \[1\], expected a dictionary"),
        ("metadata.formation_references.Al", "low", "formation_references.Al is 'low', expected a finite number"),
        ("metadata.formation_references.Qq", 1.0, "formation_references has the key 'Qq', expected a chemical symbol"),
        ("metadata.licence", {"a": 1}, "metadata.licence is {'a': 1}, expected a string"),
        ("metadata.citation", [3], r"metadata.citation\[0\] is 3, expected a string"),
        ("metadata.errors", "none", "metadata.errors is 'none', expected a dictionary"),
        ("metadata.more", "\ud800", "metadata.more is .*, expected a string without lone surrogates"),
        ("metadata.more", float("inf"), "Infinity is no JSON number"),
        ("metadata.more", 10**500, "an integer of 501 digits"),
    ],
)
def test_a_wrong_value_is_named(place: str, value: Any, message: str, path: Path) -> None:
    document, tensors = parts(path)
    *where, last = place.split(".")
    inner = document
    for key in where:
        inner = inner[key]
    inner[last] = value
    path.write_bytes(packed(document, tensors))
    with pytest.raises(ModelFileError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "etn_gpu", "format_version": 1, "a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"format": "etn_gpu", "format_version": 1, "a": 1e999}', r"the document.a is inf, expected a finite number"),
        ('{"format": "etn_gpu", "format_version": 1, "a": ' + "[" * 99 + "]" * 99 + "}", "lies more than 50 levels"),
        ('{"format": "etn_gpu", "format_version": 1, "a": ' + "[" * 99999 + "]" * 99999 + "}", "too deep inside"),
        ('{"format": "etn_gpu", "format_version": true}', "format_version True, expected an integer"),
        (" " * 10_000_001, "a document of 10000001 characters"),
    ],
    ids=["twice", "overflow", "deep", "deeper", "bool", "long"],
)
def test_json_that_python_lets_pass_or_fails_on(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.etn").write_bytes(to_safetensors({"a": np.zeros(1)}, {"etn_gpu": text}))
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path / "m.etn")


def test_types_that_numpy_lacks(path: Path) -> None:
    """safetensors has them, its reader for NumPy fails on them."""
    header = json.dumps({"__metadata__": {"etn_gpu": json.dumps(parts(path)[0])}, "minimum_distances": {
        "dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()  # fmt: skip
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelFileError, match=r"expected float64 tensors, found {'minimum_distances': 'F8_E4M3'}"):
        load(path)


def test_more_axes_than_numpy_has(path: Path) -> None:
    header = json.dumps({"__metadata__": {"etn_gpu": json.dumps(parts(path)[0])}, "minimum_distances": {
        "dtype": "F64", "shape": [1] * 2000, "data_offsets": [0, 8]}}).encode()  # fmt: skip
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ModelFileError, match=r"expected up to 4 axes, found {'minimum_distances': 2000}"):
        load(path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("formation_references", {"Al": "x"}), ("licence", 3), ("note", "\ud800"), ("deep", [[[]]])],
    ids=str,
)
def test_what_cannot_be_loaded_cannot_be_saved(entry: str, value: Any, model: ETNPotential, tmp_path: Path) -> None:
    for _ in range(60):
        value = [value] if entry == "deep" else value
    other = ETNPotential(model.architecture, model.parameters, metadata={entry: value})
    with pytest.raises(ModelFileError, match=rf"metadata of the model cannot be written as JSON: .*{entry}"):
        other.save(tmp_path / "m.etn")
    assert not list(tmp_path.iterdir())


def test_metadata_without_end(model: ETNPotential, tmp_path: Path) -> None:
    other = ETNPotential(
        model.architecture, model.parameters, metadata={"log": "x" * 99_999, "more": ["y" * 99] * 99_999}
    )
    with pytest.raises(ModelFileError, match=r"metadata of the model take \d+ characters, expected up to 10000000"):
        other.save(tmp_path / "m.etn")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model file .*: File name too long"):
        load("x" * 5000)


# -- anything at all -------------------------------------------------------------------------------------------------

_DEEP: list[Any] = []
for _ in range(300):
    _DEEP = [_DEEP]
#: Stand-ins for every value of a document.
ODD: list[Any] = [
    None, True, False, 0, -1, 2**70, 10**350, 0.5, -0.0, 1e308, "", "x", "5", "1x0e", "999999999x50e", "1x999999999e",
    "\ud800", "\x1b[31m", [], [[]], [1, 2], ["Al"], [None], [0] * 1000, {}, {"a": 1}, {"Al": "x"}, float("nan"),
    "1x0e+" * 2000, _DEEP,
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value of a document is."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield from places(entry, (*at, key))


def test_any_damage_is_refused_or_makes_a_sound_model(path: Path, model: ETNPotential) -> None:
    document, tensors = parts(path)
    intact, rng = path.read_bytes(), random.Random(0)
    refused: list[str] = []
    everywhere = list(places(document))
    for number in range(400):
        kind = number % 4
        if kind == 0:
            content = bytearray(intact)
            for _ in range(rng.choice([1, 1, 20])):
                content[rng.randrange(len(content))] = rng.randrange(256)
        elif kind == 1:
            content = bytearray(intact[: rng.randrange(len(intact))])
        elif kind == 2:
            changed = copy.deepcopy(document)
            *where, last = rng.choice(everywhere)
            inner: Any = changed
            for key in where:
                inner = inner[key]
            inner[last] = rng.choice(ODD)
            content = bytearray(packed(changed, tensors))
        else:
            name = rng.choice(list(tensors))
            array = tensors[name]
            odd = [array.T.copy(), array[:0], np.array(1.0), -array - 1, np.full_like(array, 1e308), array * np.nan]
            content = bytearray(packed(document, tensors | {name: rng.choice([*odd, array.astype("i4")])}))
        path.write_bytes(content)
        try:
            found = load(path)
        except ModelFileError as error:
            refused.append(str(error))
            continue
        if kind < 2:
            assert all(np.array_equal(a, model.parameters[name]) for name, a in found.parameters.items())
        found.save(path)
        load(path)
    assert len(refused) > 250
    assert max(map(len, refused)) < 1000
    assert not any("\n" in message for message in refused)
