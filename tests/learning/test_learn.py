"""Whole runs of learning: what they leave behind, how they go on, and what a bad teacher costs."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import etn_gpu
from etn_gpu.errors import DataError, LearningError
from etn_gpu.learning import LearningReport, Teacher, learn
from etn_gpu.learning.config import LearningConfig
from etn_gpu.learning.runner import _without_folders
from etn_gpu.learning.samples import Sampler
from etn_gpu.training import TrainingConfig
from tests.learning.students import Recorder, alloys, config, quicken_training

#: Copper and gold stand for each other.
EXCHANGE = (("Cu", "Au"),)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken_training(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[LearningConfig, LearningReport, Recorder]:
    """A run that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        quicken_training(patch)
        options = config(tmp_path_factory.mktemp("finished"), exchange=EXCHANGE)
        recorder = Recorder()
        return options, learn(options, recorder), recorder


@pytest.fixture
def ready_made(finished: tuple[LearningConfig, LearningReport, Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    """The student of the finished run in the place of all training, for tests of what goes on around it."""

    def train(config: TrainingConfig, on_event: Any) -> Any:
        count = len(frames(Path(config.train_files[0])))
        shutil.copyfile(finished[0].output, config.output)
        return SimpleNamespace(iterations=0, seconds=0.0, train={"structures": count}, valid={})

    monkeypatch.setattr("etn_gpu.learning.runner.train", train)


def table(options: LearningConfig) -> list[dict[str, str]]:
    """The rows of labels.csv."""
    with open(options.folder / "labels.csv", newline="") as file:
        return list(csv.DictReader(file))


def frames(path: Path) -> list[Any]:
    found: Any = read(path, ":", format="extxyz")
    return list(found)


def test_the_student_is_a_whole_model(finished: tuple[LearningConfig, LearningReport, Recorder]) -> None:
    options, report, _ = finished
    student = etn_gpu.potential.load(options.output)
    assert student.grade is not None
    assert student.terms is not None
    assert set(student.species) == {"Au", "Cu"}
    assert student.metadata["learnt_from"] == options.teacher.identity()
    assert student.metadata["labels"] == 20
    assert json.loads(options.report.read_text()) == json.loads(json.dumps(report.to_dict()))


def test_labels_are_the_teachers(finished: tuple[LearningConfig, LearningReport, Recorder]) -> None:
    options, _, _ = finished
    rows = table(options)
    assert len(rows) == len({row["key"] for row in rows}) == 26
    assert [row["round"] for row in rows].count("0") == 6
    assert {row["origin"] for row in rows} >= {"given", "perturbed"}
    for atoms in frames(options.folder / "labels.extxyz"):
        energy, forces, stress = (atoms.info["REF_energy"], atoms.arrays["REF_forces"], atoms.info["REF_stress"])
        atoms.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), np.reshape(stress, (3, 3)), atol=1e-9)


def test_comparison_is_on_structures_that_nobody_chose(
    finished: tuple[LearningConfig, LearningReport, Recorder],
) -> None:
    options, report, _ = finished
    trained = {atoms.info["key"] for atoms in frames(options.folder / "final" / "train.extxyz")}
    tested = {row["key"] for row in table(options) if row["round"] == "0"}
    assert len(trained) == 20
    assert not trained & tested
    errors = report.errors["all"]
    assert errors["n_structures"] == 6
    student = etn_gpu.potential.load(options.output)
    differences = []
    for atoms in frames(options.folder / "labels.extxyz"):
        if atoms.info["key"] in tested:
            result = student.evaluate(atoms)[0]
            differences.append(result["forces"] - atoms.arrays["REF_forces"])
    expected = np.sqrt(np.mean(np.concatenate(differences) ** 2))
    assert errors["forces"]["rmse"] == pytest.approx(expected)
    assert 0 < errors["forces"]["rmse"] < 0.5 * errors["forces_rms"]
    by_origin = sum(
        row["n_structures"] for name, row in report.errors.items() if name in ("given", "perturbed", "dynamics")
    )
    by_grade = sum(row["n_structures"] for name, row in report.errors.items() if name.startswith("grade"))
    assert by_origin == by_grade == 6
    assert report.speed["teacher_us_per_atom"] > 0
    ratio = report.speed["teacher_us_per_atom"] / report.speed["student_us_per_atom"]
    assert report.speed["speedup"] == pytest.approx(ratio)


