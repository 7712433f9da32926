"""The pieces of an atom stage in levels, between which the warps of a block wait for each other.

What a level reads was completed in levels before. Within a level every component is written by one warp. Where a few
components take most of the work of a level, their pieces are summed in several parts, which the next level adds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from etn_gpu.backend.cuda.forms import Held, Sum
from etn_gpu.backend.cuda.loops import nests
from etn_gpu.backend.cuda.operands import Place
from etn_gpu.backend.cuda.pieces import Patch, Piece, filled
from etn_gpu.backend.rows import Rows

#: A level is cut into one of these numbers of tasks for each warp, where it can be: that which takes least time.
TASKS_PER_WARP = (1, 2, 3, 4, 5)
#: Tasks of less than this cost are not cut.
SMALL = 250.0


@dataclass(frozen=True)
class Work:
    """The pieces that make a value of ``size`` components at ``target``, or gradients where ``target`` is None.

    ``divisible``: whether the pieces of one component may be summed in parts; ``written``: components that hold
    something already, to which the pieces add.
    """

    name: str
    size: int
    target: Place | None
    pieces: tuple[Piece, ...]
    divisible: bool = True
    written: frozenset[int] = frozenset()

    @property
    def needs(self) -> set[str]:
        """The values in rows that the pieces read."""
        return {place.name for piece in self.pieces for place in piece.places if place.kind == "row"}


@dataclass(frozen=True)
class Store:
    """A piece that sets the components of its patch at ``target``, or ``adds`` to them; gradients have no target."""

    piece: Piece
    target: Place | None
    adds: bool


@dataclass
class Task:
    """What one warp does without a break: all pieces that share components of a target."""

    stores: list[Store]

    @property
    def cost(self) -> float:
        """Instructions, about."""
        return sum(store.piece.cost for store in self.stores)


@dataclass
class Schedule:
    """The tasks of each level and warp; where values lie in the rows."""

    levels: list[list[list[Task]]] = field(default_factory=list)
    first_rows: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    @property
    def costs(self) -> list[tuple[float, float]]:
        """For each level: cost of the warp with most to do, mean over all warps."""
        found = []
        for warps in self.levels:
            costs = [sum(task.cost for task in tasks) for tasks in warps]
            found.append((max(costs), sum(costs) / len(costs)))
        return found


def schedule(works: Iterable[Work], n_warps: int) -> Schedule:
    """Levels for ``works``, in which every value that is needed is made."""
    levels, sizes = _Levels(n_warps).run(list(works))
    done = Schedule([_spread(tasks, n_warps) for tasks in levels])
    done.first_rows, done.rows = _allocate(levels, sizes)
    return done


class _Levels:
    def __init__(self, n_warps: int) -> None:
        self._n_warps = n_warps
        self._sizes: dict[str, int] = {}
        self._count = 0

    def run(self, pending: list[Work]) -> tuple[list[list[Task]], dict[str, int]]:
        levels: list[list[Task]] = []
        for work in pending:
            if work.target is not None and work.target.kind == "row":
                self._sizes[work.name] = work.size
        unfinished = {work.name for work in pending}
        while pending:
            ready = [w for w in pending if not w.needs & unfinished]
            pending = [w for w in pending if w.needs & unfinished]
            assert ready, "values that need each other"
            tasks, sums = self._level(ready)
            levels.append(tasks)
            unfinished = {w.name for w in (*pending, *sums)}
            pending = sums + pending
        return levels, self._sizes

    def _level(self, ready: list[Work]) -> tuple[list[Task], list[Work]]:
        """Tasks of a level, and what remains to be added in the next one."""
        total = sum(p.cost for w in ready for p in w.pieces)
        limits = dict.fromkeys(max(total / (n * self._n_warps), SMALL) for n in TASKS_PER_WARP)
        return min((self._cut(ready, limit) for limit in limits), key=self._time)

    def _time(self, cut: tuple[list[Task], list[Work]]) -> float:
        """Instructions of the warp with most to do, with those that add the parts."""
        tasks, sums = cut
        added = sum(piece.cost for work in sums for piece in work.pieces)
        most = max((sum(t.cost for t in own) for own in _spread(tasks, self._n_warps)), default=0.0)
        return most + added / self._n_warps

    def _cut(self, ready: list[Work], limit: float) -> tuple[list[Task], list[Work]]:
        """Tasks of about ``limit`` each, where they can be cut."""
        tasks: list[Task] = []
        sums: list[Work] = []
        for work in ready:
            for group in _groups(work.pieces):
                parts = _parts(group, limit) if work.target is not None and work.divisible else [group]
                tasks.append(_task(parts[0], work.target, work.written))
                if len(parts) > 1:
                    apart, total = self._apart(parts[1:])
                    tasks += apart
                    written = frozenset(t for piece in parts[0] for t in piece.targets)
                    sums.append(replace(work, pieces=total, divisible=False, written=written))
        return tasks, _merged(sums)

    def _apart(self, parts: list[list[Piece]]) -> tuple[list[Task], tuple[Piece, ...]]:
        """A task for each part, with rows of its own, and the pieces that add the parts."""
        holders: dict[Patch, list[int]] = {}
        for number, part in enumerate(parts):
            for patch in _patches(part):
                holders.setdefault(patch, []).append(number)
        places = {p: Place("row", self._partial(p.size * len(numbers))) for p, numbers in holders.items()}
        tasks: list[Task] = []
        for number, part in enumerate(parts):
            stores: list[Store] = []
            for patch in _patches(part):
                first = patch.size * holders[patch].index(number)
                compact = Patch(first, patch.rows, patch.width, patch.width)
                own = [replace(p, patch=compact) for p in part if p.patch == patch]
                stores += [Store(p, places[patch], k > 0) for k, p in enumerate(own)]
            tasks.append(Task(stores))
        total = (piece for patch, numbers in holders.items() for piece in _sum(patch, places[patch], len(numbers)))
        return tasks, tuple(total)

    def _partial(self, size: int) -> str:
        self._count += 1
        name = f"#{self._count}"
        self._sizes[name] = size
        return name


def _merged(sums: list[Work]) -> list[Work]:
    """One work for each value."""
    by_name: dict[str, Work] = {}
    for work in sums:
        known = by_name.get(work.name)
        if known:
            work = replace(known, pieces=known.pieces + work.pieces, written=known.written | work.written)
        by_name[work.name] = work
    return list(by_name.values())


def _patches(pieces: Iterable[Piece]) -> list[Patch]:
    """The patches of pieces, each once."""
    return list({p.patch: None for p in pieces if p.patch is not None})


def _groups(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Pieces that share targets together, in the order of their first."""
    owner: dict[int, list[Piece]] = {}
    for piece in pieces:
        merged = [piece]
        known = {id(owner[t]): owner[t] for t in piece.targets if t in owner}
        if known:
            merged, *others = known.values()
            for other in others:
                merged += other
            merged.append(piece)
        for member in merged if len(known) > 1 else [piece]:
            owner.update(dict.fromkeys(member.targets, merged))
    return list({id(group): group for group in owner.values()}.values())


