"""The model file: exact, readable without this library, never half written, and every defect has its own message."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import etn_gpu
from etn_gpu.errors import ModelFileError
from etn_gpu.potential import ETNPotential, file, load, preset_architecture, save, shipped_models

MakePotential = Callable[..., ETNPotential]
METADATA = {
    "training_data": {"name": "random numbers", "licence": "CC0", "citation": "nobody, 2025"},
    "errors": {"energy.mae": 0.1 + 0.2, "stress.mae": None},
    "formation_references": {"Al": -3.36, "Ni": -5.44e-300},
    "notes": ["ünïcode", "", 'quotes "', True, 2**70],
}


@pytest.fixture
def potential(make_potential: MakePotential) -> ETNPotential:
    """A potential with awkward numbers in it."""
    base = make_potential(2)
    references = np.array([-0.0, 5e-324])
    parameters = {**base.parameters, "E0": references, "A": base.parameters["A"] / 3}
    closest = np.array([[2.0 / 3, 2.4], [2.4, 0.0]])
    return ETNPotential(base.architecture, parameters, minimum_distances=closest, metadata=METADATA)


@pytest.fixture
def path(tmp_path: Path, potential: ETNPotential) -> Path:
    """The file of ``potential``."""
    save(potential, tmp_path / "model.etn")
    return tmp_path / "model.etn"


def contents(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The document and the tensors, read with nothing but safetensors and json."""
    with safe_open(path, framework="np") as opened:
        assert list(opened.metadata()) == ["etn_gpu"]
        return json.loads(opened.metadata()["etn_gpu"]), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def assert_identical(a: ETNPotential, b: ETNPotential) -> None:
    assert a.architecture == b.architecture
    assert (a.dtype, a.metadata) == (b.dtype, b.metadata)
    assert a.parameters.keys() == b.parameters.keys()
    for name, values in a.parameters.items():
        assert values.tobytes() == b.parameters[name].tobytes(), name
    assert a.minimum_distances.tobytes() == b.minimum_distances.tobytes()
    assert a.terms == b.terms
    assert a.grade == b.grade


def test_everything_comes_back_bit_for_bit(
    backend: str, path: Path, potential: ETNPotential, make_structures: Callable[[int], dict[str, Atoms]]
) -> None:
    loaded = load(path)
    assert_identical(loaded, potential)
    assert_identical(etn_gpu.potential.load(str(path)), potential)
    structures = list(make_structures(2).values())
    expected = potential.evaluate(structures, backend=backend)
    for a, b in zip(loaded.evaluate(structures, backend=backend), expected, strict=True):
        assert a.keys() == b.keys()
        assert a.extrapolating == b.extrapolating
        for name in a:
            assert np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes(), name


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    metadata=st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=3,
    ),
)
def test_any_numbers_and_any_json(
    values: list[float], metadata: dict[str, Any], tmp_path_factory: pytest.TempPathFactory,
    make_potential: MakePotential,
) -> None:  # fmt: skip
    base = make_potential(2)
    potential = ETNPotential(base.architecture, {**base.parameters, "E0": values}, metadata=metadata)
    target = tmp_path_factory.mktemp("any") / "model.etn"
    potential.save(target)
    assert_identical(load(target), potential)


@pytest.mark.parametrize(
    "changes",
    [{"target": "1x1o"}, {"bonds": ("3x0e+1x1o",), "cutoff": 5}, {"channels": (0, 2), "bonds": ("2x1o", "1x0e")}],
    ids=str,
)
def test_every_architecture(changes: dict[str, Any], tmp_path: Path, make_potential: MakePotential) -> None:
    potential = make_potential(2, **changes)
    potential.save(tmp_path / "model.etn")
    assert_identical(load(tmp_path / "model.etn"), potential)


def test_the_precision_is_kept_but_parameters_are_double(tmp_path: Path, potential: ETNPotential) -> None:
    single = ETNPotential(potential.architecture, potential.parameters, dtype="float32")
    single.save(tmp_path / "single.etn")
    assert_identical(load(tmp_path / "single.etn"), single)


def test_what_others_can_read_without_this_library(path: Path, potential: ETNPotential) -> None:
    document, tensors = contents(path)
    assert document["format"] == "etn_gpu"
    assert document["format_version"] == 2
    assert document["terms"] == [{"kind": "network"}]
    assert document["library_version"] == etn_gpu.__version__
    assert document["species"] == ["Al", "Ni"]
    assert document["cutoff"] == 4.5
    assert document["units"] == {"length": "A", "energy": "eV", "force": "eV/A", "stress": "eV/A^3"}
    assert document["dtype"] == "float64"
    assert document["irreps"]["feature"] == "4x0e+2x1o+2x2e"
    assert document["irreps"]["target"] == "1x0e"
    assert document["reference_energies"] == {"Al": 0.0, "Ni": 5e-324}
    assert document["metadata"] == METADATA
    assert document["plan"]["path"] == potential.plan_report().path
    assert document["plan"]["flops_per_atom"] > 0
    assert np.array_equal(tensors["minimum_distances"], potential.minimum_distances)
    assert {name for name in tensors if name.startswith("parameters.")} == {
        f"parameters.{p}" for p in potential.parameters
    }
    assert all(array.dtype == np.float64 for array in tensors.values())


