"""Teachers by name: what is found, and what is said when nothing is."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from ase.calculators.emt import EMT

from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import LearningError
from etn_gpu.learning.teacher import Teacher, reason
from etn_gpu.potential import shipped_models


def test_classes_functions_and_what_is_inside_them(teachers: str) -> None:
    assert isinstance(Teacher("ase.calculators.emt:EMT", {"asap_cutoff": True}).calculator(), EMT)
    assert isinstance(Teacher(f"{teachers}:chaos").calculator(), EMT)
    assert isinstance(Teacher(f"{teachers}:Sums.make", {"threads": 2}).calculator(), EMT)


def test_modules_of_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "written_just_now.py").write_text("from ase.calculators.emt import EMT as Make")
    assert isinstance(Teacher("written_just_now:Make").calculator(), EMT)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nowhere:make", {}, "there is no module 'nowhere' in .*, nor is one installed"),
        ("ase.nowhere.x:make", {}, r"there is no module 'ase\.nowhere' in"),
        ("json:nothing", {}, r"json \(.*\) has no 'nothing'"),
        ("json:dumps.nothing", {}, "has no 'nothing'"),
        ("TEACHERS:answer", {}, "of type int, which cannot be called"),
        ("TEACHERS:breaks", {}, "fails when called with no arguments: RuntimeError: no licence$"),
        ("TEACHERS:chaos", {"cutoff": 5}, "fails when called with cutoff=5: TypeError: .*unexpected keyword"),
        ("builtins:dict", {}, "returns an object of type dict: expected a calculator of ASE"),
        ("builtins:type", {"name": "x"}, "fails when called with name='x'"),
        ("broken_module:make", {}, "importing broken_module fails: SyntaxError"),
        ("lacking_module:make", {}, "importing lacking_module fails: ModuleNotFoundError: No module named 'not_there'"),
        ("leaving_module:make", {}, "importing leaving_module fails: SystemExit: gone"),
        ("returns_class:make", {}, "returns the class EMT: expected a calculator"),
        ("emt", {}, "there is no model file 'emt'.*a teacher that is no model is given as module:factory"),
        ("nbmotaw", {"colour": "red"}, "nbmotaw cannot be made with colour='red': TypeError"),
        ("nbmotaw", {"skin": -1}, "the teacher nbmotaw: skin = -1: expected"),
    ],
)
def test_why_there_is_no_calculator(
    name: str, arguments: dict[str, object], message: str, teachers: str, tmp_path: Path
) -> None:
    (tmp_path / "broken_module.py").write_text("def make(:")
    (tmp_path / "lacking_module.py").write_text("import not_there")
    (tmp_path / "leaving_module.py").write_text("import sys; sys.exit('gone')")
    (tmp_path / "returns_class.py").write_text("def make():\n    from ase.calculators.emt import EMT\n    return EMT")
    with pytest.raises(LearningError, match=message) as found:
        Teacher(name.replace("TEACHERS", teachers), arguments).calculator()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("", {}, "expected module:factory"),
        ("a-b:c", {}, "both of them names in Python"),
        ("ase.calculators.emt:", {}, "both of them names in Python"),
        ("my.py:make()", {}, "both of them names in Python"),
        ("a:b", {"x": object()}, "JSON cannot hold them"),
        ("a:b", {"x": float("nan")}, "JSON cannot hold them"),
        ("a:b", {3: 4}, "expected names and values"),
        ("a:b", [1], "expected names and values"),
    ],
)
def test_bad_names_and_arguments(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        Teacher(name, arguments)


def test_models_are_teachers_and_a_replaced_file_is_another_one(tmp_path: Path) -> None:
    assert isinstance(Teacher("nbmotaw", {"backend": "numpy"}).calculator(), ETNCalculator)
    names = list(shipped_models().values())
    path = tmp_path / "model.etn"
    shutil.copy(names[0], path)
    teacher = Teacher(str(path))
    before = teacher.identity()
    assert before == json.loads(json.dumps(before)) == Teacher(str(path)).identity()
    shutil.copy(names[1], path)
    assert teacher.identity() != before
    path.unlink()
    with pytest.raises(LearningError, match=r"cannot read the teacher .* no model is given as module:factory"):
        teacher.identity()


def test_the_identity_of_a_factory() -> None:
    teacher = Teacher("ase.calculators.emt:EMT", {"asap_cutoff": True})
    assert teacher.identity() == {"name": "ase.calculators.emt:EMT", "arguments": {"asap_cutoff": True}}
    assert not teacher.is_model
    assert Teacher("nbmotaw").is_model


def test_reasons_are_one_printable_line() -> None:
    assert reason(ValueError("\n first \n second")) == "ValueError: first"
    assert reason(KeyError()) == "KeyError"
    assert reason(ValueError("\x1b[31mred")) == r"ValueError: \x1b[31mred"
    assert len(reason(ValueError("x" * 5000))) == 300
