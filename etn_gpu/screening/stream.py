"""The structures of all sources as one stream, which can be taken up again where it was left."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from etn_gpu.errors import DataError
from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.sources import FileSource, Source, UnreadCandidate

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Place", "Stream"]

One = TypeVar("One")


@dataclass(frozen=True)
class Place:
    """Where a stream was left: the number of a source, how many of its structures have been taken, and what those were
    if they did not come from a file."""

    source: int = 0
    taken: int = 0
    checksum: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"source": self.source, "taken": self.taken, "checksum": self.checksum}

    @staticmethod
    def of(state: Mapping[str, Any]) -> Place:
        """The place that :meth:`to_dict` gave."""
        return Place(state["source"], state["taken"], state["checksum"])


class Stream:
    """Iterates over the structures of some sources, once.

    Args:
        sources: where they come from.
        begin: where to begin.

    Raises:
        DataError: while iterating, when the structures before `begin` are others than they were.
    """

    def __init__(self, sources: Sequence[Source], begin: Place | None = None) -> None:
        self._sources = sources
        self._place = begin or Place()
        #: Places after structures that have been read and not yet been taken.
        self._ahead: deque[Place] = deque()

    def __iter__(self) -> Iterator[Candidate]:
        return self._structures(FileSource.candidates)

    def cut(self) -> Iterator[Candidate | UnreadCandidate]:
        """The same; structures of files that can be read elsewhere are only cut."""
        return self._structures(FileSource.cut)

    def _structures(self, of_file: Callable[[FileSource, int], Iterator[One]]) -> Iterator[One | Candidate]:
        begin = self._place
        for number in range(begin.source, len(self._sources)):
            source = self._sources[number]
            skipped = begin.taken if number == begin.source else 0
            if isinstance(source, FileSource):
                for taken, one in enumerate(of_file(source, skipped), start=skipped + 1):
                    self._ahead.append(Place(number, taken))
                    yield one
                continue
            checksum = hashlib.blake2b(digest_size=16)
            candidates = source.candidates()
            for candidate in islice(candidates, skipped):
                _add(checksum, candidate.atoms)
            # A source that has become shorter has another sum as well.
            if skipped and checksum.hexdigest() != begin.checksum:
                raise DataError(
                    f"cannot go on: the first {skipped} structures of {source.name} are not those of the run that was "
                    "stopped"
                )
            for taken, candidate in enumerate(candidates, start=skipped + 1):
                _add(checksum, candidate.atoms)
                self._ahead.append(Place(number, taken, checksum.hexdigest()))
                yield candidate

    def take(self, count: int) -> Place:
        """The place after the next structures of those that were given out."""
        for _ in range(count):
            self._place = self._ahead.popleft()
        return self._place


def _add(checksum: Any, atoms: Atoms | None) -> None:
    if atoms is None:
        checksum.update(b"none")
        return
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
        checksum.update(np.ascontiguousarray(array))
    checksum.update(len(atoms).to_bytes(8, "little"))