def test_five_thousand_parameters_are_a_small_file(tmp_path: Path) -> None:
    architecture = preset_architecture("large", ("Nb", "Mo", "Ta", "W"), 5.0, 1.5)
    assert architecture.n_parameters > 3000
    zeros = {name: np.zeros(shape) for name, shape in architecture.parameter_shapes.items()}
    ETNPotential(architecture, zeros).save(tmp_path / "large.etn")
    assert (tmp_path / "large.etn").stat().st_size < 8 * architecture.n_parameters + 20_000


def test_the_same_model_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    save(load(path), tmp_path / "again.etn")
    assert (tmp_path / "again.etn").read_bytes() == path.read_bytes()


def test_a_saved_model_replaces_the_old_one_and_leaves_nothing_behind(
    path: Path, make_potential: MakePotential
) -> None:
    other = make_potential(1)
    link = path.with_name("link.etn")
    link.symlink_to(path)
    save(other, link)
    assert_identical(load(path), other)
    assert link.is_symlink()
    assert sorted(p.name for p in path.parent.iterdir()) == ["link.etn", "model.etn"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_nothing_is_lost_when_writing_fails(
    step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch, path: Path, make_potential: MakePotential
) -> None:
    before = path.read_bytes()

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    expected: Any = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ModelFileError
    with pytest.raises(expected) as caught:
        save(make_potential(1), path)
    if expected is ModelFileError:
        assert str(caught.value) == f"cannot write the model file {path}: No space left on device"
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.etn"]


def test_places_that_cannot_be_written(tmp_path: Path, potential: ETNPotential) -> None:
    with pytest.raises(ModelFileError, match=r"cannot write the model file .*nowhere.*No such file or directory"):
        save(potential, tmp_path / "nowhere" / "model.etn")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelFileError, match=r"cannot write the model file .*folder.*directory"):
        save(potential, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("value", [np.nan, np.float32(1.0), {1, 2}, {(1, 2): 3}, {"errors": [np.inf]}], ids=str)
def test_metadata_that_json_cannot_hold(value: Any, tmp_path: Path, potential: ETNPotential) -> None:
    potential.metadata["bad"] = value
    with pytest.raises(ModelFileError, match=r"metadata of the model cannot be written as JSON: .*expected dicts with"):
        save(potential, tmp_path / "model.etn")
    assert not list(tmp_path.iterdir())


def test_every_truncation_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"model\.etn is (an empty file|.*truncated or damaged)"):
            load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load(path)


