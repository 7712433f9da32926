"""Lowering: a planned network becomes steps of a Program.

The contraction of two vectors with a core goes sector triple by sector triple: couple the two vectors to the third
leg keeping all multiplicities, then mix with the reduced block. The product of one triple lives only between those
two steps, so a backend keeps it in cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from etn_gpu.errors import PlanError
from etn_gpu.plan.builder import ProgramBuilder
from etn_gpu.plan.cores import Core, Path, Sector, sectors
from etn_gpu.plan.expression import LEG_NAMES, CoreNode, NetworkExpression, State, VectorNode
from etn_gpu.plan.operations import Copy, CopyBlock, Couple, CoupleBlock, Mix, MixBlock
from etn_gpu.plan.optimizer import ContractionPlan
from etn_gpu.plan.program import Term, Value
from etn_gpu.symmetry import Irreps

Triple = tuple[int, int, int]


@dataclass
class _Lowered:
    """What stands for a node or a partial contraction while the path is walked."""

    state: State
    value: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    by_path: dict[Path, str] = field(default_factory=dict)


def lower_network(
    builder: ProgramBuilder,
    network: NetworkExpression,
    plan: ContractionPlan,
    values: dict[str, str],
    weights: dict[str, str],
) -> Value:
    """Append the steps of ``plan`` and return the result.

    ``values`` maps vector nodes and ``weights`` cores to the names of their values.
    """
    items: list[_Lowered] = []
    for node in network.nodes:
        name = values[node.name] if isinstance(node, VectorNode) else weights[node.core.name]
        items.append(_Lowered(network.initial(len(items)), name))
    lowerer = _Lowerer(builder, network)
    for pair in plan.path:
        chosen = [items.pop(i) for i in sorted(pair, reverse=True)]
        if len(chosen) == 1:
            items.append(chosen[0])
            continue
        items.append(lowerer.join(*chosen))
    (result,) = items
    return builder.value(result.value)


class _Lowerer:
    def __init__(self, builder: ProgramBuilder, network: NetworkExpression) -> None:
        self.builder = builder
        self.network = network

    def join(self, a: _Lowered, b: _Lowered) -> _Lowered:
        joined = self.network.join(a.state, b.state)
        if joined is None:
            raise PlanError(f"no step joins a {a.state.kind} on {a.state.legs} and a {b.state.kind} on {b.state.legs}")
        state = joined[0]
        first, other = (a, b) if a.state.kind in ("vector", "pair") else (b, a)
        if state.kind == "pair":
            return _Lowered(state, parts={x.state.legs[0]: x.value for x in (a, b)})
        if state.kind == "operator":
            return self._operator(state, first, other)
        if first.state.kind == "pair":
            value = self._close(state, first, other)
        elif other.state.kind == "operator":
            value = self._apply(state, first, other)
        elif other.state.kind == "core":
            value = self._matrix(state, first, other)
        else:
            value = self._dot(first, other)
        return _Lowered(state, value)

    def _dot(self, a: _Lowered, b: _Lowered) -> str:
        leg = self.network.legs[a.state.legs[0]]
        blocks = tuple(
            CoupleBlock(
                (s.l, s.l, 0),
                (s.offset, s.offset, 0),
                (s.mul, 1, 1),
                ((1, 0, 0), (1, 0, 0), (0, 0, 0)),
                float(s.dim) ** 0.5,
            )
            for s in sectors(leg)
        )
        term = Term(Couple((leg.dim, leg.dim, 1), blocks), 2, (a.value, b.value))
        return self.builder.step("dot", "atom", (term,)).name

    def _close(self, state: State, pair: _Lowered, core: _Lowered) -> str:
        """Two vectors and a core -> a vector on the third leg."""
        node = _core_node(core)
        given = sorted((LEG_NAMES.index(node.leg(x)), name) for x, name in pair.parts.items())
        (i, first), (j, second) = given
        (t,) = {0, 1, 2} - {i, j}
        out_size = _leg(node.core, t).dim
        terms = []
        for path in node.core.paths:
            s = _triple(path)
            product_size = s[i].mul * s[j].mul * s[t].dim
            sizes = [0, 0, 0]
            sizes[i], sizes[j], sizes[t] = _leg(node.core, i).dim, _leg(node.core, j).dim, product_size
            strides: list[Triple] = [(0, 0, 0)] * 3
            strides[i], strides[j], strides[t] = (1, 0, 0), (0, 1, 0), (s[j].mul, 1, 0)
            block = CoupleBlock(
                _ls(path), _offsets(s, t), (s[i].mul, s[j].mul, 1), (strides[0], strides[1], strides[2])
            )
            couple = Couple((sizes[0], sizes[1], sizes[2]), (block,))
            product = self.builder.step(_hint(node.core, path), "atom", (Term(couple, t, (first, second)),))
            value, weight, row_stride = self._weights(core, path, t, (i, j))
            mix = MixBlock(weight, row_stride, s[t].mul, s[i].mul * s[j].mul, s[t].dim, 0, s[t].offset)
            terms.append(self._mix(value, product.name, product.size, out_size, mix))
        return self._vector(node, terms)

    def _operator(self, state: State, vector: _Lowered, core: _Lowered) -> _Lowered:
        """A vector and a core -> per triple the block [(other multiplicities), m of the vector's leg]."""
        node = _core_node(core)
        x = LEG_NAMES.index(node.leg(vector.state.legs[0]))
        y, z = (k for k in range(3) if k != x)
        by_path = {}
        for path in node.core.paths:
            s = _triple(path)
            value, weight, row_stride = self._weights(core, path, (y, z), (x,))
            mix = MixBlock(weight, row_stride, s[y].mul * s[z].mul, s[x].mul, s[x].dim, s[x].offset, 0)
            size = s[y].mul * s[z].mul * s[x].dim
            term = self._mix(value, vector.value, _leg(node.core, x).dim, size, mix)
            by_path[path] = self.builder.step(_hint(node.core, path), "atom", (term,)).name
        return _Lowered(state, by_path=by_path)

    def _apply(self, state: State, vector: _Lowered, operator: _Lowered) -> str:
        node = _core_node(operator)
        y = LEG_NAMES.index(node.leg(vector.state.legs[0]))
        t = LEG_NAMES.index(node.leg(state.legs[0]))
        (x,) = {0, 1, 2} - {y, t}
        low, high = sorted((y, t))
        terms = []
        for path, value in operator.by_path.items():
            s = _triple(path)
            sizes = [0, 0, 0]
            sizes[x] = s[y].mul * s[t].mul * s[x].dim
            sizes[y], sizes[t] = _leg(node.core, y).dim, _leg(node.core, t).dim
            strides: list[Triple] = [(0, 0, 0)] * 3
            strides[low], strides[high], strides[x] = (1, 0, 0), (0, 1, 0), (s[high].mul, 1, 0)
            block = CoupleBlock(
                _ls(path), _offsets(s, x), (s[low].mul, s[high].mul, 1), (strides[0], strides[1], strides[2])
            )
            at = {x: value, y: vector.value}
            terms.append(Term(Couple((sizes[0], sizes[1], sizes[2]), (block,)), t, tuple(at[k] for k in sorted(at))))
        return self._vector(node, terms)

    def _matrix(self, state: State, vector: _Lowered, core: _Lowered) -> str:
        """A vector and a core with one more leg (or none): mixing, sector by sector."""
        node = _core_node(core)
        x = LEG_NAMES.index(node.leg(vector.state.legs[0]))
        t = LEG_NAMES.index(node.leg(state.legs[0])) if state.legs else 2 if x != 2 else 0
        (third,) = {0, 1, 2} - {x, t}
        terms = []
        for path in node.core.paths:
            s = _triple(path)
            value, weight, row_stride = self._weights(core, path, t, (x,))
            mix = MixBlock(weight, row_stride, s[t].mul, s[x].mul, s[x].dim, s[x].offset, s[t].offset)
            scale = float(s[x].dim) ** -0.5 if third == 2 else 1.0
            terms.append(self._mix(value, vector.value, _leg(node.core, x).dim, _leg(node.core, t).dim, mix, scale))
        return self._vector(node, terms)

    def _mix(self, weights: str, source: str, source_size: int, size: int, block: MixBlock, scale: float = 1.0) -> Term:
        operation = Mix((self.builder.value(weights).size, source_size, size), (block,))
        return Term(operation, 2, (weights, source), scale)

    def _vector(self, node: CoreNode, terms: list[Term]) -> str:
        if not terms:
            raise PlanError(f"the core {node.core.name!r} has no allowed sector triple")
        return self.builder.step(f"h_{node.core.name}", "atom", terms).name

    def _weights(
        self, core: _Lowered, path: Path, row: int | tuple[int, ...], cols: tuple[int, ...]
    ) -> tuple[str, int, int]:
        """The reduced block as a matrix rows x cols: in place if it lies like that, else regrouped (once per call)."""
        s = _triple(path)
        stride = {0: s[1].mul, 1: 1, 2: path.row_stride}
        rows = (row,) if isinstance(row, int) else row
        real_rows = tuple(k for k in rows if s[k].mul > 1)
        real_cols = tuple(k for k in cols if s[k].mul > 1)
        n_cols = prod(s[k].mul for k in cols)
        contiguous = real_cols in ((), (1,)) or (real_cols == (0, 1)) or (real_cols == (0,) and s[1].mul == 1)
        if contiguous and len(real_rows) <= 1:
            return core.value, path.weight, stride[real_rows[0]] if real_rows else n_cols
        i, j, k = (*rows, *cols, *({0, 1, 2} - set(rows) - set(cols)))
        counts = (s[i].mul, s[j].mul, s[k].mul)
        target = (counts[1] * counts[2], counts[2], 1)
        block = CopyBlock((path.weight, 0), counts, ((stride[i], stride[j], stride[k]), target))
        copy = Copy((self.builder.value(core.value).size, prod(counts)), (block,))
        name = self.builder.step(f"{core.value}:{_hint_path(path)}", "param", (Term(copy, 1, (core.value,)),)).name
        return name, 0, n_cols


def _core_node(item: _Lowered) -> CoreNode:
    if item.state.core is None:
        raise PlanError(f"a {item.state.kind} on {item.state.legs} holds no core")
    return item.state.core


def _triple(path: Path) -> tuple[Sector, Sector, Sector]:
    return (path.left, path.feature, path.out)


def _ls(path: Path) -> Triple:
    return (path.left.l, path.feature.l, path.out.l)


def _offsets(s: tuple[Sector, Sector, Sector], compact: int) -> Triple:
    """Block offsets in the three slots; the slot ``compact`` holds just this block."""
    at = tuple(0 if k == compact else s[k].offset for k in range(3))
    return (at[0], at[1], at[2])


def _leg(core: Core, index: int) -> Irreps:
    return (core.left, core.feature, core.out)[index]


def _hint_path(path: Path) -> str:
    return f"{path.left.l}{path.feature.l}{path.out.l}" + ("" if path.out.p == (-1) ** path.out.l else "'")


def _hint(core: Core, path: Path) -> str:
    return f"{core.name}:{_hint_path(path)}"
