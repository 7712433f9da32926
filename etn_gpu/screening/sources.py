"""Where structures come from: files of any format ASE reads, or structures that are in memory already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from etn_gpu import files
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

    def identity(self) -> Any:
        """What must be the same for a run to go on that was stopped, as JSON has it."""
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

    def candidates(self, first: int = 0) -> Iterator[Candidate]:
        """The frames of the file from `first` on; a file that cannot be read is one candidate without an index."""
        from etn_gpu.structures import read_structures

        found = 0
        try:
            for frame in read_structures(self.path, f"{first}:", format=self.format, species=self.species):
                error = "" if frame.error is None else frame.error.reason
                found += 1
                yield Candidate(self.name, frame.index, frame.atoms, error, frame.untried)
        except (DataError, OSError) as error:
            if first and not found:
                return  # all of it was taken, its failure included
            yield Candidate(self.name, None, None, error.reason if isinstance(error, DataError) else str(error))

    def identity(self) -> dict[str, Any]:
        """How the file is read, and a checksum of its content; None for one that cannot be read twice."""
        return {
            "path": self.name,
            "format": self.format,
            "species": self.species and list(self.species),
            "checksum": _checksum(Path(self.path)),
        }


def _checksum(path: Path) -> str | None:
    """A checksum of a file, or of all files of a folder with their names."""
    if files.is_stream(path) or str(path) == "-":
        return None
    found = hashlib.blake2b(digest_size=16)
    try:
        if path.is_dir():
            for part in sorted(part for part in path.rglob("*") if part.is_file()):
                found.update(f"{part.relative_to(path)}\0{_checksum(part)}\0".encode("utf-8", "surrogateescape"))
            return found.hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: found).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror or error}"


@dataclass(frozen=True)
class MemorySource:
    """Structures from any iterable, a generator for instance; it is consumed once."""

    name: str
    structures: Iterable[Atoms]

    def candidates(self) -> Iterator[Candidate]:
        """The structures, counted from 0."""
        for index, atoms in enumerate(self.structures):
            yield Candidate(self.name, index, atoms)

    def identity(self) -> dict[str, Any]:
        """The name; what the structures are is seen when they are read."""
        return {"name": self.name}


def as_source(source: Source | str | os.PathLike[str]) -> Source:
    """A path becomes a :class:`FileSource`; a source stays what it is."""
    return FileSource(source) if isinstance(source, str | os.PathLike) else source