@given(data=st.data())
def test_no_flipped_bit_makes_another_model(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    good = folder / "intact.etn"
    if not good.exists():
        architecture = preset_architecture("small", ("Al",), 5.0, 1.0)
        ones = {name: np.ones(shape) for name, shape in architecture.parameter_shapes.items()}
        save(ETNPotential(architecture, ones, metadata=METADATA), good)
    content = bytearray(good.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "flipped.etn").write_bytes(content)
    # None for an error; a flip from 1e-5 to 1E-5 in the header changes nothing
    try:
        loaded = load(folder / "flipped.etn")
    except ModelFileError:
        loaded = None
    if loaded is not None:
        assert_identical(loaded, load(good))


FOREIGN = {
    "text": (b"energy 3.0\nforces 1.0\n", "is a text file: expected a model file"),
    "pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07os.exit\x94.", "is a pickle .*never read"),
    "zip": (b"PK\x03\x04" + bytes(100), "is a ZIP archive that is truncated or damaged"),
    "bytes": (bytes(range(200, 256)) * 9, "is no model file, or it is truncated or damaged: safetensors reports"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_something_else(name: str, tmp_path: Path) -> None:
    content, message = FOREIGN[name]
    (tmp_path / "foreign.etn").write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path / "foreign.etn")


def test_safetensors_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    tensors = {"layer.weight": np.zeros((2, 2), np.float32)}
    for metadata in (None, {"format": "pt"}):
        save_file(tensors, path, metadata)
        with pytest.raises(
            ModelFileError, match="is a safetensors file, but no model of etn_gpu: its header has no entry"
        ):
            load(path)
    for text, message in (
        ("[1, 2]", "does not say format 'etn_gpu'"),
        ('{"format": "other"}', "does not say format 'etn_gpu'"),
        ("{not json", "in its header, the document is no JSON"),
        ('{"format": NaN}', "NaN is no JSON number"),
        ('{"format": "etn_gpu", "format_version": "1"}', "format_version '1', expected an integer >= 1"),
        ('{"format": "etn_gpu", "format_version": 0}', "format_version 0, expected an integer >= 1"),
        ('{"format": "etn_gpu"}', "format_version None, expected an integer >= 1"),
        ('{"format": "etn_gpu", "format_version": 1}', r"expected float64 tensors, found {'layer\.weight': 'F32'}"),
    ):
        save_file(tensors, path, {"etn_gpu": text})
        with pytest.raises(ModelFileError, match=message):
            load(path)


def test_a_newer_version(path: Path) -> None:
    document, _ = contents(path)
    newer = file.FORMAT_VERSION + 1
    document |= {"format_version": newer, "library_version": "9.1", "architecture": "something new"}
    path.write_bytes(file.pack(document, {"new": np.zeros(1)}))
    message = rf"format_version {newer} \(written by etn_gpu 9\.1\); .* reads up to {newer - 1}\. Upgrade etn_gpu\."
    with pytest.raises(ModelFileError, match=message):
        load(path)


def test_files_with_a_valid_checksum_that_are_no_model(path: Path) -> None:
    def rewritten(changes: dict[str, Any], tensor_changes: dict[str, Any]) -> Path:
        document, tensors = contents(intact)
        document.pop("checksum")
        document, tensors = {**document, **changes}, {**tensors, **tensor_changes}
        document = {key: value for key, value in document.items() if value is not None}
        path.write_bytes(file.pack(document, {k: v for k, v in tensors.items() if v is not None}))
        return path

    intact = path.with_name("intact.etn")
    intact.write_bytes(path.read_bytes())
    assert_identical(load(rewritten({}, {})), load(intact))
    architecture = contents(intact)[0]["architecture"]
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {"parameters.U": None}, r"is no valid model: it lacks the tensors \['parameters\.U'\]"),
        ({}, {"parameters.Q": np.zeros(3)}, r"it has the unknown tensors \['parameters\.Q'\]"),
        ({}, {"parameters.U": np.zeros((2, 3))}, r"the parameter 'U' has shape \(2, 3\), expected \(2, 2\)"),
        ({}, {"parameters.G1": np.full(12, np.nan)}, "the parameter 'G1' (has shape|holds NaN or infinite values)"),
        ({}, {"parameters.E0": np.array([1.0, np.inf])}, "the parameter 'E0' holds NaN or infinite values"),
        ({}, {"minimum_distances": None}, "lacks the tensors .*'minimum_distances'"),
        ({}, {"minimum_distances": np.full((2, 2), np.inf)}, r"hold inf, expected a matrix of 2 x 2 dist"),
        ({"architecture": None}, {}, "is no valid model: it lacks 'architecture'"),
        ({"dtype": None}, {}, "lacks 'dtype'"),
        ({"dtype": "int8"}, {}, "dtype is 'int8', expected one of float64, float32"),
        ({"metadata": 3}, {}, "metadata is 3, expected a dictionary"),
        ({"architecture": [1]}, {}, r"architecture is \[1\], expected a dictionary"),
        ({"architecture": {**architecture, "cutoff": -1.0}}, {}, r"cutoff is -1\.0, expected a finite number above 0"),
        ({"architecture": {**architecture, "cutoff": "5"}}, {}, "cutoff is '5', expected a finite number above 0"),
        ({"architecture": {**architecture, "colour": 1}}, {}, "has the unknown entry 'colour', expected species"),
        ({"architecture": {**architecture, "bonds": ["2x9z"]}}, {}, "is no valid model: .*2x9z"),
        ({"architecture": {"species": ["Al"]}}, {}, "architecture lacks 'cutoff'"),
    ]
    for changes, tensor_changes, message in cases:
        with pytest.raises(ModelFileError, match=message):
            load(rewritten(changes, tensor_changes))


def test_names_of_shipped_models(path: Path, monkeypatch: pytest.MonkeyPatch, potential: ETNPotential) -> None:
    monkeypatch.setattr(file, "shipped_models", lambda: {"alni": path, "other": path})
    assert_identical(load("alni"), potential)
    monkeypatch.chdir(path.parent)
    (path.parent / "alni").write_bytes(b"not a model")
    assert_identical(load("alni"), potential)
    with pytest.raises(ModelFileError, match="alni is a text file"):
        load("./alni")
    with pytest.raises(
        ModelFileError, match=r"no model file 'nbmotaw2', nor a shipped model of that name.*alni, other"
    ):
        load("nbmotaw2")
    with pytest.raises(ModelFileError, match=r"no model file 'missing\.etn'.*alni, other"):
        load(Path("missing.etn"))
    with pytest.raises(
        ModelFileError, match=r"is no file: expected a model file \(\*\.etn\) or a shipped.*alni, other"
    ):
        load(path.parent)
    with pytest.raises(ModelFileError, match=r"shipped model \(alni, other\), got an object of type int"):
        load(3)  # type: ignore[arg-type]


def test_unreadable_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(file, "safe_open", denied)
    with pytest.raises(ModelFileError, match=r"cannot read the model file .*model\.etn: Permission denied"):
        load(path)


def test_shipped_models_can_be_used() -> None:
    models = shipped_models()
    assert set(models) == {p.stem for p in (Path(etn_gpu.__file__).parent / "potential" / "models").glob("*.etn")}
    for name, path in models.items():
        model = load(name)
        assert path.stat().st_size < 1_000_000
        assert {"training_data", "errors", "formation_references"} <= model.metadata.keys(), name
        assert (model.minimum_distances >= 0).all()
