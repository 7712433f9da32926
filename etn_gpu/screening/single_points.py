"""Structures that are evaluated as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from etn_gpu.screening.batching import BatchLimits, Candidate, groups, parts
from etn_gpu.screening.columns import Field, ResultColumn
from etn_gpu.screening.evaluation import Outcome, evaluate_each

if TYPE_CHECKING:
    from etn_gpu.potential import Potential

__all__ = ["Settled", "SinglePoints"]


class Settled(NamedTuple):
    """A structure at its end, what the model says of it there, and fields of further columns."""

    candidate: Candidate
    outcome: Outcome
    fields: dict[str, Field]

    @property
    def size(self) -> int:
        """That of the structure."""
        return self.candidate.size


class SinglePoints:
    """Evaluates a stream of structures.

    Args:
        model: the potential.
        threshold: the extrapolation grade above which a structure counts as extrapolating.
        options: passed on to `model.evaluate_each` (`backend`, `dtype`, `threads`).
    """

    #: Further columns.
    columns: tuple[ResultColumn, ...] = ()
    #: The external pressure.
    pressure = stress = 0.0

    def __init__(self, model: Potential, threshold: float, **options: Any) -> None:
        self._model, self._threshold, self._options = model, threshold, options

    def identity(self) -> None:
        """Nothing beside the model decides about the results."""

    def batches(self, candidates: Iterable[Candidate], limits: BatchLimits) -> Iterator[list[Settled]]:
        """Groups of consecutive structures, in order; what could not be read goes along.

        Where groups begin follows from numbers of atoms alone; edges limit what is evaluated at once.
        """
        for group in groups(candidates, limits.atoms):
            yield [settled for part in parts(group, self._model.cutoff, limits.edges) for settled in self._of(part)]

    def _of(self, batch: Sequence[Candidate]) -> Iterator[Settled]:
        readable = [candidate.atoms for candidate in batch if candidate.atoms is not None]
        outcomes = iter(
            evaluate_each(self._model, readable, threshold=self._threshold, **self._options) if readable else ()
        )
        for c in batch:
            yield Settled(c, Outcome(failed=True, message=c.error) if c.atoms is None else next(outcomes), {})
