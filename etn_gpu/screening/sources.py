"""Where structures come from: files of any format ASE reads, or structures that are in memory already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from etn_gpu.errors import DataError
from etn_gpu.screening.batching import Candidate

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["FileSource", "MemorySource", "Source", "as_source"]


class Source(Protocol):
    """A named stream of structures."""

    @property
    def name(self) -> str:
        """What the rows show in the column `source`."""
        ...

    def candidates(self) -> Iterator[Candidate]:
        """The structures in order. What cannot be read is a candidate with an error, never an exception."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A file, read frame by frame; `format` and `species` are those of :func:`etn_gpu.structures.read_structures`."""

    path: str | os.PathLike[str]
    format: str | None = None
    species: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The path as it was given."""
        return os.fspath(self.path)

    def candidates(self) -> Iterator[Candidate]:
        """The frames of the file; a file that cannot be read is one candidate without an index."""
        from etn_gpu.structures import read_structures

        try:
            for frame in read_structures(self.path, format=self.format, species=self.species):
                error = "" if frame.error is None else frame.error.reason
                yield Candidate(self.name, frame.index, frame.atoms, error, frame.untried)
        except DataError as error:
            yield Candidate(self.name, None, None, error.reason)
        except OSError as error:
            yield Candidate(self.name, None, None, str(error))


@dataclass(frozen=True)
class MemorySource:
    """Structures from any iterable, a generator for instance; it is consumed once."""

    name: str
    structures: Iterable[Atoms]

    def candidates(self) -> Iterator[Candidate]:
        """The structures, counted from 0."""
        for index, atoms in enumerate(self.structures):
            yield Candidate(self.name, index, atoms)


def as_source(source: Source | str | os.PathLike[str]) -> Source:
    """A path becomes a :class:`FileSource`; a source stays what it is."""
    return FileSource(source) if isinstance(source, str | os.PathLike) else source
