"""Extrapolation grades in model files: exact, complete or not there, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from safetensors import safe_open

from etn_gpu.errors import ModelFileError
from etn_gpu.potential import ETNPotential, file, load
from etn_gpu.potential.grade import ExtrapolationGrade
from etn_gpu.potential.grade_program import n_features

MakePotential = Callable[..., ETNPotential]
NAMES = ("factors", "atoms", "largest")
pytestmark = pytest.mark.filterwarnings("ignore::etn_gpu.errors.ModelWarning")


@pytest.fixture
def model(make_potential: MakePotential) -> ETNPotential:
    """A potential with awkward numbers in its grade."""
    plain = make_potential(2)
    n = n_features(plain.architecture)
    factors = np.random.default_rng(0).normal(size=(2, n, n)) / 3.0
    factors[0, :2, 0] = -0.0, 5e-324
    return plain.with_grade(ExtrapolationGrade(factors, np.array([0.0, 123.0]), np.array([0.0, 1.0 / 3.0])))


@pytest.fixture
def path(tmp_path: Path, model: ETNPotential) -> Path:
    model.save(tmp_path / "model.etn")
    return tmp_path / "model.etn"


def contents(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(path, framework="np") as opened:
        document = json.loads(opened.metadata()["etn_gpu"])
        document.pop("checksum")
        return document, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def test_grades_come_back_bit_for_bit(path: Path, model: ETNPotential, tmp_path: Path, backend: str) -> None:
    _, tensors = contents(path)
    loaded = load(path)
    assert model.grade is not None
    assert loaded.grade == model.grade
    for name in NAMES:
        stored = getattr(model.grade, name).tobytes()
        assert tensors[f"grade.{name}"].tobytes() == getattr(loaded.grade, name).tobytes() == stored
    loaded.save(tmp_path / "again.etn")
    assert (tmp_path / "again.etn").read_bytes() == path.read_bytes()
    atoms = bulk("Al", a=3.7, cubic=True)
    (expected,), (found,) = (m.evaluate(atoms, backend=backend) for m in (model, loaded))
    assert np.array_equal(found["extrapolation_grades"], expected["extrapolation_grades"])


def test_a_model_without_a_grade_has_no_such_tensors(path: Path, model: ETNPotential) -> None:
    model.with_grade(None).save(path)
    assert not [name for name in contents(path)[1] if name.startswith("grade.")]
    assert load(path).grade is None


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"grade.factors": None}, r"it lacks the tensors \['grade.factors'\]"),
        ({"grade.atoms": None, "grade.largest": None}, r"it lacks the tensors \['grade.atoms', 'grade.largest'\]"),
        ({"grade.colour": np.zeros(2)}, r"it has the unknown tensors \['grade.colour'\]"),
        ({"grade.factors": np.zeros((2, 3, 3))}, r"the grade's factors have the shape \(2, 3, 3\), expected \(2, 40"),
        ({"grade.factors": np.zeros((1, 40, 40))}, r"the grade's factors, atoms and largest have the shapes"),
        ({"grade.factors": np.zeros((2, 40, 41))}, r"the grade's factors, atoms and largest have the shapes"),
        ({"grade.factors": np.zeros((40, 40))}, r"the grade's factors, atoms and largest have the shapes"),
        ({"grade.atoms": np.zeros(3)}, r"the grade's factors, atoms and largest have the shapes"),
        ({"grade.largest": np.zeros(())}, r"the grade's factors, atoms and largest have the shapes"),
        ({"grade.factors": np.full((2, 40, 40), np.nan)}, "the grade's factors holds negative, NaN or infinite values"),
        ({"grade.atoms": np.array([1.0, -2.0])}, "the grade's atoms holds negative, NaN or infinite values"),
        ({"grade.largest": np.array([np.inf, 1.0])}, "the grade's largest holds negative, NaN or infinite values"),
    ],
)
def test_what_is_not_as_described(path: Path, tensors: dict[str, Any], message: str) -> None:
    document, arrays = contents(path)
    arrays |= tensors
    path.write_bytes(file.pack(document, {name: array for name, array in arrays.items() if array is not None}))
    with pytest.raises(ModelFileError, match=rf"is no valid model: .*{message}"):
        load(path)


def test_version_1_knows_no_grades(path: Path) -> None:
    document, arrays = contents(path)
    document.pop("terms")
    path.write_bytes(file.pack({**document, "format_version": 1}, arrays))
    with pytest.raises(ModelFileError, match=r"it has the unknown tensors \['grade.atoms', 'grade.factors'"):
        load(path)


def test_a_grade_of_a_covariant_output(tmp_path: Path, path: Path, make_potential: MakePotential) -> None:
    vector = tmp_path / "vector.etn"
    make_potential(2, target="1x1o").save(vector)
    document, arrays = contents(vector)
    arrays |= {name: array for name, array in contents(path)[1].items() if name.startswith("grade.")}
    vector.write_bytes(file.pack(document, arrays))
    with pytest.raises(ModelFileError, match="grades are of energies; this potential has the covariant output 1x1o"):
        load(vector)


@pytest.mark.parametrize("name", NAMES)
def test_the_checksum_covers_grades(path: Path, model: ETNPotential, name: str) -> None:
    whole = path.read_bytes()
    values = getattr(model.grade, name).tobytes()
    assert whole.count(values) == 1
    place = whole.index(values) + len(values) - 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ModelFileError, match="does not match its checksum"):
        load(path)
