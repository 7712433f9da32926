"""Matrices of unlike shapes in few stacks, so that an operation on all of them is a few calls of the array library.

Matrices that lie in a flat buffer are gathered into stacks (matrices, rows, columns), one for each *batch*, those of a
batch padded to one shape. A call costs a launch on a device and microseconds on the host, padding costs arithmetic:
:func:`form_batches` merges shapes as long as that saves time. Equal shapes always share a batch unless copying them
into one costs more than a call, so the number of calls that matter is at most that of distinct shapes, whatever the
number of matrices, and where a call is expensive it is one or two. Padding is up to the operation, which knows what
leaves its result exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etn_gpu.plan import Machine
from etn_gpu.tensor.arrays import Array, Constants, join, namespace

#: Products of small matrices on a CPU core, and on a device with its launches of some 10 us.
HOST = Machine(flops_per_component=8.0, flops_per_launch=3e4)
DEVICE = Machine(flops_per_component=20.0, flops_per_launch=2e8)

Shape = tuple[int, ...]
Index = NDArray[np.intp]


class Batch(NamedTuple):
    """Numbers of the matrices, ascending, and the shape to which they are padded."""

    members: tuple[int, ...]
    shape: Shape


def form_batches(shapes: Sequence[Shape], weight: Callable[[int, Shape], float]) -> tuple[Batch, ...]:
    """Divide matrices of the given shapes into batches, in the order of their first members.

    ``weight(count, shape)`` is the time that a batch of `count` matrices padded to `shape` takes. The largest shapes go
    first, and each joins the batch that becomes dearer by least, if that is cheaper than a batch of its own.
    """
    alike: dict[Shape, list[int]] = {}
    for number, shape in enumerate(shapes):
        alike.setdefault(shape, []).append(number)
    batches: list[Batch] = []
    for shape in sorted(alike, key=lambda shape: (math.prod(shape), shape), reverse=True):
        for members in _divided(alike[shape], shape, weight):
            own = weight(len(members), shape)
            rises = [(_rise(batch, len(members), shape, weight), k) for k, batch in enumerate(batches)]
            rise, best = min(rises, default=(math.inf, 0))
            if rise <= own:
                old = batches[best]
                batches[best] = Batch((*old.members, *members), _hull(old.shape, shape))
            else:
                batches.append(Batch(tuple(members), shape))
    return tuple(sorted(Batch(tuple(sorted(batch.members)), batch.shape) for batch in batches))


def _divided(members: list[int], shape: Shape, weight: Callable[[int, Shape], float]) -> list[list[int]]:
    """Matrices of one shape together, or each by itself where that is faster."""
    return [members] if weight(len(members), shape) <= len(members) * weight(1, shape) else [[m] for m in members]


def _rise(batch: Batch, count: int, shape: Shape, weight: Callable[[int, Shape], float]) -> float:
    size = len(batch.members)
    return weight(size + count, _hull(batch.shape, shape)) - weight(size, batch.shape)


def _hull(first: Shape, second: Shape) -> Shape:
    return tuple(map(max, first, second))


class Stacks:
    """Positions of matrices in stacks that lie one after the other: ``of[i]`` (rows, columns) are those of matrix i."""

    def __init__(self, batches: Sequence[Batch], shapes: Sequence[tuple[int, int]]) -> None:
        self.shapes = tuple((len(batch.members), *shape) for batch, shape in zip(batches, shapes, strict=True))
        self.of: dict[int, Index] = {}
        self.size = 0
        for batch, shape in zip(batches, self.shapes, strict=True):
            end = self.size + math.prod(shape)
            self.of |= zip(batch.members, np.arange(self.size, end, dtype=np.intp).reshape(shape), strict=True)
            self.size = end
        self.sizes = tuple(map(math.prod, self.shapes))

    def split(self, flat: Array) -> list[Array]:
        """The stacks in a flat array of them, as views."""
        ends = itertools.accumulate(self.sizes)
        return [
            flat[end - size : end].reshape(shape)
            for end, size, shape in zip(ends, self.sizes, self.shapes, strict=True)
        ]


class Gather:
    """Numbers picked from arrays that follow one another; what is picked from nowhere is an exact zero.

    Made of pairs of equally shaped positions: where numbers go in a result of `size` numbers, and where they come from
    in arrays of the sizes `available`.
    """

    def __init__(self, size: int, available: Sequence[int], pairs: Sequence[tuple[Index, Index]]) -> None:
        ends = [0, *itertools.accumulate(available)]
        index = np.full(size, ends[-1], dtype=np.intp)
        for target, source in pairs:
            index[target] = source
        padded = bool((index == ends[-1]).any())
        # Arrays before and behind all that is picked are left out.
        first = sum(end <= index.min(initial=ends[-1]) for end in ends[1:])
        last = len(available) if padded else sum(end <= index.max(initial=-1) for end in ends)
        self.size = size
        self._parts = slice(first, last)
        self._padded = padded
        index -= ends[first]
        self._moves = padded or size != ends[last] - ends[first] or not np.array_equal(index, np.arange(size))
        self._constants = Constants((index,) if self._moves else ())
        self.nbytes = self._constants.nbytes

    def apply(self, parts: Sequence[Array], like: Array, out: Array | None = None) -> Array:
        """The numbers picked from `parts`, arrays of any shape in the library of `like`; a view if nothing moves.

        `out`, if given, receives the result.
        """
        flat = [part.reshape(-1) for part in parts[self._parts]]
        if self._padded:
            flat.append(namespace(like).zeros(1, dtype=flat[0].dtype if flat else like.dtype))
        source = flat[0] if len(flat) == 1 else join(flat, like)
        if self._moves:
            return source.take(self._constants.beside(source)[0], out=out)
        if out is None:
            return source
        out[...] = source
        return out
