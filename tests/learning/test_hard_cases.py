"""Runs that meet what nobody thinks of: copies, isolated atoms, labels of other runs, a kill at the wrong moment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from etn_gpu.errors import EtnGpuError, LearningError, StructureError, TrainingError
from etn_gpu.learning import Teacher, comparison, learn
from etn_gpu.learning.bare import bare, structure_key
from etn_gpu.learning.calculation import label_of
from etn_gpu.learning.comparison import Compared, errors_by_origin
from etn_gpu.learning.given import read_given
from etn_gpu.learning.labels import Failure, Label
from etn_gpu.learning.pool import TeacherPool
from etn_gpu.learning.runner import _why_nothing
from etn_gpu.learning.samples import Sampler
from etn_gpu.potential import ETNPotential, save
from etn_gpu.training import TrainingConfig
from tests.learning.students import Recorder, alloys, config, untrained


@pytest.fixture(scope="module")
def student() -> ETNPotential:
    return untrained()


class HerePool:
    """Labels in this process: no others have to start."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._calculator = EMT()

    def __enter__(self) -> HerePool:
        return self

    def __exit__(self, *what: object) -> None:
        pass

    def label(self, structures: Iterable[Atoms]) -> Iterator[tuple[int, Label | Failure]]:
        yield from ((place, label_of(self._calculator, atoms)) for place, atoms in enumerate(structures))


