"""Terms beside the network in model files: exact, complete or not there, and a warning where there are none."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from safetensors import safe_open

import etn_gpu
from etn_gpu.errors import ModelFileError, ModelWarning
from etn_gpu.potential import ETNPotential, file, load
from etn_gpu.potential.terms import Terms

MakePotential = Callable[..., ETNPotential]
LISTED = [{"kind": "network"}, {"kind": "zbl", "screening": "universal"}, {"kind": "embedding"}]
NAMES = ("repulsion", "density", "distances", "embedding", "bounds")
NUMBERS: dict[str, Any] = {
    "repulsion": [[[0.6, 1.9], [0.5, 1.0 / 3 + 1]], [[0.5, 1.0 / 3 + 1], [0.0, 0.0]]],
    "density": [[0.4, 1.2, 3.2, 4.7], [0.0, 0.0, 3.3, 1e6]],
    "distances": [[[1.0, 2.0], [0.8, 1.7]], [[0.8, 1.7], [5e-324, 1.75]]],
    "embedding": [[-0.1 - 0.2, 3.0, 2.5, 0.0], [0.5, 1e-9, 2.8, 1.0 / 7]],
    "bounds": [[-1e300, -0.1, 1.0 / 3, 1e9], [-3.0, -2.0, -1.0, 0.0]],
}


@pytest.fixture
def model(make_potential: MakePotential) -> ETNPotential:
    return make_potential(2).with_terms(Terms(**NUMBERS))


@pytest.fixture
def path(tmp_path: Path, model: ETNPotential) -> Path:
    model.save(tmp_path / "model.etn")
    return tmp_path / "model.etn"


def contents(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(path, framework="np") as opened:
        document = json.loads(opened.metadata()["etn_gpu"])
        document.pop("checksum")
        return document, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def as_version_1(path: Path) -> None:
    """The file as the previous release wrote it; its model must have no terms."""
    document, tensors = contents(path)
    assert document.pop("terms") == [{"kind": "network"}]
    path.write_bytes(file.pack({**document, "format_version": 1}, tensors))


def test_terms_come_back_bit_for_bit(path: Path, model: ETNPotential, tmp_path: Path, backend: str) -> None:
    document, tensors = contents(path)
    assert document["format_version"] == 2
    assert document["terms"] == LISTED
    for name in NAMES:
        assert tensors[f"terms.{name}"].tolist() == NUMBERS[name]
    loaded = load(path)
    assert loaded.terms is not None
    assert loaded.terms == model.terms
    for name in NAMES:
        assert getattr(loaded.terms, name).tobytes() == np.array(NUMBERS[name], float).tobytes()
    loaded.save(tmp_path / "again.etn")
    assert (tmp_path / "again.etn").read_bytes() == path.read_bytes()
    atoms = bulk("Al", a=3.7, cubic=True)
    (expected,), (found,) = (m.evaluate(atoms, backend=backend) for m in (model, loaded))
    assert found["energy"] == expected["energy"]
    assert found["energy"] != model.with_terms(None).evaluate(atoms, backend=backend)[0]["energy"]


def test_version_1_is_a_model_without_terms(tmp_path: Path, make_potential: MakePotential) -> None:
    path, model = tmp_path / "model.etn", make_potential(2)
    model.save(path)
    as_version_1(path)
    loaded = load(path)
    assert loaded.terms is None
    assert all(np.array_equal(loaded.parameters[name], array) for name, array in model.parameters.items())
    loaded.save(path)
    assert contents(path)[0]["format_version"] == 2


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({}, {"terms.density": None}, r"it lacks the tensors \['terms.density'\]"),
        ({}, {"terms.colour": np.zeros(2)}, r"it has the unknown tensors \['terms.colour'\]"),
        ({"format_version": 1}, {}, r"it has the unknown tensors \['terms.bounds', 'terms.density'"),
        ({}, {f"terms.{name}": None for name in NAMES}, "terms is .*, but the rest of the file says .*network"),
        ({"terms": None}, {}, "it lacks 'terms'"),
        ({"terms": []}, {}, r"terms is \[\], expected a list of 1 to 3 items"),
        ({"terms": "network"}, {}, "terms is 'network', expected a list"),
        (
            {"terms": [{"kind": "morse"}]},
            {},
            r"terms\[0\].kind is 'morse', expected one of network, program, zbl, embedding",
        ),
        ({"terms": [{"kind": "zbl", "screening": "x"}]}, {}, r"terms\[0\].screening is 'x', expected 'universal'"),
        ({"terms": LISTED[:2]}, {}, "terms is .*, but the rest of the file says .*embedding"),
        ({}, {"terms.density": np.zeros((2, 3))}, r"the terms' density has shape \(2, 3\), expected \(2, 4\)"),
        ({}, {"terms.embedding": np.full((2, 4), np.nan)}, "the terms' embedding holds NaN or infinite values"),
        ({}, {"terms.embedding": np.full((2, 4), -1.0)}, "a cohesive energy above 0"),
        ({}, {"terms.repulsion": np.full((2, 2, 2), [1.0, 9.0])}, "repulsion reach to 9 A, expected at most"),
    ],
)
def test_what_is_not_as_described(path: Path, changes: dict[str, Any], tensors: dict[str, Any], message: str) -> None:
    document, arrays = contents(path)
    document, arrays = {**document, **changes}, {**arrays, **tensors}
    document = {name: value for name, value in document.items() if value is not None}
    path.write_bytes(file.pack(document, {name: array for name, array in arrays.items() if array is not None}))
    with pytest.raises(ModelFileError, match=rf"is no valid model: .*{message}"):
        load(path)


@pytest.mark.parametrize("name", NAMES)
def test_the_checksum_covers_terms(path: Path, name: str) -> None:
    whole, _ = path.read_bytes(), contents(path)
    values = np.array(NUMBERS[name], float).tobytes()
    assert whole.count(values) == 1
    place = whole.index(values) + 6
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ModelFileError, match="does not match its checksum"):
        load(path)


# -- the warning -------------------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path, make_potential: MakePotential) -> Path:
    path = tmp_path / "old [1].etn"
    make_potential(2).save(path)
    as_version_1(path)
    return path


def test_a_model_without_terms_warns_once(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old.parent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        etn_gpu.load(str(old))
        etn_gpu.load(old)
        etn_gpu.load(old.name)
    (warning,) = caught
    assert warning.category is ModelWarning
    assert warning.filename == __file__
    text = str(warning.message)
    assert text.startswith(f"the model {old} has nothing that holds atoms apart: its energies may fall without bound")
    assert text.endswith(
        f"at short distances; `etn-gpu grade {old} train.extxyz --output NEW.etn` adds what is missing"
    )


def test_each_file_has_its_warning(old: Path) -> None:
    other = old.with_name("other.etn")
    other.write_bytes(old.read_bytes())
    for file_of_model in (old, other):
        with pytest.warns(ModelWarning, match=re.escape(str(file_of_model))):
            load(file_of_model)


def test_models_that_need_no_warning(path: Path, tmp_path: Path, make_potential: MakePotential) -> None:
    make_potential(2, target="1x1o").save(tmp_path / "vector.etn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path)
        load(tmp_path / "vector.etn")


def test_a_file_that_is_refused_has_no_warning(old: Path) -> None:
    content = old.read_bytes()
    old.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelFileError):
            load(old)
    old.write_bytes(content)
    with pytest.warns(ModelWarning):
        load(old)


@pytest.mark.filterwarnings("default::etn_gpu.errors.ModelWarning")
def test_one_plain_line_in_the_command_line(run: Callable[..., Any], old: Path, path: Path) -> None:
    found = run("plan", old)
    assert found.code == 0
    assert found.err.count("\n") == 1
    assert found.err.startswith(f"warning: the model {old} has nothing that holds atoms apart")
    assert f"energy                network{os.linesep}" in found.out
    assert run("plan", old).err == ""
    found = run("plan", path)
    assert found.err == ""
    assert "energy                network + zbl + embedding" in found.out


@pytest.mark.filterwarnings("default")
def test_warnings_of_others_stay_as_they_are(
    run: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_report(self: ETNPotential) -> str:
        warnings.warn("something else", DeprecationWarning, stacklevel=1)
        return ""

    monkeypatch.setattr(ETNPotential, "plan_report", plan_report)
    shown = warnings.showwarning
    with pytest.warns(DeprecationWarning, match="something else"):
        run("plan", path)
    assert warnings.showwarning is shown
