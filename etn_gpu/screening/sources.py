"""Where structures come from: files of any format ASE reads, or structures that are in memory already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from etn_gpu import files
from etn_gpu.errors import DataError
from etn_gpu.screening.batching import Candidate
from etn_gpu.structures.frame import reason
from etn_gpu.structures.opening import STANDARD_INPUT

if TYPE_CHECKING:
    from ase import Atoms

    from etn_gpu.structures.frame import Frame
    from etn_gpu.structures.xyz_blocks import CutFrame
    from etn_gpu.structures.xyz_ranges import FrameRange

__all__ = ["FileSource", "MemorySource", "Source", "UnreadCandidate", "as_sources", "check_inputs", "is_repeatable"]

Found = TypeVar("Found")
Made = TypeVar("Made")

#: Names of missing files that a message shows.
_SHOWN = 5


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

        frames = partial(read_structures, self.path, f"{first}:", format=self.format, species=self.species)
        yield from self._until_failure(frames, self._candidate, first)

    def cut(self, first: int = 0) -> Iterator[Candidate | UnreadCandidate]:
        """The same; frames of plain extended XYZ files are only cut."""
        from etn_gpu.structures.frame import Frame
        from etn_gpu.structures.reader import cut_structures

        frames = partial(cut_structures, self.path, first, format=self.format, species=self.species)

        def candidate(frame: Frame | CutFrame) -> Candidate | UnreadCandidate:
            return self._candidate(frame) if isinstance(frame, Frame) else UnreadCandidate(self, frame)

        yield from self._until_failure(frames, candidate, first)

    def read(self, frames: FrameRange) -> Iterator[Candidate]:
        """The structures of a range that was cut, perhaps by another process.

        Raises:
            DataError: the file cannot be opened here, or is another one.
        """
        return map(self._candidate, frames.frames(self.name, self.species))

    def _candidate(self, frame: Frame) -> Candidate:
        error = "" if frame.error is None else frame.error.reason
        return Candidate(self.name, frame.index, frame.atoms, error, frame.untried, frame.size)

    def _until_failure(
        self, begin: Callable[[], Iterator[Found]], candidate: Callable[[Found], Made], first: int
    ) -> Iterator[Candidate | Made]:
        found = 0
        try:
            for frame in begin():
                found += 1
                yield candidate(frame)
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


class UnreadCandidate(NamedTuple):
    """One structure of a file that has been cut and not yet read."""

    source: FileSource
    frame: CutFrame

    @property
    def size(self) -> int:
        """Its atoms."""
        return self.frame.size


def is_repeatable(source: Source) -> bool:
    """Whether the identity of a source tells all of its structures: that of a file that can be read again."""
    return isinstance(source, FileSource) and not _is_read_once(source.path)


def _is_read_once(path: str | os.PathLike[str]) -> bool:
    return files.is_stream(path) or os.fspath(path) == STANDARD_INPUT


def _checksum(path: Path) -> str | None:
    """A checksum of a file, or of all files of a folder with their names."""
    if _is_read_once(path):
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
        """The structures, counted from 0; what is none is a candidate with an error.

        Raises:
            DataError: the iterable raised an exception; the message says at which structure.
        """
        from ase import Atoms

        index = 0
        try:
            for atoms in self.structures:
                if isinstance(atoms, Atoms):
                    yield Candidate(self.name, index, atoms)
                else:
                    error = f"{type(atoms).__name__} is no structure: expected an ase.Atoms"
                    yield Candidate(self.name, index, None, error)
                index += 1
        except Exception as error:  # whatever code of others raises
            place = f"{self.name}, structure {index} (counted from 0)"
            raise DataError(f"whatever gives the structures failed ({reason(error)}).", place) from error

    def identity(self) -> dict[str, Any]:
        """The name; what the structures are is seen when they are read."""
        return {"name": self.name}


def as_sources(given: object) -> list[Source]:
    """What is to be screened, as sources.

    Args:
        given: a path, an ``ase.Atoms``, a source, an iterable of ``ase.Atoms``, or a list or tuple of any of these.
            Structures that stand one after the other in a list are one source; such sources are called "structures",
            "structures 2" and so on.

    Raises:
        DataError: something else.
    """
    found: list[Source] = []
    loose: list[Atoms] = []
    memory = 0

    def add(structures: Iterable[Atoms]) -> None:
        nonlocal memory
        memory += 1
        found.append(MemorySource("structures" if memory == 1 else f"structures {memory}", structures))

    from ase import Atoms

    for item in given if isinstance(given, list | tuple) else [given]:
        if isinstance(item, Atoms):
            if not loose:
                loose = []
                add(loose)
            loose.append(item)
            continue
        loose = []
        if isinstance(item, str | os.PathLike):
            found.append(FileSource(item))
        elif hasattr(item, "candidates"):
            found.append(cast("Source", item))
        elif isinstance(item, Iterable) and not isinstance(item, bytes):
            add(item)
        else:
            raise DataError(
                f"{type(item).__name__} is nothing to screen: expected paths, ase.Atoms, iterables of ase.Atoms, or "
                "sources of etn_gpu.screening"
            )
    return found


def check_inputs(sources: Iterable[Source]) -> None:
    """Refuses sources that are files or folders that there are not; what is wrong in a file is said in its rows.

    Raises:
        DataError: some do not exist.
    """
    paths = [source.path for source in sources if isinstance(source, FileSource)]
    missing = [os.fspath(path) for path in paths if os.fspath(path) != STANDARD_INPUT and not os.path.exists(path)]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DataError(f"no such file or folder: {', '.join(missing[:_SHOWN])}{more}; nothing was written")