@pytest.fixture
def ready_made(student: ETNPotential, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and labels take no time."""

    def train(config: TrainingConfig, on_event: Any) -> Any:
        save(student, config.output)
        return SimpleNamespace(iterations=0, seconds=0.0, train={}, valid={})

    monkeypatch.setattr("etn_gpu.learning.runner.train", train)
    monkeypatch.setattr("etn_gpu.learning.runner.TeacherPool", HerePool)
    monkeypatch.setattr(comparison, "TeacherPool", HerePool)
    monkeypatch.setattr(comparison, "SECONDS", 0.0)


def keys(path: Path) -> set[str]:
    """Of the structures of a file."""
    found: Any = read(path, ":", format="extxyz")
    return {structure_key(atoms) for atoms in found}


def without_moves(**options: Any) -> dict[str, Any]:
    return {"rattle": 0.0, "strain": 0.0, "test_number": 0, "rounds": 1} | options


@pytest.mark.usefixtures("ready_made")
def test_copies_are_labelled_once(tmp_path: Path) -> None:
    """Without rattle and strain, perturbed copies of cells that are large enough are the given ones."""
    options = config(tmp_path, **without_moves(number=30, least_atoms=1))
    report = learn(options)
    assert report.rounds[0]["labelled"] == report.final["trained_on"] == len(alloys())
    write(tmp_path / "start.extxyz", alloys(1))
    with pytest.raises(LearningError, match=r"labelled 1 of 1 structures .*Give more structures, or allow --rattle"):
        learn(config(tmp_path, **without_moves(overwrite=True, least_atoms=1)))


def test_isolated_atoms_are_labelled_and_nothing_else(tmp_path: Path, student: ETNPotential) -> None:
    """Moved by itself an atom is the same structure, and it has no dynamics."""
    given = [Atoms("Cu"), bulk("Cu", cubic=True), Atoms("Au"), alloys(1)[0]]
    sampler = Sampler(config(tmp_path, steps=5, backend="numpy"), given, lambda: None)
    samples = sampler.first(20)
    assert [len(sample.atoms) for sample in samples].count(1) == 2
    chosen, met = sampler.chosen(2, student, 10)
    tested, _ = sampler.test(student, [], 10)
    assert min(len(sample.atoms) for sample in [*chosen, *tested]) > 1
    assert met.trajectories == 2


def test_isolated_atoms_alone_are_no_beginning(tmp_path: Path) -> None:
    write(tmp_path / "start.extxyz", [Atoms("Cu"), Atoms("Au")])
    with pytest.raises(LearningError, match=r"start\.extxyz: expected a crystal, .* nothing but isolated atoms"):
        learn(config(tmp_path))


def test_few_steps_are_looked_at_once(tmp_path: Path, student: ETNPotential) -> None:
    options = config(tmp_path, steps=3, every=10, backend="numpy")
    _, met = Sampler(options, alloys(2), lambda: None).chosen(2, student, 4)
    assert met.trajectories == 2


def test_why_nothing_was_chosen(tmp_path: Path, student: ETNPotential) -> None:
    """What the student cannot evaluate is nothing that it knows."""
    unknown = Sampler(config(tmp_path, backend="numpy"), [bulk("Ni", cubic=True)], lambda: None)
    chosen, met = unknown.chosen(2, student, 4)
    assert not chosen
    assert (met.structures, met.unusable, met.beyond) == (8, 8, 0)
    assert "it cannot evaluate 8" in _why_nothing(vars(met))
    assert "the student knows" not in _why_nothing(vars(met))
    assert _why_nothing({"structures": 8}) == "the student knows all that it meets"
    assert _why_nothing({"structures": 8, "beyond": 3}) == (
        "nothing to label among the 8 structures met: the student knows 5, "
        "3 make no sense (atoms too close, enormous grades)"
    )


@pytest.mark.usefixtures("ready_made")
def test_only_what_a_run_chose_is_trained_on(tmp_path: Path) -> None:
    """Labels of the run before serve where the same structure is chosen, whatever they were for."""
    learn(config(tmp_path, rounds=1, number=16, test_number=6, steps=5, backend="numpy"))
    options = config(tmp_path, rounds=1, number=24, test_number=0, seed=3, overwrite=True)
    recorder = Recorder()
    report = learn(options, recorder)
    computed = sum(event.kind == "progress" for event in recorder.events)
    assert 0 < computed - 1 < 24
    chosen = keys(options.folder / "round-1" / "chosen.extxyz")
    assert len(chosen) == report.rounds[0]["trained_on"] + report.rounds[0]["validated_on"] == 24
    assert keys(options.folder / "final" / "train.extxyz") == chosen


@pytest.mark.usefixtures("ready_made")
def test_a_kill_between_the_student_and_its_report(tmp_path: Path) -> None:
    """A model without what is known of its training is that of a run that was killed: more rounds train anew."""
    options = config(tmp_path, rounds=1, test_number=0, steps=5, backend="numpy")
    learn(options)
    (options.folder / "final" / "facts.json").unlink()
    report = learn(replace(options, rounds=2, resume=True))
    assert report.final["rounds"] == 2
    assert report.final["trained_on"] == len(keys(options.folder / "final" / "train.extxyz")) > 10


@pytest.mark.usefixtures("ready_made")
def test_structures_may_lie_elsewhere_when_a_run_goes_on(tmp_path: Path) -> None:
    options = config(tmp_path, rounds=1, test_number=0)
    learn(options)
    (tmp_path / "start.extxyz").rename(tmp_path / "moved.extxyz")
    moved = replace(options, structures=(tmp_path / "moved.extxyz",), resume=True)
    assert learn(moved).rounds[0]["labelled"] == 10
    others = alloys()
    others[3].info["charge"] = 1.0
    write(tmp_path / "moved.extxyz", others)
    with pytest.raises(LearningError, match="another run: checksum of the structures was"):
        learn(moved)


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"weights": {"energy": -1.0}}, TrainingError, "weights must be numbers >= 0"),
        ({"preset": "enormous"}, TrainingError, "'enormous' is not a preset"),
        ({"init": "no_such_model.etn", "preset": None, "cutoff": None}, EtnGpuError, r"no_such_model\.etn"),
    ],
)
def test_nothing_is_labelled_for_a_training_that_cannot_begin(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        learn(config(tmp_path, **changes))
    assert not (tmp_path / "student.learn").exists()


def test_the_folder_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    options = config(tmp_path)
    options.folder.mkdir()
    (options.folder / "labels.extxyz").write_text("1\nmine\nCu 0 0 0\n")
    with pytest.raises(LearningError, match=r"student\.learn exists and is none of a run of learning"):
        learn(options)
    assert [path.name for path in options.folder.iterdir()] == ["labels.extxyz"]
    assert (options.folder / "labels.extxyz").read_text() == "1\nmine\nCu 0 0 0\n"


def test_a_failed_prediction_spoils_every_error(student: ETNPotential) -> None:
    crystal, nickel = alloys(1)[0], bulk("Ni", cubic=True)
    crystal.rattle(0.1, seed=0)  # the student has its grades from this one
    samples = [Compared("given", atoms, labelled(atoms)) for atoms in (crystal, nickel)]
    found = errors_by_origin(student, samples[::-1], backend="numpy")
    assert list(found) == ["given", "grade up to 1.5", "grade above 1.5", "all"]
    errors = found["all"]
    assert all(np.isnan(errors[name]["rmse"]) for name in ("energy", "forces", "stress"))


def labelled(atoms: Atoms) -> Label:
    label = label_of(EMT(), atoms)
    assert isinstance(label, Label)
    return label


def test_a_teacher_that_hangs_when_it_is_timed(
    student: ETNPotential, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: dict[str, Any] = {}

    class Pool(TeacherPool):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            told.update(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(comparison, "TeacherPool", Pool)
    sample = Compared("given", alloys(1)[0], labelled(alloys(1)[0]))
    options: dict[str, Any] = {"threads": 1, "backend": "numpy", "log": tmp_path / "log"}
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    found = comparison.speeds(student, Teacher("ase.calculators.emt:EMT"), [sample], timeout=7.0, **options)
    assert found is not None
    assert told["timeout"] == 7.0
    assert json.dumps(found.to_dict())


@pytest.mark.usefixtures("ready_made")
def test_given_structures_that_differ_in_charge_or_spin_are_several(tmp_path: Path) -> None:
    """As the labels of the teacher have it."""
    write(tmp_path / "start.extxyz", [*alloys(1), *alloys(1), *alloys(1)])
    kept, _ = read_given(config(tmp_path))
    assert len(kept) == 1
    states: list[dict[str, int]] = [{}, {"charge": 1}, {"charge": 1, "spin": 3}, {}]
    several = [bare(atoms) for atoms in alloys(1) * 4]
    for atoms, state in zip(several, states, strict=True):
        atoms.info |= state
    write(tmp_path / "start.traj", several)
    kept, _ = read_given(replace(config(tmp_path), structures=(tmp_path / "start.traj",)))
    assert [atoms.info for atoms in kept] == states[:3]


@pytest.mark.usefixtures("ready_made")
def test_errors_that_are_not_finite_are_null_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN is no JSON, and other programs than Python's refuse the whole file."""
    monkeypatch.setattr(ETNPotential, "evaluate_each", lambda self, many, **options: [StructureError("no")] * len(many))
    options = config(tmp_path, rounds=1, steps=5, backend="numpy", test_number=4)
    monkeypatch.setattr("etn_gpu.learning.runner.speeds", lambda *arguments, **others: None)
    report = learn(options)
    assert np.isnan(report.errors["all"]["energy"]["rmse"])
    written = json.loads(options.report.read_text(), parse_constant=pytest.fail)
    assert written["errors"]["all"]["energy"] == {"mae": None, "rmse": None, "count": 4}
