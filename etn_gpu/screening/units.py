"""Units of work for other processes: structures, and ranges of files that these read themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from etn_gpu.screening.batching import Candidate, groups
from etn_gpu.screening.sources import FileSource, UnreadCandidate
from etn_gpu.structures.xyz_ranges import FrameRange, frame_range

__all__ = ["Unit", "units"]


@dataclass(frozen=True)
class Unit:
    """Consecutive structures.

    Attributes:
        parts: structures that were read, and ranges of files.
        count: how many structures.
    """

    parts: tuple[list[Candidate] | tuple[FileSource, FrameRange], ...]
    count: int

    def candidates(self) -> Iterator[Candidate]:
        """The structures; what is in ranges is read now.

        Raises:
            DataError: a file cannot be opened here, or is another one.
        """
        for part in self.parts:
            yield from part if isinstance(part, list) else part[0].read(part[1])


def units(candidates: Iterable[Candidate | UnreadCandidate], most: int, at_once: int) -> Iterator[Unit]:
    """Units of `at_once` groups of structures with at most so many atoms (:func:`~etn_gpu.screening.batching.groups`).

    An exception of the iterable is raised after the unit of the structures before it.
    """
    found = groups(candidates, most)
    while True:
        failure, members = None, []
        try:
            for group in islice(found, at_once):
                members += group
        except Exception as error:
            failure = error
        if members:
            yield _unit(members)
        if failure is not None:
            raise failure
        if not members:
            return


def _unit(members: list[Candidate | UnreadCandidate]) -> Unit:
    parts: list[list[Candidate] | tuple[FileSource, FrameRange]] = []
    # The last frame of a file is always read here, so that frames of two are never neighbours.
    for unread, some in groupby(members, key=lambda one: isinstance(one, UnreadCandidate)):
        if not unread:
            parts.append([one for one in some if isinstance(one, Candidate)])
            continue
        cut = [one for one in some if isinstance(one, UnreadCandidate)]
        source = cut[0].source
        parts.append((source, frame_range(os.path.abspath(source.path), [one.frame for one in cut])))
    return Unit(tuple(parts), len(members))