def _parts(group: list[Piece], limit: float) -> list[list[Piece]]:
    """The pieces in parts of about ``limit`` each, with few patches in a part; a piece of more is halved."""
    total = sum(piece.cost for piece in group)
    if total <= 1.5 * limit:
        return [group]
    fine: list[Piece] = []
    queue = sorted(group, key=lambda p: p.targets, reverse=True)
    while queue:
        piece = queue.pop()
        if piece.cost > limit and piece.nest.length > 1:
            queue += reversed(piece.halves())
        else:
            fine.append(piece)
    count = round(total / limit)
    parts: list[list[Piece]] = [[] for _ in range(count)]
    before = 0.0
    for piece in fine:
        parts[min(count - 1, int((before + piece.cost / 2) / total * count))].append(piece)
        before += piece.cost
    return [part for part in parts if part]


def _task(group: list[Piece], target: Place | None, before: frozenset[int]) -> Task:
    """The pieces of a group: the first that reaches a component not written ``before`` sets it, the others add."""
    if target is None:
        return Task([Store(piece, None, True) for piece in group])
    stores: list[Store] = []
    written = set(before)
    for piece in sorted(group, key=lambda p: -len(p.targets)):
        missing = sorted(set(piece.targets) - written)
        if 0 < len(missing) < len(piece.targets):
            stores += [Store(zero, target, False) for zero in filled(missing, 0.0)]
        stores.append(Store(piece, target, len(missing) < len(piece.targets)))
        written.update(piece.targets)
    return Task(stores)


def _sum(patch: Patch, partial: Place, count: int) -> list[Piece]:
    """Pieces that add ``count`` parts of a patch, which lie one after the other."""
    if patch.pitch == patch.width or patch.rows == 1:
        stretches = [(patch.first, 0, patch.size)]
    else:
        stretches = [(patch.first + r * patch.pitch, r * patch.width, patch.width) for r in range(patch.rows)]
    found = []
    for first, at, width in stretches:
        (nest,) = nests([(part * patch.size + at,) for part in range(count)])
        whole = Patch(first, 1, width, width)
        found.append(Piece(Sum(Held(width)), 1.0, (partial,), nest, whole, whole.components))
    return found


def _spread(tasks: list[Task], n_warps: int) -> list[list[Task]]:
    """Tasks for each warp: the longest first, to the warp that has least to do."""
    warps: list[list[Task]] = [[] for _ in range(n_warps)]
    loads = [(0.0, k) for k in range(n_warps)]
    for task in sorted(tasks, key=lambda t: -t.cost):
        load, k = heapq.heappop(loads)
        warps[k].append(task)
        heapq.heappush(loads, (load + task.cost, k))
    return warps


def _allocate(levels: list[list[Task]], sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """First row of each value: rows are used again after the last level that reads a value."""
    born: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, tasks in enumerate(levels):
        for store in (store for task in tasks for store in task.stores):
            places = [*store.piece.places, *([store.target] if store.target else [])]
            for place in (p for p in places if p.kind == "row"):
                born.setdefault(place.name, number)
                last[place.name] = number
    rows, found = Rows(), {}
    for number in range(len(levels)):
        for name in (n for n in born if born[n] == number):
            found[name] = rows.allocate(name, sizes[name])
        for name in (n for n in last if last[n] == number):
            rows.release(name, sizes[name])
    return found, rows.count
