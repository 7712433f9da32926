"""Structures that are evaluated as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from etn_gpu.screening.batching import BatchLimits, Candidate, batches
from etn_gpu.screening.columns import Field, ResultColumn
from etn_gpu.screening.evaluation import Outcome, evaluate_each

if TYPE_CHECKING:
    from etn_gpu.potential import Potential

__all__ = ["Settled", "SinglePoints"]

#: A structure at its end, what the model says of it there, and fields of further columns.
Settled = tuple[Candidate, Outcome, dict[str, Field]]


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

    def units(self, candidates: Iterable[Candidate], limits: BatchLimits) -> Iterator[list[Candidate]]:
        """What other processes are given at once: the structures of a batch."""
        return batches(candidates, self._model.cutoff, limits)

    def batches(self, candidates: Iterable[Candidate], limits: BatchLimits) -> Iterator[list[Settled]]:
        """Groups of consecutive structures, in order; what could not be read goes along."""
        for batch in batches(candidates, self._model.cutoff, limits):
            readable = [candidate.atoms for candidate in batch if candidate.atoms is not None]
            outcomes = iter(
                evaluate_each(self._model, readable, threshold=self._threshold, **self._options) if readable else ()
            )
            yield [(c, Outcome(failed=True, message=c.error) if c.atoms is None else next(outcomes), {}) for c in batch]
