"""Structures that were read become members of the choice, or a reason why a calculation would be wasted on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import EtnGpuError
from etn_gpu.potential.base import BATCH_EDGES
from etn_gpu.potential.grade_program import site_grades
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.evaluation import too_dense
from etn_gpu.selection.greedy import LEAST_GAIN, Member
from etn_gpu.selection.information import Array, Information
from etn_gpu.structures import StructureBatch
from etn_gpu.structures.bounded import bounded_batches

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.potential import ETNPotential
    from etn_gpu.potential.grade import ExtrapolationGrade

#: Atoms closer than this share of what is closest in the training data are no structure that a calculation is worth.
CLOSEST = 0.5
#: The most unusual training atom has a grade of 1, up to this factor.
ROUNDING = 1.0 + 1e-6


class Skip(StrEnum):
    """Why a structure that could be read and evaluated is none to choose from."""

    CLOSE = "atoms closer than half of the closest pair in the training data"
    ABSURD = "a grade above the largest that is taken for a sensible structure"
    INSIDE = "a grade that is not above the threshold"
    KNOWN = "nothing that the training data do not tell"


@dataclass(frozen=True)
class Failure:
    """A structure that cannot be read or evaluated, and why; ``index`` is None for a whole file."""

    source: str
    index: int | None
    message: str


class Admission:
    """Makes members of a potential's choice.

    Args:
        model: a potential with what grades need.
        threshold: structures with a grade up to this are skipped; up to 1 are those of the training data.
        largest_grade: structures with a larger grade are skipped. Atoms of elements that the training data do not have
            do not count here: their grades say nothing but that.
        options: `backend` and `threads` of the evaluation, in float64 on all of them.
    """

    def __init__(
        self,
        model: ETNPotential,
        grade: ExtrapolationGrade,
        threshold: float,
        largest_grade: float,
        options: Any,
    ) -> None:
        self._model, self._grade = model, grade
        self._threshold, self._largest = threshold, largest_grade
        self._kernel = Kernel(model.architecture, Execution(dtype="float64", **options), tables=model.term_tables)
        self._information = Information(grade)

    def __call__(self, candidates: Sequence[Candidate], place: int) -> list[Member | Skip | Failure]:
        """What becomes of each candidate; ``place`` is that of the first in the pool.

        The evaluation of one structure does not depend on the others; when that of all together fails, for want of
        memory for instance, each is tried alone.
        """
        try:
            return self._together(candidates, place)
        except Exception as error:  # whatever it is, it must not take the other structures with it
            if len(candidates) == 1:
                reason = str(error) if isinstance(error, EtnGpuError) else f"{type(error).__name__}: {error}"
                return [Failure(candidates[0].source, candidates[0].index, reason)]
        return [found for k, candidate in enumerate(candidates) for found in self([candidate], place + k)]

    def _together(self, candidates: Sequence[Candidate], place: int) -> list[Member | Skip | Failure]:
        found: dict[int, Member | Skip | Failure] = {}
        readable: list[Atoms] = []
        places: list[int] = []
        refusals = iter(too_dense([c.atoms for c in candidates if c.atoms is not None]))
        for k, candidate in enumerate(candidates):
            if candidate.atoms is None:
                found[k] = Failure(candidate.source, candidate.index, candidate.error)
            elif (refused := next(refusals)) is not None:
                found[k] = Failure(candidate.source, candidate.index, refused.message)
            else:
                readable.append(candidate.atoms)
                places.append(k)
        for batch in bounded_batches(readable, self._model.species, self._model.cutoff, BATCH_EDGES):
            size = batch.n_structures + len(batch.failures)
            part, places = places[:size], places[size:]
            for s, error in batch.failures.items():
                found[part[s]] = Failure(candidates[part[s]].source, candidates[part[s]].index, str(error))
            kept = [part[s] for s in batch.kept]
            found |= self._judged(batch, [(candidates[k], place + k) for k in kept], kept)
        return [found[k] for k in range(len(candidates))]

    def _judged(
        self, batch: StructureBatch, placed: list[tuple[Candidate, int]], keys: list[int]
    ) -> dict[int, Member | Skip | Failure]:
        """What becomes of the structures of a batch, by their ``keys``."""
        if not keys:
            return {}
        close = batch.closer_than(CLOSEST * self._model.minimum_distances)
        features, weights = self._kernel.features_and_weights(self._model.parameters, Environments.of(batch))
        found: dict[int, Member | Skip | Failure] = {}
        for s, (key, (candidate, place)) in enumerate(zip(keys, placed, strict=True)):
            a, b = batch.atom_offsets[s : s + 2]
            found[key] = (
                Skip.CLOSE
                if close[s]
                else self._member(
                    candidate, place, features[a:b], None if weights is None else weights[a:b], batch.species_index[a:b]
                )
            )
        return found

    def _member(
        self, candidate: Candidate, place: int, features: Array, weights: Array | None, species: NDArray[np.int32]
    ) -> Member | Skip | Failure:
        """The member of one structure, from the features [n_atoms, n], weights and species of its atoms."""
        assert candidate.atoms is not None
        assert candidate.index is not None
        surroundings = {int(z): features[species == z] @ self._grade.factors[z].T for z in np.unique(species)}
        squares = np.empty(len(species))
        for z, rows in surroundings.items():
            squares[species == z] = np.einsum("ij,ij->i", rows, rows)
        grades = site_grades(squares, weights)
        if not np.isfinite(grades).all():
            return Failure(candidate.source, candidate.index, "its features came out as not finite numbers")
        largest = float(grades.max())
        if grades[self._grade.atoms[species] > 0].max(initial=0.0) > self._largest:
            return Skip.ABSURD
        if largest <= self._threshold * ROUNDING:
            return Skip.INSIDE
        gain = self._information.gain(surroundings)
        if gain < LEAST_GAIN:
            return Skip.KNOWN
        return Member(place, candidate.source, candidate.index, candidate.atoms, surroundings, largest, gain)
