"""What is done with structures, batch by batch, here or in another process: to their rows and frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etn_gpu.screening.batching import BatchLimits, Candidate
from etn_gpu.screening.columns import Field
from etn_gpu.screening.evaluation import Outcome
from etn_gpu.screening.frames import FrameWriter
from etn_gpu.screening.input_labels import InputLabels
from etn_gpu.screening.kept import Kept
from etn_gpu.screening.packed import packed
from etn_gpu.screening.ranking import DUPLICATE_OF
from etn_gpu.screening.row_maker import RowMaker
from etn_gpu.screening.rows import Row, csv_lines
from etn_gpu.screening.single_points import Settled
from etn_gpu.screening.spacegroups import COLUMN as SPACEGROUP
from etn_gpu.screening.spacegroups import spacegroup

if TYPE_CHECKING:
    from etn_gpu.screening.relaxing import Relaxer
    from etn_gpu.screening.single_points import SinglePoints

__all__ = ["Done", "Work"]


@dataclass(frozen=True)
class Done:
    """What came of consecutive structures.

    Attributes:
        rows: one for each.
        lines: the rows as text.
        frames: their frames, empty for those that failed; None where no frames are wanted.
        untried: for sources that could not be read to their end, how many structures were never tried.
        notes: what frames lack or have under another name, and in how many.
        kept: what is known of kept entries (:meth:`~etn_gpu.screening.kept.Kept.to_state`).
        labels: keys of labels that the structures carried, where frames are wanted.
    """

    rows: list[Row]
    lines: list[str]
    frames: list[str] | None
    untried: Mapping[str, int | None]
    notes: Counter[str]
    kept: Mapping[str, Any]
    labels: list[str]


class Work:
    """Evaluates or relaxes structures, and makes rows and frames of them. It can be sent to another process.

    Args:
        means: how structures are evaluated.
        references: energies of the elements in eV per atom, for formation energies; under pressure, enthalpies.
        kept: makes the columns of kept entries, with nothing seen so far.
        frames: whether frames are wanted.
        symmetry: the tolerance of space groups in A, None where they are not wanted.
        unique: whether duplicates will be looked for.
    """

    def __init__(
        self,
        means: SinglePoints | Relaxer,
        references: Mapping[str, float],
        kept: Kept,
        *,
        frames: bool,
        symmetry: float | None = None,
        unique: bool = False,
    ) -> None:
        self.means, self._symmetry, self._unique = means, symmetry, unique
        self._make_rows, self._kept = RowMaker(references, means.stress), kept
        self._frames, self._labels = frames, InputLabels()

    def batches(self, candidates: Iterable[Candidate], limits: BatchLimits) -> Iterator[Done]:
        """What comes of structures, in order and group by group (:func:`~etn_gpu.screening.batching.groups`)."""
        for batch in self.means.batches(self._as_given(candidates), limits):
            yield self._done(batch)

    def refused(self, candidate: Candidate, message: str) -> Done:
        """What comes of a structure that cannot be worked on."""
        fields: dict[str, Field] = dict.fromkeys(column.name for column in self.means.columns)
        return self._done([Settled(candidate, Outcome(failed=True, message=message), fields)])

    def joined(self, parts: Sequence[Done]) -> Done:
        """What came of the structures of one group, in parts."""
        kept, notes, untried = self._kept.fresh(), Counter[str](), dict[str, int | None]()
        for part in parts:
            kept.add(part.kept)
            notes.update(part.notes)
            untried |= part.untried
        frames = [frame for part in parts for frame in part.frames or ()] if self._frames else None
        labels = sorted({key for part in parts for key in part.labels})
        rows, lines = [row for part in parts for row in part.rows], [line for part in parts for line in part.lines]
        return Done(rows, lines, frames, untried, notes, kept.to_state(), labels)

    def _as_given(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        """The structures; notes their labels, which are those of the results once they have been relaxed."""
        for candidate in candidates:
            if self._frames:
                self._labels.see([candidate.atoms])
            yield candidate

    def _done(self, batch: list[Settled]) -> Done:
        candidates = [candidate for candidate, _, _ in batch]
        outcomes = [outcome for _, outcome, _ in batch]
        more = [fields for _, _, fields in batch]
        if self._symmetry is not None:
            more = [
                fields | {SPACEGROUP.name: None if atoms is None else spacegroup(atoms, self._symmetry)}
                for fields, atoms in zip(more, (candidate.atoms for candidate in candidates), strict=True)
            ]
        if self._unique:
            more = [fields | {DUPLICATE_OF: None} for fields in more]
        kept = self._kept.fresh()
        if kept.names:
            more = [fields | own for fields, own in zip(more, kept.of(candidates), strict=True)]
        rows = self._make_rows(candidates, outcomes, more)
        if self._unique:
            for row, candidate in zip(rows, candidates, strict=True):
                if row.energy is not None and candidate.atoms is not None:
                    row.structure = packed(candidate.atoms)
        frames, writer = None, FrameWriter()
        if self._frames:
            frames = writer.texts(rows, [candidate.atoms for candidate in candidates], outcomes)
        untried = {c.source: c.untried for c in candidates if c.untried != 0}
        lines = csv_lines(rows)
        if self._unique:
            lines = [f"{line[:-1]},{row.structure}\n" for line, row in zip(lines, rows, strict=True)]
        return Done(rows, lines, frames, untried, writer.notes, kept.to_state(), self._labels.to_state())
