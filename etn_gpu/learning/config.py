"""What a run of learning is told, and the events that it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from etn_gpu.errors import LearningError
from etn_gpu.learning.checks import check_number, check_positive, check_whole
from etn_gpu.learning.dynamics import DynamicsSettings
from etn_gpu.learning.exchange import check_groups
from etn_gpu.learning.perturbations import RATTLE, STRAIN
from etn_gpu.learning.teacher import Teacher
from etn_gpu.potential import Preset

#: What a run that goes on may be told otherwise than before: how it is computed, not what.
_FREE = ("output", "folder", "workers", "timeout", "retry", "threads", "backend", "resume", "overwrite")
_MAY_CHANGE = ("rounds", "structures", "format", "species")
_LEAST: dict[str, int] = {
    "rounds": 1,
    "number": 4,
    "test_number": 0,
    "least_atoms": 1,
    "trajectories": 1,
    "every": 1,
    "workers": 1,
    "seed": 0,
}
_POSITIVE = ("timeout", "largest_force", "cutoff")


@dataclass(frozen=True)
class LearningConfig:
    """Options of :func:`etn_gpu.learning.learn`.

    Attributes:
        teacher: the slow potential.
        structures: files of structures to begin with; labels in them are not looked at.
        output: the model file to write; the report goes beside it with the suffix .json.
        rounds: how often structures are sampled, labelled and trained on.
        number: structures labelled in a round, 4 or more.
        test_number: structures labelled at the end for the comparison, 0 for none.
        least_atoms: periodic cells with fewer atoms are repeated.
        rattle: largest standard deviation of displacements of perturbed copies, over the distance of nearest
            neighbours.
        strain: largest relative change of lengths in perturbed copies, for volume and shape each.
        exchange: groups of elements that may stand for each other, [("Nb", "Mo", "Ta", "W")] for instance, all of them
            in the given structures; without any, made structures have the elements of given ones where they were.
        keep_compositions: whether these elements only change places, so that compositions are the given ones.
        temperature: highest temperature of molecular dynamics in K.
        trajectories: trajectories of the student's molecular dynamics in a round.
        steps: most steps of each.
        timestep: in fs, None for one by the lightest atom.
        every: steps between two structures that are looked at.
        threshold: structures with an extrapolation grade up to this need no label; 1 or more.
        stop_grade: the grade that ends a trajectory, above ``threshold``.
        largest_force: labelled structures with a larger force, in eV/A, are not trained on.
        init: the model to start from, a shipped one's name or a file; None for a new one of size ``preset``.
        preset: as for training, and so are ``cutoff`` (A) and ``weights``.
        max_iterations: most iterations of each training; None for up to 15 in a round, which need not converge, and no
            limit for the last training.
        workers: processes that label at the same time.
        timeout: most seconds of one calculation, None for no limit.
        retry: whether what failed before is labelled again by a run that goes on.
        threads: threads of each worker; by default the cores are shared among them.
        backend: backend of the student.
        seed: seed of all that is random.
        resume: go on with an earlier run in ``folder``, with the same options.
        overwrite: begin anew in the place of an earlier run, whose labels by the same teacher are used where they fit.

    Raises:
        LearningError: an option that cannot be meant.
    """

    teacher: Teacher
    structures: tuple[Path, ...]
    output: Path
    rounds: int = 5
    number: int = 50
    test_number: int = 50
    least_atoms: int = 16
    rattle: float = RATTLE
    strain: float = STRAIN
    exchange: tuple[tuple[str, ...], ...] = ()
    keep_compositions: bool = False
    temperature: float = 1000.0
    trajectories: int = 24
    steps: int = 500
    timestep: float | None = None
    every: int = 10
    threshold: float = 1.0
    stop_grade: float = 5.0
    largest_force: float = 50.0
    init: str | None = None
    preset: str | Preset | None = None
    cutoff: float | None = None
    weights: dict[str, float] | None = None
    max_iterations: int | None = None
    workers: int = 1
    timeout: float | None = None
    retry: bool = False
    threads: int | None = None
    backend: str | None = None
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    format: str | None = None
    species: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given: Any = self.structures
        files = (given,) if isinstance(given, str | PathLike) else given
        object.__setattr__(self, "structures", tuple(map(Path, files)))
        object.__setattr__(self, "output", Path(self.output))
        if not self.structures:
            raise LearningError("there are no structures to begin with: give one file or more")
        for name, least in _LEAST.items():
            check_whole(name, getattr(self, name), least)
        if self.threads is not None:
            check_whole("threads", self.threads, 1)
        for name in _POSITIVE:
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        for name in ("rattle", "strain"):
            check_number(name, getattr(self, name), "a number from 0 to below 0.5", lambda value: 0 <= value < 0.5)
        self.dynamics()
        check_number("threshold", self.threshold)
        if not self.threshold >= 1.0:
            raise LearningError(
                f"the threshold must be 1 or more, got {self.threshold:g}: grades up to 1 are those of structures that "
                "the student was trained on"
            )
        if not self.stop_grade > self.threshold:
            raise LearningError(
                f"the grade that ends a trajectory must be above the threshold, got {self.stop_grade:g} and "
                f"{self.threshold:g}: nothing would be left to label"
            )
        check_groups(self.exchange)
        object.__setattr__(self, "exchange", tuple(map(tuple, self.exchange)))
        if self.keep_compositions and not self.exchange:
            raise LearningError("compositions are kept anyway where no elements are exchanged: name those that may be")
        if self.resume and self.overwrite:
            raise LearningError("going on with a run and beginning anew exclude each other: choose one of them")
        if self.retry and not self.resume:
            raise LearningError("only a run that goes on can try again what failed: resume it")

    def dynamics(self) -> DynamicsSettings:
        """How trajectories of the student are made."""
        every = min(self.every, self.steps)
        return DynamicsSettings(self.temperature, self.steps, self.timestep, every, self.stop_grade)

    @property
    def folder(self) -> Path:
        """Where everything that a run needs to go on is kept: labels, choices, students."""
        return self.output.with_suffix(".learn")

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.output.with_suffix(".json")

    def told(self) -> dict[str, Any]:
        """What the report tells of the options: all but how it is computed, as JSON gives them back."""
        options = asdict(self) | {"teacher": self.teacher.identity()}
        text = json.dumps({name: value for name, value in options.items() if name not in _FREE}, default=str)
        found: dict[str, Any] = json.loads(text)
        return found

    def identity(self) -> dict[str, Any]:
        """The options that a run shares with the one that goes on with it: all that are told but the rounds, of which
        more may follow, and the files of structures, whose content counts, wherever they are."""
        return {name: value for name, value in self.told().items() if name not in _MAY_CHANGE}


@dataclass(frozen=True)
class Event:
    """Something to show.

    Attributes:
        kind: 'message', 'warning', 'phase' (``text`` names what begins, ``total`` its parts), 'progress' (``done`` of
            ``total``), 'round' (``facts`` of a round that is over) or 'done' (``facts`` is the report).
    """

    kind: str
    text: str = ""
    done: int = 0
    total: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


OnEvent = Callable[[Event], None]
