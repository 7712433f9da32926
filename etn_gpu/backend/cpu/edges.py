"""Steps between edge values: an edge phase works on a stretch of edges of a block, one lane an edge.

Pointwise terms are straight-line code (see ``pointwise.py``). An edge value that takes something from atoms
(:class:`EdgeSum` with an edge slot as output) starts a new *segment*: all edges of the stretch go through one segment,
then the tiles of the atoms are spread over them, then comes the next segment. Values that a later segment or a panel
needs wait in rows of the edge workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.cpu.ir import PACK, Function, Vector
from etn_gpu.backend.cpu.panels import EDGE_ARGUMENTS, Panel, padded, spread_angular, spread_radial, sum_edges
from etn_gpu.backend.pointwise import Components, Pointwise, derivative_order
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Step, Term

#: Edges of a stretch.
EDGE_WIDTH = 64


@dataclass(frozen=True)
class Use:
    """A panel of an edge-sum term, where the tiles of the atoms start, and where an embedding's weights do."""

    term: Term
    panel: Panel
    tiles: int
    weights: int = 0

    @property
    def tile(self) -> int:
        """Elements of one tile."""
        return self.panel.angular_tile if self.term.slot == 1 else self.panel.radial_tile


class EdgePhase:
    """Writes one edge phase: inputs from their staged columns, ``steps`` in order, ``outputs`` side by side, sums.

    ``inputs`` gives (column, size) of each input among ``width`` staged columns.
    """

    def __init__(
        self,
        f: Function,
        inputs: Columns,
        steps: Sequence[Step],
        sums: Sequence[Use],
        spreads: Sequence[tuple[str, Use]],
        outputs: Sequence[str],
        sizes: dict[str, int],
        width: int,
    ) -> None:
        self.f = f
        self.inputs, self.steps, self.sums, self.spreads, self.outputs = inputs, steps, sums, spreads, outputs
        self.sizes, self.width = sizes, width
        self.size = 0
        # From row to row. Not a power of two: rows 4096 bytes apart would wait for each other's loads and stores.
        self._pitch = EDGE_WIDTH + f.lanes
        self.rows: dict[str, int] = {}
        self._packed: dict[tuple[str, int, int], str] = {}
        self._spread: dict[int, str] = {}
        self._level = self._levels()

    def write(self) -> None:
        """Write the phase; afterwards ``size`` is the number of elements that it needs of the edge workspace."""
        self._reserve()
        for level in range(max(self._level.values(), default=0) + 1):
            for name, use in self.spreads:
                if self._level[name] == level:
                    self._spread_over_edges(use)
            self._segment(level)
        for use in self.sums:
            f_name, y_name = use.term.operands
            self._call_sum(use, f_name, y_name)

    def _levels(self) -> dict[str, int]:
        """Segment of each value."""
        level = dict.fromkeys(self.inputs, 0)
        for step in self.steps:
            at = 0
            for term in step.terms:
                later = isinstance(term.operation, EdgeSum)
                at = max([at, *(level[n] + later for n in term.operands if n in level)])
                at = max(at, int(later))
            level[step.out.name] = at
        return level

    def _reserve(self) -> None:
        """Rows for what crosses segments and what panels read number by number; arrays for what they read packed."""
        for name in sorted(self._kept()):
            self.rows[name] = self._take(self.sizes[name] * self._pitch)
        for use in self.sums:
            key = (use.term.operands[0], use.panel.radial, use.panel.count)
            if key not in self._packed:
                self._packed[key] = self._address(self._take(use.panel.radial_width * EDGE_WIDTH))
        for _, use in self.spreads:
            width = use.panel.radial_width if use.term.slot == 0 else use.panel.angular_width
            self._spread[id(use)] = self._address(self._take(width * EDGE_WIDTH))

    def _kept(self) -> set[str]:
        last = self._last_level()
        kept = {name for name in self.outputs if self._level[name] < last}
        for step in self.steps:
            for term in step.terms:
                for name in term.operands:
                    if name in self._level and (
                        self._level[name] < self._level[step.out.name] or isinstance(term.operation, EdgeSum)
                    ):
                        kept.add(name)
        for use in self.sums:
            kept.add(use.term.operands[1])
        return kept

    def _take(self, elements: int) -> int:
        at, self.size = self.size, self.size + elements
        return at

    def _address(self, element: int) -> str:
        return self.f.at("%edges", element)

    def _row(self, name: str, component: int) -> str:
        return self._address(self.rows[name] + component * self._pitch)

    def _spread_over_edges(self, use: Use) -> None:
        f, panel, out = self.f, use.panel, self._spread[id(use)]
        other = use.term.operands[0]
        source = self._row(other, panel.angular if use.term.slot == 0 else panel.radial)
        write = spread_radial if use.term.slot == 0 else spread_angular
        name = f.module.function(
            ("spread", panel, use.term.slot),
            EDGE_ARGUMENTS,
            lambda g: write(g, panel, "%packed", "%factors", self._pitch),
        )
        self._call(name, use, out, source)

    def _call_sum(self, use: Use, f_name: str, y_name: str) -> None:
        f, panel = self.f, use.panel
        name = f.module.function(
            ("sum", panel),
            EDGE_ARGUMENTS,
            lambda g: sum_edges(g, panel, "%packed", "%factors", self._pitch),
        )
        self._call(name, use, self._packed[f_name, panel.radial, panel.count], self._row(y_name, panel.angular))

    def _call(self, name: str, use: Use, packed: str, factors: str) -> None:
        f = self.f
        tiles, weights = f.at("%all_tiles", use.tiles), f.at("%params", use.weights)
        f.call(name, tiles, packed, factors, weights, "%runs", "i64 %n_runs")

    def _segment(self, level: int) -> None:
        """All pointwise work of one level, vector by vector."""
        f = self.f
        steps = [s for s in self.steps if self._level[s.out.name] == level]
        loop = f.loop("%groups")
        lane = f.integer("mul", loop.index, f.lanes)
        points = Pointwise(f, derivative_order(steps))
        if level == 0:
            self._load_inputs(points, lane)
        needed = {n for s in steps for t in s.terms for n in t.operands if n in self._level and self._level[n] < level}
        for name in sorted(needed):
            points.values[name] = [f.load(self._row(name, k), lane) for k in range(self.sizes[name])]
        for step in steps:
            out: Components[Vector] = [None] * step.out.size
            for term in step.terms:
                if isinstance(term.operation, EdgeSum):
                    for name, use in self.spreads:
                        if name == step.out.name and use.term is term:
                            self._gather(use, lane, out)
                else:
                    points.term(term, out)
            points.values[step.out.name] = [v or f.constant(0.0) for v in out]
        for name in sorted(self.rows.keys() & points.values.keys() - needed):
            for k, value in enumerate(points.values[name]):
                f.store(value, self._row(name, k), lane)
        for (name, radial, count), pointer in self._packed.items():
            if self._level[name] == level:
                self._pack(points.values[name][radial : radial + count], pointer, lane)
        self._store_outputs(points, level, lane)
        loop.close()

    def _load_inputs(self, points: Pointwise[Vector], lane: str) -> None:
        f = self.f
        staged = f.at("%edge_in", f.integer("mul", lane, self.width))
        for name, (column, size) in self.inputs.items():
            points.values[name] = f.deinterleave(staged, self.width, range(column, column + size))

    def _store_outputs(self, points: Pointwise[Vector], level: int, lane: str) -> None:
        """The outputs of this phase, once all of them are there, side by side."""
        f = self.f
        if not self.outputs or level != self._last_level():
            return
        columns = []
        for name in self.outputs:
            columns += points.values.get(name) or [f.load(self._row(name, k), lane) for k in range(self.sizes[name])]
        f.interleave(columns, f.at("%edge_out", f.integer("mul", lane, len(columns))))

    def _last_level(self) -> int:
        """Segment after which all outputs are there."""
        return max((self._level[name] for name in self.outputs), default=0)

    def _gather(self, use: Use, lane: str, out: Components[Vector]) -> None:
        """Add what was spread over the edges to the components of a value."""
        f, panel = self.f, use.panel
        if use.term.slot == 0:
            first, count, width, pack = panel.radial, panel.count, panel.radial_width, PACK
        else:
            first, count, width, pack = panel.angular, panel.dim, panel.angular_width, panel.lanes
        source = f.at(self._spread[id(use)], f.integer("mul", lane, width))
        for b in range(0, count, pack):
            halves = [f.load_transpose(source, half * width + b, width, pack) for half in range(0, f.lanes, pack)]
            for k in range(b, min(b + pack, count)):
                value = f.join([half[k - b] for half in halves])
                old = out[first + k]
                out[first + k] = value if old is None else f.add(value, old)

    def _pack(self, values: Sequence[Vector], pointer: str, lane: str) -> None:
        """Write components [b, edge] as [edge, b]."""
        f = self.f
        width = padded(len(values))
        target = f.at(pointer, f.integer("mul", lane, width))
        zero = f.constant(0.0, PACK)
        for b in range(0, len(values), PACK):
            parts = [f.split(v) for v in values[b : b + PACK]]
            for number, half in enumerate(range(0, f.lanes, PACK)):
                rows = [p[number] for p in parts] + [zero] * (PACK - len(parts))
                for e, column in enumerate(f.transpose(rows)):
                    f.store(column, target, (half + e) * width + b)
