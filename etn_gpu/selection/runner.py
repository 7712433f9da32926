"""The pass over a pool: sources -> batches -> surroundings -> what is kept -> the choice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING

from etn_gpu.backend import resolve
from etn_gpu.errors import DataError, NetworkError
from etn_gpu.potential.grade import LACKS_GRADE, check_threshold
from etn_gpu.screening.batching import BatchLimits, Candidate, batches
from etn_gpu.screening.input_labels import InputLabels
from etn_gpu.screening.sources import MemorySource, Source, as_sources
from etn_gpu.selection.admission import Admission, Failure, Skip
from etn_gpu.selection.greedy import Member, Reservoir

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential

__all__ = ["Choice", "Selection", "SelectionReport", "select"]

#: Structures with a larger grade are skipped unless told otherwise: exploded ones, wrong units, overlapping atoms.
LARGEST_GRADE = 100.0
#: Bytes that the surroundings of candidates may take: some 4000 structures of 100 atoms with the preset standard.
MEMORY = 2**29
_FAILURES_KEPT = 10


@dataclass(frozen=True, eq=False)
class Choice:
    """A chosen structure.

    Attributes:
        rank: 1 for the first choice.
        source: file (or other source) it came from.
        index: its place in that source, from 0.
        atoms: the structure as it was read.
        gain: what its labels add to log det of the information, those of the choices before it included.
        grade: the largest extrapolation grade of its atoms.
    """

    rank: int
    source: str
    index: int
    atoms: Atoms = field(repr=False)
    gain: float
    grade: float


@dataclass
class SelectionReport:
    """What a selection amounts to; of bounded size.

    Attributes:
        number: how many were asked for.
        choices: the chosen structures in the order of the choice, after the run.
        n_structures: structures seen, those that failed included.
        n_atoms: atoms of those that could be evaluated.
        skipped: why others were not candidates, and how many.
        n_failed: structures that could not be read or evaluated.
        failures: the first of them.
        copies: candidates that were left out as copies of chosen ones.
        labels: what labels the pool carried.
        untried: as in :class:`~etn_gpu.screening.ScreeningReport`.
        seconds: wall time of the run.
    """

    number: int
    choices: list[Choice] = field(default_factory=list)
    n_structures: int = 0
    n_atoms: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)
    n_failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    copies: int = 0
    labels: InputLabels = field(default_factory=InputLabels, repr=False)
    untried: dict[str, int | None] = field(default_factory=dict)
    seconds: float = 0.0

    def reasons(self) -> list[str]:
        """Why structures were not chosen from, each with their number; empty where all were."""
        lines = [f"{count} with {reason}" for reason, count in self.skipped.most_common()]
        lines += [f"{self.copies} like others that were chosen"] if self.copies else []
        return lines + ([f"{self.n_failed} that failed"] if self.n_failed else [])


class Selection:
    """The choice of the structures of some sources that a potential would learn most from; iterate to make it happen.

    Each step looks at one batch and yields how many structures it had, and its source. After the last, ``report`` has
    the choice. The pool is passed over once, and memory is bounded whatever its size: see
    :mod:`etn_gpu.selection.greedy`. How it is chosen: :mod:`etn_gpu.selection.information`. Apart from ties the choice
    does not depend on the order of a pool that fits into memory.

    Args:
        model: a potential that gives extrapolation grades.
        sources: paths of files in any format that ASE reads, or :class:`~etn_gpu.screening.Source` objects.
        number: how many structures to choose.
        threshold: only structures with an extrapolation grade above it are chosen; 1 or more, for up to 1 are those of
            the training data.
        largest_grade: structures with a larger grade are not chosen either, for they make no sense.
        memory: bytes for the surroundings of candidates.
        limits: how large a batch may be.
        backend: backend of the evaluation, which is in float64.
        threads: threads of the evaluation; by default the backend's.

    Raises:
        DataError: ``number`` below 1, no sources, and in the run a pool that is empty or of which nothing can be
            evaluated.
        NetworkError: a potential without grades, a threshold below 1, ``largest_grade`` not above it.
        BackendError: a backend that cannot be used here.
    """

    def __init__(
        self,
        model: ETNPotential,
        sources: Sequence[Source | str | os.PathLike[str]],
        number: int = 50,
        *,
        threshold: float = 1.0,
        largest_grade: float = LARGEST_GRADE,
        memory: int = MEMORY,
        limits: BatchLimits | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        if model.grade is None:
            raise NetworkError(f"this potential {LACKS_GRADE}")
        if number < 1:
            raise DataError(f"the number of structures to choose must be 1 or more, got {number}")
        if not largest_grade > check_threshold(threshold):
            raise NetworkError(
                f"the largest grade must be above the threshold, got {largest_grade:g} and {threshold:g}: nothing "
                "would be left to choose"
            )
        self.sources = as_sources([*sources])
        self.limits = limits or BatchLimits()
        self.report = SelectionReport(number)
        self._cutoff = model.cutoff
        options = {"backend": resolve(backend), "threads": threads}
        self._admission = Admission(model, model.grade, threshold, largest_grade, options)
        self._reservoir = Reservoir(model.grade, number, memory)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        start, report = perf_counter(), self.report
        candidates = chain.from_iterable(source.candidates() for source in self.sources)
        for batch in batches(candidates, self._cutoff, self.limits):
            self._see(batch)
            yield len(batch), batch[-1].source
        self._check_anything_left()
        chosen = self._reservoir.choice()
        report.copies = self._reservoir.copies
        report.choices = [
            Choice(rank, member.source, member.index, member.atoms, gain, member.grade)
            for rank, (member, gain) in enumerate(chosen, start=1)
        ]
        report.seconds = perf_counter() - start

    def run(self) -> SelectionReport:
        """Passes over the whole pool and returns the report."""
        for _ in self:
            pass
        return self.report

    def _see(self, batch: list[Candidate]) -> None:
        report = self.report
        outcomes = self._admission(batch, report.n_structures)
        report.n_structures += len(batch)
        report.untried |= {c.source: c.untried for c in batch if c.untried != 0}
        report.labels.see(candidate.atoms for candidate in batch)
        for candidate, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Failure):
                report.n_failed += 1
                report.failures += [outcome][: _FAILURES_KEPT - len(report.failures)]
                continue
            report.n_atoms += len(candidate.atoms) if candidate.atoms is not None else 0
            if isinstance(outcome, Member):
                self._reservoir.offer(outcome)
            else:
                report.skipped[outcome] += 1

    def _check_anything_left(self) -> None:
        report = self.report
        if not report.n_structures:
            raise DataError("the pool is empty: give files that hold structures")
        if report.n_failed == report.n_structures:
            first = report.failures[0]
            raise DataError(
                f"none of the {report.n_structures} structures of the pool can be used; the first of them: "
                f"{first.message}",
                first.source if first.index is None else f"{first.source} [{first.index}]",
            )


def select(
    model: ETNPotential,
    structures: Iterable[Atoms],
    number: int = 50,
    *,
    threshold: float = 1.0,
    largest_grade: float = LARGEST_GRADE,
    memory: int = MEMORY,
    backend: str | None = None,
    threads: int | None = None,
) -> list[Choice]:
    """The ``number`` structures whose labels would tell ``model`` most, in the order of the choice.

    Fewer where the others are copies of chosen ones, tell nothing, or fail; ``index`` of a choice is its place among
    ``structures``, which may be a generator of any length. Arguments and errors are those of :class:`Selection`.

    >>> [choice.index for choice in etn_gpu.select(model, pool, number=20)]
    """
    source = MemorySource("structures", structures)
    selection = Selection(
        model, [source], number, threshold=threshold, largest_grade=largest_grade, memory=memory,
        backend=backend, threads=threads,
    )  # fmt: skip
    return selection.run().choices
