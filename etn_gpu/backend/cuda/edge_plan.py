"""What the blocks of an edge stage hold in shared memory, and for how many atoms at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etn_gpu.backend.cuda.edge_panels import PACK_BYTES, Storage, panels
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Step, Value

#: Shared memory of a block, in bytes: several blocks shall run on a multiprocessor; what a GPU of 2020 and later has.
GOOD_SHARED, MOST_SHARED = 100 * 1024, 160 * 1024
#: Numbers of 32 bits that an edge may hold at a time where 16 warps, with 128 registers each, share a multiprocessor.
MOST_HELD = 96

#: A value that is summed or read over edges, and the form in which it is.
Sums = tuple[str, EdgeSum]


@dataclass(frozen=True)
class Plan:
    """Shared memory of a block, in elements: the sums of ``slots`` atoms, then ``buffer`` elements for each warp.

    Sums that are not ``held`` are read and written in device memory.
    """

    itemsize: int
    slots: int
    buffer: int
    held: tuple[tuple[Sums, Storage], ...]

    def storage(self, sums: Sums) -> Storage | None:
        """How ``sums`` are held; None where they are not."""
        return dict(self.held).get(sums)

    def first(self, sums: Sums) -> int:
        """Where held sums of the first atom begin."""
        place = 0
        for key, storage in self.held:
            if key == sums:
                break
            place += self.slots * storage.pitch(self.slots)
        return place

    @property
    def summed(self) -> int:
        """Elements of all sums."""
        return self.slots * sum(storage.pitch(self.slots) for _, storage in self.held)

    @property
    def shared_bytes(self) -> int:
        """Bytes of a block."""
        return self.itemsize * (self.summed + self.slots * self.buffer)


def plan(name: str, itemsize: int, sums: Sequence[Sums], buffer: int) -> Plan:
    """As many atoms in a block as have room; sums in device memory where not even two have.

    Raises:
        BackendError: not even the edges of one atom have room.
    """
    held = tuple((key, Storage(key[1], itemsize)) for key in dict.fromkeys(sums))
    for kept, slots, most in (
        *((held, slots, GOOD_SHARED) for slots in (8, 4, 2)),
        *(((), slots, GOOD_SHARED) for slots in (8, 4, 2)),
        ((), 1, MOST_SHARED),
    ):
        found = Plan(itemsize, slots, buffer, kept)
        if found.shared_bytes <= most:
            return found
    raise BackendError(
        f"the stage {name!r} needs {found.shared_bytes} bytes of shared memory for the edges of one atom, expected at "
        f"most {MOST_SHARED}: use fewer radial functions or harmonics, or another backend"
    )


def warps_at_once(itemsize: int, steps: Sequence[Step], values: Mapping[str, Value]) -> int:
    """Warps that shall share a multiprocessor: 16, or 8 where the operands and results of sums over edges are many."""
    terms = [(s.out.name, t) for s in steps for t in s.terms if isinstance(t.operation, EdgeSum)]
    named = {name for out, t in terms for name in (out, *t.operands) if values[name].space == "edge"}
    held = sum(values[name].size for name in named) * itemsize // 4
    return 16 if held <= MOST_HELD else 8


def edge_pitch(itemsize: int) -> int:
    """Elements from a staged row of numbers, one for each of 32 edges, to the next: EDGE_PITCH of ``edges.cuh``."""
    return 32 + PACK_BYTES // itemsize


def buffer_size(itemsize: int, summed: Sequence[EdgeSum], outputs: Sequence[int]) -> int:
    """Elements that a warp stages: the rows of one panel that is summed, or one output, of so many components."""
    rows = [sum(panel.staged) for operation in summed for panel in panels(operation)]
    return max([0, *(edge_pitch(itemsize) * n for n in rows), *(32 * size for size in outputs)])
