"""Student against teacher: errors on structures that neither chose, and how long both take for the same structures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import StructureError
from etn_gpu.learning.labels import Label
from etn_gpu.learning.pool import TeacherPool
from etn_gpu.learning.teacher import Teacher
from etn_gpu.potential.grade import THRESHOLD
from etn_gpu.potential.metrics import Metrics

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential

#: Structures that are timed, and seconds above which one of them is not computed once more for that.
TIMED, LONG = 10, 5.0
#: The student is timed until this many seconds are over.
SECONDS = 0.3


@dataclass(frozen=True, eq=False)
class Compared:
    """A structure that the teacher labelled and that was not trained on, with where it comes from."""

    origin: str
    atoms: Atoms
    label: Label


@dataclass(frozen=True)
class Speeds:
    """Seconds for energy, forces and stress of one atom, all structures one after the other, and in one batch.

    ``teacher_busy`` tells that the teacher's are those of the labelling, when other processes may have been at work.
    """

    teacher: float
    student: float
    student_batch: float
    structures: int
    atoms: int
    threads: int | None
    teacher_busy: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, in microseconds per atom."""
        return {
            "teacher_us_per_atom": 1e6 * self.teacher,
            "student_us_per_atom": 1e6 * self.student,
            "student_batch_us_per_atom": 1e6 * self.student_batch,
            "speedup": self.teacher / self.student,
            "speedup_batch": self.teacher / self.student_batch,
            "structures": self.structures,
            "atoms": self.atoms,
            "threads": self.threads,
            "teacher_busy": self.teacher_busy,
        }


def errors_by_origin(student: ETNPotential, compared: Sequence[Compared], **options: Any) -> dict[str, dict[str, Any]]:
    """Errors of the student, for each origin, for grades up to and above the usual threshold, and for all.

    Each entry has the numbers of :meth:`etn_gpu.potential.metrics.Metrics.as_dict`, and for scale `forces_rms`, the
    root mean square of the teacher's force components in eV/A.
    """
    sums: dict[str, Metrics] = {}
    forces: dict[str, list[Any]] = {}
    above = f"grade above {THRESHOLD:g}"
    outcomes = student.evaluate_each([sample.atoms for sample in compared], **options)
    for sample, outcome in zip(compared, outcomes, strict=True):
        if isinstance(outcome, StructureError):  # an error that cannot be computed must never look like a small one
            predicted: Any = {
                "energy": np.nan,
                "forces": np.full_like(sample.label.forces, np.nan),
                "stress": np.full(6, np.nan),
            }
            grade = np.inf
        else:
            predicted, grade = outcome, float(outcome["extrapolation_grade"])
        known = f"grade up to {THRESHOLD:g}" if grade <= THRESHOLD else above
        for name in (sample.origin, known, "all"):
            label = sample.label
            sums.setdefault(name, Metrics()).add(
                predicted, n_atoms=len(sample.atoms), energy=label.energy, forces=label.forces, stress=label.stress
            )
            forces.setdefault(name, []).append(label.forces.ravel())
    return {
        name: sums[name].as_dict() | {"forces_rms": float(np.sqrt(np.mean(np.concatenate(forces[name]) ** 2)))}
        for name in sorted(sums, key=lambda name: (name == "all", name.startswith("grade"), name == above))
    }


def speeds(
    student: ETNPotential,
    teacher: Teacher,
    compared: Sequence[Compared],
    *,
    threads: int | None,
    backend: str | None,
    timeout: float | None,
    log: Path,
) -> Speeds | None:
    """Both on the same structures, each on its own with nothing else at work; None where the teacher failed.

    A teacher whose calculations take long is not asked again; its times are then those of the labelling.
    """
    some = list(compared[:: max(1, len(compared) // TIMED)][:TIMED])
    if not some:
        return None
    structures = [sample.atoms for sample in some]
    atoms = sum(map(len, structures))
    taken = [sample.label.seconds for sample in some]
    busy = float(np.median(taken)) > LONG
    if not busy:
        with TeacherPool(teacher, 1, timeout=timeout, threads=threads, log=log) as pool:
            # the first calculation is that of a teacher that has only just been loaded
            outcomes = [outcome for k, outcome in pool.label([structures[0], *structures]) if k]
        taken = [outcome.seconds for outcome in outcomes if isinstance(outcome, Label)]
        if len(taken) < len(structures):
            return None
    calculator = ETNCalculator(student, threads=threads, backend=backend, grade=0)

    def one_by_one() -> None:
        for given in structures:
            fresh = given.copy()
            fresh.calc = calculator
            fresh.get_forces()
            if fresh.pbc.all():
                fresh.get_stress()

    def together() -> None:
        student.evaluate(structures, grade=False, threads=threads, backend=backend)

    return Speeds(
        sum(taken) / atoms,
        _seconds(one_by_one) / atoms,
        _seconds(together) / atoms,
        len(structures),
        atoms,
        threads,
        busy,
    )


def error_before(student: ETNPotential, labelled: Iterable[tuple[Atoms, Label]], **options: Any) -> dict[str, Any]:
    """Errors of a student on what it is about to be trained on."""
    samples = [Compared("new", atoms, label) for atoms, label in labelled]
    return errors_by_origin(student, samples, **options)["new"] if samples else {}


def _seconds(work: Any) -> float:
    """Of one of many repetitions, the first left out."""
    work()
    begin, count = perf_counter(), 0
    while (elapsed := perf_counter() - begin) < SECONDS or not count:
        work()
        count += 1
    return elapsed / count
