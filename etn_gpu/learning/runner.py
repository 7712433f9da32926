"""The rounds of a run: sample, choose, label, train; at the end the last training on all labels and the comparison.

Each part leaves a file behind when it is over, and is skipped where its file is there: that is how a run goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu import backend as backends
from etn_gpu import files
from etn_gpu.errors import LearningError
from etn_gpu.learning.bare import structure_key
from etn_gpu.learning.comparison import Compared, error_before, errors_by_origin, speeds
from etn_gpu.learning.config import Event, LearningConfig, OnEvent
from etn_gpu.learning.folder import Folder, opened, write_labelled
from etn_gpu.learning.given import read_given
from etn_gpu.learning.labels import Failure, Label, LabelStore, Row
from etn_gpu.learning.pool import TeacherPool
from etn_gpu.learning.report import LearningReport
from etn_gpu.learning.samples import Met, Sample, Sampler
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.file import load, model_path
from etn_gpu.training import TrainingConfig, train
from etn_gpu.training.config import Event as TrainingEvent
from etn_gpu.training.initial_model import InitialModel

if TYPE_CHECKING:
    from ase import Atoms

#: One of so many labelled structures validates and is not trained on before the last training.
VALID_ONE_IN = 10
#: With fewer labels of the first round nothing can be trained.
FEWEST = 4
#: Most iterations of the training of a round, unless the user says otherwise.
ROUND_ITERATIONS = 15
TEST, FINAL = "test", "final"
_STUDENT = "student.etn"


def learn(config: LearningConfig, on_event: OnEvent | None = None) -> LearningReport:
    """Train a potential on what a slow one, the teacher, says of structures that are sampled and chosen on the way.

    The model is written to ``config.output``, the report beside it as JSON; ``config.folder`` has all that a run needs
    to go on where it was stopped.

    Raises:
        DataError: a file of structures that cannot be read.
        LearningError: options that do not fit the run in the folder, a teacher that cannot be loaded or that labels
            nothing, files that cannot be written.
        ModelFileError: the initial model cannot be read.
        TrainingError: options of the training that cannot be meant, training that fails.
    """
    backends.resolve(config.backend)
    inputs = [*config.structures, *([] if config.init is None else [model_path(config.init)])]
    files.check_suffix(config.output, files.MODEL, LearningError)
    files.check_outputs([config.output, config.report], inputs, LearningError)
    with files.locked([config.output], LearningError):
        files.check_replaced([config.output, config.report], config.overwrite or config.resume, LearningError)
        if not config.resume:  # nothing is to be labelled for a training that cannot begin
            InitialModel.load(_training(config, config.folder, **_first_start(config)))
        given, held_out = read_given(config)
        checksum = hashlib.sha256("".join(map(structure_key, [*given, *held_out])).encode()).hexdigest()
        with opened(config, checksum) as folder, LabelStore(folder.path) as store:
            return _Run(config, folder, store, given, held_out, on_event or (lambda event: None)).run()


class _Run:
    def __init__(
        self,
        config: LearningConfig,
        folder: Folder,
        store: LabelStore,
        given: list[Atoms],
        held_out: list[Atoms],
        on_event: OnEvent,
    ) -> None:
        self.config, self.folder, self.store, self.on_event = config, folder, store, on_event
        self.held_out = held_out
        #: Keys of the structures that are trained on, with the round that chose them.
        self.learnt: dict[str, int] = {}
        self.steps = 0
        self.sampler = Sampler(config, given, self._advance)
        self.options = {"backend": config.backend, "threads": config.threads}
        self.log = folder.path / "teacher.log"

    def run(self) -> LearningReport:
        """All rounds, the last training and the comparison."""
        student: Path | None = None
        rounds = []
        for number in range(1, self.config.rounds + 1):
            facts, student = self._round(number, student)
            rounds.append(facts)
            self.on_event(Event("round", facts=facts))
            if not facts["chosen"]:
                self.on_event(Event("message", text=f"round {number}: {_why_nothing(facts['met'])}"))
                break
        assert student is not None
        student = self._last_training(student, len(rounds))
        report = self._compare(load(student, purpose="learning"), rounds)
        files.write_atomically(self.config.output, student.read_bytes(), LearningError, "the model")
        report.write(self.config.report)
        self.on_event(Event("done", facts=report.to_dict()))
        return report

    # -- a round -------------------------------------------------------------------------------------------------

    def _round(self, number: int, student: Path | None) -> tuple[dict[str, Any], Path | None]:
        """What a round amounted to, and the student after it."""
        name = f"round-{number}"
        chosen = self._chosen(name, lambda: self._choose(number, student))
        labelled = self._labelled(name, chosen, number)
        self._check_first(number, chosen, labelled)
        for sample, _ in labelled:
            self.learnt.setdefault(self.store.key(sample.atoms), number)
        if student is not None and labelled and "before" not in self.folder.facts(name):
            samples = ((sample.atoms, label) for sample, label in labelled)
            self.folder.keep_facts(
                name, {"before": error_before(load(student, purpose="learning"), samples, **self.options)}
            )
        if labelled:
            student = self._train(number, student)
        return {"round": number} | self.folder.facts(name), student

    def _choose(self, number: int, student: Path | None) -> tuple[list[Sample], Met]:
        if student is None:
            samples = self.sampler.first(self.config.number)
            return samples, Met(structures=len(samples))
        with self._phase(f"round {number}: molecular dynamics by the student", self.config.trajectories):
            return self.sampler.chosen(number, load(student, purpose="learning"), self.config.number)

    def _chosen(self, name: str, choose: Callable[[], tuple[list[Sample], Met]]) -> list[Sample]:
        chosen = self.folder.chosen(name)
        if chosen is None:
            begin = perf_counter()
            samples, met = choose()
            facts = {"chosen": len(samples), "met": asdict(met), "seconds_sampling": round(perf_counter() - begin, 2)}
            self.folder.keep_facts(name, facts)
            self.folder.keep_chosen(name, samples)
            chosen = self.folder.chosen(name)  # as a run that goes on reads them
            assert chosen is not None
        return chosen

    def _check_first(self, number: int, chosen: list[Sample], labelled: list[tuple[Sample, Label]]) -> None:
        if number > 1 or len(labelled) >= FEWEST:
            return
        failures = [found for sample in chosen if isinstance(found := self._found(sample), Failure)]
        why = f"; the first of {len(failures)} failures: {failures[0].message.rstrip('.')}" if failures else ""
        raise LearningError(
            f"the teacher labelled {len(labelled)} of {len(chosen)} structures of the first round, and at least "
            f"{FEWEST} are needed to train on{why}. {self._remedy(chosen, failures)}"
        )

    def _remedy(self, chosen: list[Sample], failures: list[Failure]) -> str:
        if failures:
            return f"{self.log} holds what it printed; when the teacher works, go on with --resume --retry."
        if len(chosen) < FEWEST:
            return "Give more structures, or allow --rattle or --strain, without which copies are the same."
        return (
            f"Forces of the others are above {self.config.largest_force:g} eV/A: give relaxed structures, or begin "
            "anew with --overwrite and a larger --largest-force; what is labelled is not labelled again."
        )

    # -- labels --------------------------------------------------------------------------------------------------

    def _found(self, sample: Sample) -> Label | Failure | None:
        return self.store.find(self.store.key(sample.atoms))

    def _labelled(self, name: str, samples: list[Sample], number: int) -> list[tuple[Sample, Label]]:
        """The samples with their labels; what has none yet is computed, what failed is left out."""
        wanted = [sample for sample in samples if self._is_wanted(self._found(sample))]
        if wanted:
            begin = perf_counter()
            self._compute(wanted, number, "comparison" if name == TEST else f"round {number}")
            self.folder.keep_facts(name, {"seconds_labelling": round(perf_counter() - begin, 2)})
        found = [(sample, self._found(sample)) for sample in samples]
        labelled = [(sample, label) for sample, label in found if isinstance(label, Label)]
        kept = [(sample, label) for sample, label in labelled if self._is_sensible(label)]
        failed = len(samples) - len(labelled)
        self.folder.keep_facts(
            name, {"labelled": len(labelled), "failed": failed, "large_forces": len(labelled) - len(kept)}
        )
        return kept

    def _compute(self, samples: list[Sample], number: int, where: str) -> None:
        config = self.config
        options: dict[str, Any] = {"timeout": config.timeout, "threads": config.threads, "log": self.log}
        workers = min(config.workers, len(samples))
        with (
            self._phase(f"{where}: labels by the teacher", len(samples)),
            TeacherPool(config.teacher, workers, **options) as pool,
        ):
            for place, outcome in pool.label(sample.atoms for sample in samples):
                sample = samples[place]
                self.store.add(sample.atoms, outcome, round=number, origin=sample.origin)
                if isinstance(outcome, Failure):
                    text = f"{sample.atoms.get_chemical_formula()} ({sample.origin}): {outcome.message}"
                    self.on_event(Event("warning", text=text))
                self._advance()

    def _is_wanted(self, found: Label | Failure | None) -> bool:
        return found is None or (self.config.retry and isinstance(found, Failure))

    def _is_sensible(self, label: Label) -> bool:
        return bool(np.linalg.norm(label.forces, axis=1).max(initial=0.0) <= self.config.largest_force)

    # -- training ------------------------------------------------------------------------------------------------

    def _rows(self, last: int) -> list[Row]:
        """What is trained on after a round, in an order that does not depend on which worker was first."""
        rows = [
            replace(row, round=number)  # an earlier run may have had the label in another one
            for row in self.store.rows
            if (number := self.learnt.get(row.key, last + 1)) <= last
        ]
        return sorted(rows, key=lambda row: (row.round, row.key))

    def _train(self, number: int, student: Path | None) -> Path:
        """The student of a round, on all labels so far but those that validate."""
        name = f"round-{number}"
        folder = self.folder.stage(name)
        if self._is_trained(name):
            return folder / _STUDENT
        rows = self._rows(number)
        valid = rows[VALID_ONE_IN - 1 :: VALID_ONE_IN]
        held_back = {row.key for row in valid}
        trained = [row for row in rows if row.key not in held_back]
        write_labelled(folder / "train.extxyz", trained)
        write_labelled(folder / "valid.extxyz", valid)
        start = _first_start(self.config) if student is None else {"init": student}
        valid_file = folder / "valid.extxyz" if valid else None
        facts = self._trained(folder, start, valid_file=valid_file, valid_fraction=0.0)
        self.folder.keep_facts(name, {"trained_on": len(trained), "validated_on": len(valid)} | facts)
        return folder / _STUDENT

    def _last_training(self, student: Path, rounds: int) -> Path:
        """The student after a training on all labels, those that validated before included."""
        if self.folder.facts(FINAL).get("rounds", rounds) != rounds:  # there were fewer when the run ended before
            self.folder.forget(FINAL)
        folder = self.folder.stage(FINAL)
        if not self._is_trained(FINAL):
            rows = self._rows(rounds)
            write_labelled(folder / "train.extxyz", rows)
            metadata = {"learnt_from": _without_folders(self.config.teacher.identity()), "labels": len(rows)}
            facts = self._trained(folder, {"init": student}, valid_fraction=1 / VALID_ONE_IN, metadata=metadata)
            self.folder.keep_facts(FINAL, {"rounds": rounds, "trained_on": len(rows)} | facts)
        return folder / _STUDENT

    def _is_trained(self, name: str) -> bool:
        """Whether a training is over: its model is there before its report, and both before what is known of it."""
        return "trained_on" in self.folder.facts(name) and (self.folder.path / name / _STUDENT).exists()

    def _trained(self, folder: Path, start: dict[str, Any], **options: Any) -> dict[str, Any]:
        config = self.config
        last = folder.name == FINAL
        what = "last training" if last else folder.name.replace("-", " ") + ": training"
        most = config.max_iterations or (None if last else ROUND_ITERATIONS)
        training = _training(config, folder, max_iterations=most, **start, **options)
        with self._phase(what, most or 0):

            def on_event(event: TrainingEvent) -> None:
                if event.kind in ("iteration", "sweep"):
                    self._advance()

            report = train(training, on_event)
        return {
            "iterations": report.iterations,
            "seconds_training": round(report.seconds, 2),
            "train": report.train,
            "valid": report.valid,
        }

    # -- the end -------------------------------------------------------------------------------------------------

    def _compare(self, student: ETNPotential, rounds: list[dict[str, Any]]) -> LearningReport:
        config = self.config
        report = LearningReport(config.told(), rounds, self.folder.facts(FINAL))
        if not config.test_number:
            return report

        def choose() -> tuple[list[Sample], Met]:
            with self._phase("comparison: molecular dynamics by the student", 0):
                return self.sampler.test(student, self.held_out, config.test_number)

        samples = self._chosen(TEST, choose)
        fresh = [sample for sample in samples if self.store.key(sample.atoms) not in self.learnt]
        labelled = self._labelled(TEST, fresh, 0)
        compared = [Compared(sample.origin, sample.atoms, label) for sample, label in labelled]
        report.test = self.folder.facts(TEST)
        report.errors = errors_by_origin(student, compared, **self.options)
        with self._phase("comparison: speed", 0):
            found = speeds(
                student, config.teacher, compared, threads=config.threads, backend=config.backend,
                timeout=config.timeout, log=self.log,
            )  # fmt: skip
        report.speed = {} if found is None else found.to_dict()
        return report

    @contextmanager
    def _phase(self, text: str, total: int) -> Iterator[None]:
        self.steps = 0
        self.on_event(Event("phase", text=text, total=total))
        try:
            yield
        finally:
            self.on_event(Event("phase"))

    def _advance(self) -> None:
        self.steps += 1
        self.on_event(Event("progress", done=self.steps))


def _training(config: LearningConfig, folder: Path, **options: Any) -> TrainingConfig:
    """What a training in a folder is told."""
    return TrainingConfig(
        train_file=folder / "train.extxyz",
        output=folder / _STUDENT,
        weights=config.weights,
        seed=config.seed,
        backend=config.backend,
        threads=config.threads,
        overwrite=True,
        **options,
    )


def _first_start(config: LearningConfig) -> dict[str, Any]:
    """Where the first training starts; the others start from its student."""
    return {"init": config.init, "preset": config.preset, "cutoff": config.cutoff}


def _why_nothing(met: dict[str, int]) -> str:
    """Why a round had nothing to choose."""
    beyond, unusable, structures = (met.get(name, 0) for name in ("beyond", "unusable", "structures"))
    if not beyond and not unusable:
        return "the student knows all that it meets"
    known = structures - beyond - unusable
    reasons = [f"the student knows {known}"] if known else []
    reasons += [f"{beyond} make no sense (atoms too close, enormous grades)"] if beyond else []
    reasons += [f"it cannot evaluate {unusable} (elements without any label?)"] if unusable else []
    return f"nothing to label among the {structures} structures met: {', '.join(reasons)}"


def _without_folders(value: Any) -> Any:
    """The same with names of files alone: a model travels, the folders of a machine mean nothing elsewhere."""
    if isinstance(value, dict):
        return {name: _without_folders(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and "/" in value else value