def test_rounds_tell_what_happened(finished: tuple[LearningConfig, LearningReport, Recorder]) -> None:
    _, report, recorder = finished
    first, second = report.rounds
    assert (first["labelled"], first["trained_on"], first["validated_on"]) == (10, 9, 1)
    assert (second["labelled"], second["trained_on"], second["validated_on"]) == (10, 18, 2)
    assert second["met"]["trajectories"] == 2
    assert second["before"]["forces"]["rmse"] > 0
    assert "before" not in first
    assert [event.facts["round"] for event in recorder.events if event.kind == "round"] == [1, 2]
    assert report.final["trained_on"] == 20


def test_interrupted_runs_go_on_to_the_same_end(
    finished: tuple[LearningConfig, LearningReport, Recorder], tmp_path: Path
) -> None:
    """Whatever was under way: nothing is labelled twice, and the report has the same errors."""
    expected = finished[1]
    stops = {
        "round 1: labels by the teacher": 3,
        "round 1: training": 1,
        "round 2: molecular dynamics by the student": 1,
        "round 2: labels by the teacher": 4,
        "last training": 2,
        "comparison: labels by the teacher": 2,
    }
    for number, (text, done) in enumerate(stops.items()):
        recorder = Recorder(text, done)
        with pytest.raises(KeyboardInterrupt):
            learn(config(tmp_path, exchange=EXCHANGE, resume=number > 0), recorder)
        assert not (tmp_path / "student.etn").exists()
    options = config(tmp_path, exchange=EXCHANGE, resume=True)
    report = learn(options)
    keys = [row["key"] for row in table(options)]
    assert len(keys) == len(set(keys)) == 26
    assert report.errors == expected.errors
    timeless = [
        [{k: v for k, v in facts.items() if not k.startswith("seconds")} for facts in found.rounds]
        for found in (report, expected)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.usefixtures("ready_made")
def test_more_rounds_go_on_from_a_finished_run(tmp_path: Path) -> None:
    learn(config(tmp_path, rounds=1, test_number=0))
    options = config(tmp_path, rounds=2, test_number=0, resume=True)
    report = learn(options)
    assert len(report.rounds) == 2
    assert len(table(options)) == 20
    assert report.final["trained_on"] == 20
    assert report.final["train"] == {"structures": 20}


def test_a_run_is_not_replaced_unasked(finished: tuple[LearningConfig, LearningReport, Recorder]) -> None:
    options, _, _ = finished
    before = options.output.read_bytes()
    with pytest.raises(LearningError, match=r"exist already: .* --overwrite"):
        learn(options)
    other = replace(options, output=options.output.with_name("other.etn"))
    with pytest.raises(LearningError, match="there is no run to go on with"):
        learn(replace(other, resume=True))
    with pytest.raises(LearningError, match=r"another run: number was 10, is 12\. Go on with the same options"):
        learn(replace(options, resume=True, number=12))
    with pytest.raises(LearningError, match=r"another run: exchange was \[\['Cu', 'Au'\]\], is \[\]"):
        learn(replace(options, resume=True, exchange=()))
    with pytest.raises(LearningError, match="another run: teacher was"):
        learn(replace(options, resume=True, teacher=Teacher("ase.calculators.lj:LennardJones")))
    assert options.output.read_bytes() == before


@pytest.mark.usefixtures("ready_made")
def test_a_run_that_has_labelled_nothing_is_replaced(tmp_path: Path) -> None:
    """The next command, with the name of the teacher mended, needs no option."""
    with pytest.raises(LearningError, match="no_such_module"):
        learn(config(tmp_path, teacher=Teacher("no_such_module:make")))
    report = learn(config(tmp_path, rounds=1, number=12, test_number=0))
    assert report.final["trained_on"] == 12


@pytest.mark.usefixtures("ready_made")
def test_beginning_anew_keeps_what_the_same_teacher_said(tmp_path: Path) -> None:
    options = config(tmp_path, rounds=1, test_number=0)
    learn(options)
    first = {row["key"] for row in table(options)}
    again = config(tmp_path, rounds=1, test_number=0, seed=1, overwrite=True)
    learn(again)
    kept = {row["key"] for row in table(again)}
    assert first < kept
    other = config(
        tmp_path,
        rounds=1,
        test_number=0,
        overwrite=True,
        teacher=Teacher("ase.calculators.emt:EMT", {"fixed_cutoff": False}),
    )
    learn(other)
    assert {row["key"] for row in table(other)} == first


@pytest.mark.usefixtures("ready_made")
def test_labels_in_the_given_structures_are_not_the_teachers(tmp_path: Path) -> None:
    structures = alloys()
    for atoms in structures:
        atoms.info["REF_energy"] = 1e6
        atoms.calc = SinglePointCalculator(atoms, energy=-1e6, forces=np.ones((len(atoms), 3)))
    write(tmp_path / "start.extxyz", structures)
    options = config(tmp_path, rounds=1, test_number=0)
    learn(options)
    for atoms in frames(options.folder / "final" / "train.extxyz"):
        assert abs(atoms.info["REF_energy"]) < 100
        assert set(atoms.info) == {"REF_energy", "REF_stress", "config_type", "round", "seconds", "key"}


VICES = '''
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT

class Stressless(EMT):
    implemented_properties = ["energy", "free_energy", "forces"]
    def calculate(self, *arguments):
        super().calculate(*arguments)
        self.results.pop("stress", None)

class Moody(EMT):
    """Raises for one composition, gives NaN for another."""
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        gold = int((atoms.numbers == 79).sum())
        if gold == 4:
            raise RuntimeError("self-consistency was not reached")
        super().calculate(atoms, properties, system_changes)
        if gold == 2:
            self.results["forces"][0] = np.nan

class Hopeless(EMT):
    def calculate(self, *arguments):
        raise RuntimeError("no licence on this machine.")
'''


@pytest.fixture
def vices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module of teachers in the present folder."""
    name = f"vices_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(VICES)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_teacher_without_stress(tmp_path: Path, vices: str) -> None:
    report = learn(config(tmp_path, rounds=1, teacher=Teacher(f"{vices}:Stressless")))
    assert report.errors["all"]["stress"] == {"mae": None, "rmse": None, "count": 0}
    assert report.errors["all"]["forces"]["rmse"] > 0
    assert report.final["train"]["stress_mae"] is None


@pytest.mark.usefixtures("ready_made")
def test_failed_labels_are_rows(tmp_path: Path, vices: str) -> None:
    options = config(tmp_path, rounds=1, number=24, test_number=0, teacher=Teacher(f"{vices}:Moody"))
    recorder = Recorder()
    report = learn(options, recorder)
    failed = [row for row in table(options) if row["status"] == "failed"]
    assert 0 < len(failed) == report.rounds[0]["failed"] == len(recorder.texts("warning"))
    messages = {row["message"] for row in failed}
    assert any("RuntimeError: self-consistency was not reached" in text for text in messages)
    assert any("forces" in text and "nan" in text.lower() for text in messages)
    assert report.final["trained_on"] == 24 - len(failed)


@pytest.mark.usefixtures("ready_made")
def test_a_teacher_that_labels_nothing(tmp_path: Path, vices: str) -> None:
    options = config(tmp_path, teacher=Teacher(f"{vices}:Hopeless"))
    with pytest.raises(
        LearningError,
        match=r"labelled 0 of 10 structures .* first of 10 failures: RuntimeError: no licence on this machine\. \S",
    ):
        learn(options)
    source = (tmp_path / f"{vices}.py").read_text()
    (tmp_path / f"{vices}.py").write_text(
        source.replace('raise RuntimeError("no licence on this machine.")', "super().calculate(*arguments)")
    )
    with pytest.raises(LearningError, match="labelled 0 of 10"):
        learn(replace(options, resume=True))
    report = learn(replace(options, resume=True, retry=True, rounds=1, test_number=6))
    assert report.rounds[0]["labelled"] == 10


@pytest.mark.usefixtures("ready_made")
def test_large_forces_are_left_out(tmp_path: Path) -> None:
    options = config(tmp_path, rounds=1, test_number=0, number=20, rattle=0.2, largest_force=3.0)
    report = learn(options)
    large = [
        atoms
        for atoms in frames(options.folder / "labels.extxyz")
        if np.linalg.norm(atoms.arrays["REF_forces"], axis=1).max() > 3.0
    ]
    assert len(large) == sum(float(row["largest_force"]) > 3.0 for row in table(options))
    assert 0 < len(large) == report.rounds[0]["large_forces"]
    assert report.final["trained_on"] == 20 - len(large)


def test_elements_of_which_nothing_was_labelled_stop_no_round(
    finished: tuple[LearningConfig, LearningReport, Recorder], tmp_path: Path
) -> None:
    student = etn_gpu.potential.load(finished[0].output)
    given = [bulk("Ni", cubic=True), *alloys(2)]
    sampler = Sampler(config(tmp_path, trajectories=6), given, lambda: None)
    samples, met = sampler.chosen(2, student, 8)
    assert met.structures > len(samples) > 0
    assert all(set(sample.atoms.get_chemical_symbols()) <= {"Cu", "Au"} for sample in samples)
    only_unknown = Sampler(config(tmp_path), given[:1], lambda: None)
    assert only_unknown.chosen(2, student, 8)[0] == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"number": 3}, "number must be a whole number of at least 4, got 3"),
        ({"temperature": float("nan")}, "temperature must be a positive number, got nan"),
        ({"rounds": 2.5}, r"rounds must be a whole number of at least 1, got 2\.5"),
        ({"temperature": "hot"}, "temperature must be a positive number, got 'hot'"),
        ({"stop_grade": float("inf")}, "stop_grade must be a grade of at least 1, .*, got inf"),
        ({"threshold": 0.5}, r"the threshold must be 1 or more, got 0\.5"),
        ({"stop_grade": 1.0}, "the grade that ends a trajectory must be above the threshold"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"retry": True}, "only a run that goes on can try again"),
        ({"exchange": [("Cu", "Gold")]}, "exchange Cu,Gold: 'Gold' is no element"),
        ({"keep_compositions": True}, "no elements are exchanged: name those that may be"),
        ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"rattle": 0.6}, r"rattle must be a number from 0 to below 0\.5"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LearningError, match=complaint):
        config(tmp_path, **changes)


def test_structures_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "start.extxyz").write_text("nonsense\n")
    with pytest.raises(DataError, match=r"start\.extxyz"):
        learn(config(tmp_path))
    broken = alloys(2)
    broken[1].positions[0] = broken[1].positions[1]
    write(tmp_path / "start.extxyz", broken)
    with pytest.raises(LearningError, match=r"start\.extxyz \[1\]: "):
        learn(config(tmp_path))
    assert not (tmp_path / "student.learn").exists()


def test_a_model_tells_no_folders(finished: tuple[LearningConfig, LearningReport, Recorder]) -> None:
    teacher = {"name": "folder/model.etn", "arguments": {"files": ["/home/someone/a.mtp"], "level": 3}}
    assert _without_folders(teacher) == {"name": "model.etn", "arguments": {"files": ["a.mtp"], "level": 3}}
    assert str(finished[0].output.parent) not in json.dumps(etn_gpu.potential.load(finished[0].output).metadata)
