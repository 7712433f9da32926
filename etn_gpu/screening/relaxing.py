"""Structures that are relaxed on their way: they leave the relaxation as they converge, and this in their own order.

The columns of a relaxation are ``relaxation_steps`` and ``initial_energy_per_atom``, under pressure those of
:mod:`etn_gpu.screening.enthalpies` as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etn_gpu.relaxation import Relaxation, Relaxed
from etn_gpu.screening import enthalpies
from etn_gpu.screening.batching import BatchLimits, Candidate, groups
from etn_gpu.screening.columns import Field, Kind, ResultColumn
from etn_gpu.screening.evaluation import Outcome, outcome_of, too_dense
from etn_gpu.screening.single_points import Settled

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import Potential

__all__ = ["Relaxer"]


_COLUMNS = (
    ResultColumn("relaxation_steps", Kind.integer),
    ResultColumn("initial_energy_per_atom", Kind.number, "eV/atom"),
)


class Relaxer:
    """Relaxes a stream of structures.

    Args:
        model: the potential.
        threshold: the extrapolation grade above which a structure counts as extrapolating.
        options: those of :class:`~etn_gpu.relaxation.Relaxation`.

    Raises:
        RelaxationError: an option that means nothing.
    """

    def __init__(self, model: Potential, threshold: float, **options: Any) -> None:
        self._model, self._threshold = model, threshold
        self._relaxation = Relaxation(model, **options)
        #: Further columns.
        self.columns = (*_COLUMNS, *(enthalpies.COLUMNS if self.pressure else ()))

    @property
    def pressure(self) -> float:
        """The external pressure in GPa."""
        return self._relaxation.options.pressure

    @property
    def stress(self) -> float:
        """The external pressure in eV/A^3."""
        return self._relaxation.options.stress

    def _nothing(self) -> dict[str, Field]:
        """Empty fields of further columns."""
        return dict.fromkeys(column.name for column in self.columns)

    def identity(self) -> dict[str, Any]:
        """The options that results depend on, as JSON has them."""
        options = self._relaxation.options
        return {
            "fmax": options.fmax, "cell": options.cell, "pressure": options.pressure, "steps": options.steps,
            "optimizer": options.optimizer, "limits": repr(options.limits),
        }  # fmt: skip

    def batches(self, candidates: Iterable[Candidate], limits: BatchLimits) -> Iterator[list[Settled]]:
        """Groups of consecutive structures, in order, as large as ``limits`` let them be; what could not be read goes
        along.

        An exception of the iterable is raised after the groups of those before it.
        """
        failures: list[Exception] = []
        yield from groups(self._in_order(_until_failure(candidates, failures)), limits.atoms)
        if failures:
            raise failures[0]

    def _in_order(self, candidates: Iterator[Candidate]) -> Iterator[Settled]:
        waiting: deque[int] = deque()
        read: dict[int, Candidate] = {}
        done: dict[int, Settled] = {}

        def structures() -> Iterator[tuple[int, Atoms]]:
            for number, candidate in enumerate(candidates):
                waiting.append(number)
                refused = _refused(candidate)
                if refused is not None or candidate.atoms is None:
                    done[number] = Settled(candidate, refused or Outcome(failed=True), self._nothing())
                    continue
                read[number] = candidate
                yield number, candidate.atoms

        for number, relaxed in self._relaxation.run(structures()):
            done[number] = self._settled(read.pop(number), relaxed)
            while waiting and waiting[0] in done:
                yield done.pop(waiting.popleft())
        while waiting:
            yield done.pop(waiting.popleft())

    def _settled(self, candidate: Candidate, relaxed: Relaxed) -> Settled:
        fields = self._nothing()
        if relaxed.status == "failed":
            return Settled(candidate, Outcome(failed=True, message=relaxed.message), fields)
        steps, energy = relaxed.steps, relaxed.initial_energy
        per_atom = None if energy is None else energy / len(relaxed.atoms)
        fields |= zip(_NAMES, (steps, per_atom), strict=True)
        outcome = Outcome(failed=True)
        if relaxed.result is not None:
            relaxed.result.extrapolating = _extrapolating(relaxed, self._threshold)
            outcome = outcome_of(self._model, relaxed.atoms, relaxed.result, self._threshold)
        if relaxed.status != "converged":
            outcome = outcome._replace(ended=relaxed.status, message=relaxed.message)
        return Settled(replace(candidate, atoms=relaxed.atoms), outcome, fields)


_NAMES = tuple(column.name for column in _COLUMNS)


def _refused(candidate: Candidate) -> Outcome | None:
    """The outcome of what is not relaxed at all."""
    if candidate.atoms is None:
        return Outcome(failed=True, message=candidate.error)
    return too_dense([candidate.atoms])[0]


def _extrapolating(relaxed: Relaxed, threshold: float) -> bool:
    result = relaxed.result
    assert result is not None
    grade = result.get("extrapolation_grade")
    return bool(result.extrapolating) if grade is None else bool(grade > threshold)


def _until_failure(candidates: Iterable[Candidate], failures: list[Exception]) -> Iterator[Candidate]:
    """The structures before the iterable raises an exception, which is put aside."""
    try:
        yield from candidates
    except Exception as error:
        failures.append(error)
