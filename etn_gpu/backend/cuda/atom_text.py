"""The text of an atom stage: a kernel with a routine for each form, and the tasks of every warp as a list of integers.

A warp reads its list: the number of a routine and its arguments, again and again. So the machine code is about as long
as the Program has kinds of products, not as many products, and all warps and tiles share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill, indent

import numpy as np

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.cuda.forms import TILE, Coupling, Form, Gradient
from etn_gpu.backend.cuda.levels import Schedule, Store
from etn_gpu.backend.cuda.loops import Numbers
from etn_gpu.backend.cuda.operands import Factors, Place
from etn_gpu.backend.cuda.scalars import literal

#: What every list of tasks knows besides routines: waiting for the other warps, the end, asking for the next tile.
WAIT, END, PREFETCH = 0, 1, 2
#: Words of a task that are read at once.
PACK = 4


@dataclass(frozen=True)
class Routine:
    """A form, the tile it writes to ('' for rows), and which arguments change in the outer and in the inner loop.

    There is no loop where that is None. ``written``: for each argument its value, if that is part of the routine.
    """

    form: Form
    target: str
    outer: tuple[bool, ...] | None
    inner: tuple[bool, ...] | None
    written: tuple[int | None, ...]


@dataclass(frozen=True)
class Layout:
    """Where values lie: first rows, offsets of parameters and gradients, names of the pointers to tiles.

    Tasks give places in rows and tiles in bytes, all else in numbers.
    """

    itemsize: int
    rows: Mapping[str, int]
    parameters: Columns
    gradients: Columns
    tiles: Mapping[str, str]

    def number(self, place: Place, number: int) -> int:
        """The argument that a task holds for ``number`` at a place."""
        return (self._first(place) + number) * self._scale(place)

    def steps(self, places: tuple[Place, ...], steps: Numbers) -> tuple[int, ...]:
        """The same for distances."""
        return tuple(k * self._scale(place) for place, k in zip(places, steps, strict=True))

    def _first(self, place: Place) -> int:
        match place.kind:
            case "row":
                return self.rows[place.name]
            case "parameter":
                return self.parameters[place.name][0]
            case "gradient":
                return self.gradients[place.name][0]
        return 0

    def _scale(self, place: Place) -> int:
        match place.kind:
            case "row" | "tile":
                return TILE * self.itemsize
            case "component":
                return TILE
        return 1

    def written(self, place: Place, number: int, steps: tuple[int, ...]) -> int | None:
        """What becomes part of a routine: widths of rows, which its form decides, and weights that lie side by side."""
        side_by_side = place.kind == "step" and number == 1
        return self.number(place, number) if (place.kind == "component" or side_by_side) and not any(steps) else None


@dataclass
class StageText:
    """Collects routines and couplings while tasks are written."""

    dtype: np.dtype
    layout: Layout
    factors: Factors
    routines: dict[Routine, int] = field(default_factory=dict)
    couplings: dict[Coupling, str] = field(default_factory=dict)

    def tasks(self, schedule: Schedule, n_warps: int) -> list[list[int]]:
        """The list of each warp."""
        lists: list[list[int]] = [[] for _ in range(n_warps)]
        for number, warps in enumerate(schedule.levels, 1):
            for words, tasks in zip(lists, warps, strict=True):
                if number == len(schedule.levels):
                    words += _padded([PREFETCH])
                lists_of_tasks = [[self._words(store) for store in task.stores] for task in tasks]
                # Warps that use a routine at the same time fetch its instructions once.
                for task_words in sorted(lists_of_tasks, key=lambda listed: listed[0][0]):
                    words += [word for store_words in task_words for word in _padded(store_words)]
                words += _padded([WAIT])
        for words in lists:
            words += _padded([END])
        return lists

    def _words(self, store: Store) -> list[int]:
        piece = store.piece
        target = store.target
        tile = self.layout.tiles[target.name] if target is not None and target.kind == "tile" else ""
        steps = [self.layout.steps(piece.places, s) for s in (piece.nest.outer, piece.nest.inner)]
        changing = [
            tuple(map(bool, s)) if count > 1 else None for s, count in zip(steps, piece.nest.counts, strict=True)
        ]
        written = tuple(map(self.layout.written, piece.places, piece.nest.base, zip(*steps, strict=True)))
        routine = Routine(piece.form, tile, changing[0], changing[1], written)
        number = self.routines.setdefault(routine, len(self.routines) + PREFETCH + 1)
        words = [number, self.factors.index(piece.factor)]
        if target is not None and piece.patch is not None:
            first = self.layout.number(target, piece.patch.first)
            words += [first, piece.patch.pitch * TILE, int(store.adds)]
        for count, change in zip(piece.nest.counts, changing, strict=True):
            words += [count] if change else []
        arguments = zip(piece.places, piece.nest.base, written, strict=True)
        words += [self.layout.number(place, number) for place, number, known in arguments if known is None]
        for step, change in zip(steps, changing, strict=True):
            words += [k for k, c in zip(step, change or (), strict=False) if c]
        return words

    def cases(self) -> Iterator[str]:
        """The routines, each as one case of a switch."""
        for routine, number in self.routines.items():
            yield _Case(self, routine).text(number)

    def functions(self) -> Iterator[str]:
        """The couplings that the cases call."""
        for coupling, name in self.couplings.items():
            body = indent("\n".join(coupling.lines(self.dtype)), "    ")
            yield f"__device__ __forceinline__ void {name}(Real* x, const Real* a, const Real* b) {{\n{body}\n}}"


class _Case:
    """Writes one routine; see :class:`~etn_gpu.backend.cuda.forms.Text`."""

    def __init__(self, stage: StageText, routine: Routine) -> None:
        self._stage = stage
        self._routine = routine
        self._heads: list[str] = []
        self._body: list[str] = []
        self._arrays = 0
        self._arguments = 0

    def argument(self) -> str:
        """The next argument, at the indices of the loops."""
        k = self._arguments
        self._arguments += 1
        if (known := self._routine.written[k]) is not None:
            return str(known)
        value = f"a{k}"
        for index, name, change in (("i", "b", self._routine.outer), ("j", "c", self._routine.inner)):
            if change is not None and change[k]:
                value += f" + {index} * {name}{k}"
        return f"({value})" if value != f"a{k}" else value

    def array(self, size: int, empty: bool) -> str:
        """A new array."""
        self._arrays += 1
        self.line(f"Real x{self._arrays}[{size}]{'' if empty else ' = {}'};")
        return f"x{self._arrays}"

    def line(self, text: str) -> None:
        """A line of the body."""
        self._body.append(text)

    def coupling(self, coupling: Coupling) -> str:
        """The function of a coupling."""
        return self._stage.couplings.setdefault(coupling, f"couple_{len(self._stage.couplings)}")

    def text(self, number: int) -> str:
        """The whole case."""
        form, routine = self._routine.form, self._routine
        form.write(self)
        names = ["factor_index"]
        if not isinstance(form, Gradient):
            names += ["to", "pitch", "adds"]
        names += [name for name, change in (("n", routine.outer), ("m", routine.inner)) if change is not None]
        names += [f"a{k}" for k, known in enumerate(routine.written) if known is None]
        for letter, change in (("b", routine.outer), ("c", routine.inner)):
            names += [f"{letter}{k}" for k, c in enumerate(change or ()) if c]
        packs = -(-(len(names) + 1) // PACK)
        words = [f"t{k // PACK}.{'xyzw'[k % PACK]}" for k in range(1, len(names) + 1)]
        lines = [f"const int4 {', '.join(f't{k} = __ldg(task + {k})' for k in range(packs))};"]
        lines += [f"const int {', '.join(f'{name} = {word}' for name, word in zip(names, words, strict=True))};"]
        lines += [f"task += {packs};", "const Real factor = factors[factor_index];"]
        if not isinstance(form, Gradient):
            rows, width = form.shape
            lines.append(f"Real z[{rows * width}] = {{}};")
        depth, ends = "", []
        for index, count, change in (("i", "n", routine.outer), ("j", "m", routine.inner)):
            if change is not None:
                # A loop runs at least twice: nothing to ask before it.
                lines += [f"{depth}int {index} = 0;", f"{depth}#pragma unroll 1", f"{depth}do {{"]
                ends.append(f"{depth}}} while (++{index} < {count});")
                depth += "    "
        lines += [depth + line for line in self._body]
        lines += reversed(ends)
        if not isinstance(form, Gradient):
            target = f"at({routine.target or 'own'}, to)"
            lines.append(f"store<{rows}, {width}>({target}, pitch, z, factor, adds);")
        body = indent("\n".join([*lines, "break;"]), "    ")
        return f"case {number}: {{\n{body}\n}}"


def _padded(words: list[int]) -> list[int]:
    """A task begins on a boundary of four words, which are read at once."""
    return words + [0] * (-len(words) % PACK)


def integers(name: str, values: Sequence[int]) -> str:
    """A table of integers."""
    return f"__device__ const int {name}[] = {{{', '.join(map(str, values))}}};"


def packs(name: str, words: Sequence[int]) -> str:
    """A table of packs of four integers."""
    four = (", ".join(map(str, words[k : k + PACK])) for k in range(0, len(words), PACK))
    return f"__device__ const int4 {name}[] = {{\n{fill(', '.join(f'{{{words}}}' for words in four), 120)}\n}};"


def reals(name: str, values: Sequence[float], dtype: np.dtype) -> str:
    """A table of numbers."""
    return f"__device__ const Real {name}[] = {{{', '.join(literal(v, dtype) for v in values)}}};"
