"""The choice: the candidate of the largest gain, again and again, each time with those before it taken for known.

Gains only ever fall while more is chosen (log det is submodular), so that a gain which was computed earlier bounds the
present one: only candidates at the top are computed anew, and the choice is that of computing all of them
(Minoux 1978, Lecture Notes Control Inf. Sci. 7, 234).

A pool may be larger than memory: :class:`Reservoir` holds candidates up to some bytes. When they are exceeded, the
choice among those there is made and kept, the others are dropped; from then on a structure that adds less to the
training set than the last of the kept ones added to all others is not looked at any further. A pool that fits is chosen
from at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.potential.grade import ExtrapolationGrade
from etn_gpu.selection.information import Array, Information, Surroundings

if TYPE_CHECKING:
    from ase import Atoms

#: A structure that adds less to log det has nothing to tell: what is possible shrinks by so small a share.
LEAST_GAIN = 1e-3
#: Atoms whose surroundings differ by less are alike: as a share of their grade, or of 1 inside of the training data.
SAME = 0.02


@dataclass(frozen=True, eq=False)
class Member:
    """A structure that may be chosen: where it stands in the pool, its surroundings, its grade and its gain.

    ``gain`` is what it adds to the training set alone.
    """

    place: int
    source: str
    index: int
    atoms: Atoms = field(repr=False)
    surroundings: Surroundings = field(repr=False)
    grade: float
    gain: float

    @property
    def bytes(self) -> int:
        """Memory of the surroundings."""
        return sum(rows.nbytes for rows in self.surroundings.values())


def choose(information: Information, members: Iterable[Member], number: int) -> tuple[list[tuple[Member, float]], int]:
    """At most ``number`` members in the order of the choice, each with what it added; how many were left out as copies.

    ``information`` is that by which the gains of the members were computed; the chosen ones are added to it.

    Fewer where all others add less than ``LEAST_GAIN``. A structure all of whose atoms have surroundings that those of
    the chosen have is a copy, whatever it adds: labels of calculations have no noise that a second one would lower.
    Ties go to the structure that comes first in the pool.
    """
    known = _Known()
    chosen: list[tuple[Member, float]] = []
    copies = 0
    # Largest gain first; the number of structures that were known when it was computed tells whether it still holds.
    heap: list[tuple[float, int, int, Any]] = [(-member.gain, member.place, 0, member) for member in members]
    heapq.heapify(heap)
    while heap and len(chosen) < number and -heap[0][0] >= LEAST_GAIN:
        bound, place, counted, member = heapq.heappop(heap)
        if counted < len(chosen):
            heapq.heappush(heap, (-information.gain(member.surroundings), place, len(chosen), member))
        elif known.has(member.surroundings):
            copies += 1
        else:
            chosen.append((member, -bound))
            information.add(member.surroundings)
            known.add(member.surroundings)
    return chosen, copies


class Reservoir:
    """Members that the choice is made from, in bounded memory.

    Args:
        grade: of the potential.
        number: how many will be chosen; so many are kept whatever their size.
        memory: bytes of surroundings that may be held.

    Attributes:
        copies: members that were left out as copies of chosen ones, so far.
        dropped: members that were left out because others add more, so far.
    """

    def __init__(self, grade: ExtrapolationGrade, number: int, memory: int) -> None:
        self._grade, self._number, self._memory = grade, number, memory
        self._members: list[Member] = []
        self._bytes, self._floor = 0, 0.0
        self.copies = self.dropped = 0

    def offer(self, member: Member) -> None:
        """Shows the reservoir one more member."""
        if member.gain < self._floor:
            self.dropped += 1
            return
        self._members.append(member)
        self._bytes += member.bytes
        if self._bytes > self._memory and len(self._members) > self._number:
            before = self.copies
            chosen = self.choice()
            self.dropped += len(self._members) - len(chosen) - (self.copies - before)
            self._members = [member for member, _ in chosen]
            self._bytes = sum(member.bytes for member in self._members)
            if len(chosen) == self._number:
                self._floor = chosen[-1][1]

    def choice(self) -> Sequence[tuple[Member, float]]:
        """The choice among those that have been kept, each with what it added."""
        chosen, copies = choose(Information(self._grade), self._members, self._number)
        self.copies += copies
        return chosen


class _Known:
    """Surroundings of the chosen structures."""

    def __init__(self) -> None:
        self._rows: dict[int, Array] = {}

    def add(self, surroundings: Surroundings) -> None:
        for z, rows in surroundings.items():
            self._rows[z] = np.concatenate((self._rows[z], rows)) if z in self._rows else rows

    def has(self, surroundings: Surroundings) -> bool:
        """Whether each of the surroundings is like one of these."""
        return all(z in self._rows and _all_near(rows, self._rows[z]) for z, rows in surroundings.items())


def _all_near(rows: Array, others: Array) -> bool:
    """Whether each of ``rows`` [m, n] has one of ``others`` [k, n] near it."""
    squares = np.einsum("ij,ij->i", others, others)
    for row in rows:
        square = row @ row
        if (squares - 2.0 * (others @ row) + square).min() > SAME**2 * max(square, 1.0):
            return False
    return True
