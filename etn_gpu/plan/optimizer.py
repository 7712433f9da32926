"""Contraction order: an opt_einsum PathOptimizer that knows the irreps behind each index.

opt_einsum's own size dictionary is dense: it would count the product of two legs as dim x dim. Here only the allowed
sector triples count (:mod:`etn_gpu.plan.cost`), and only contractions that a Program can express are considered. The
search is dynamic programming over subsets of nodes, exact for the networks of this library; it contains the
left-to-right chain, so its result is never worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import opt_einsum
from opt_einsum.paths import PathOptimizer, ssa_to_linear

from etn_gpu.errors import PlanError
from etn_gpu.plan.cost import Cost, Machine
from etn_gpu.plan.expression import NetworkExpression, VectorNode

ATOM = "atom"


@dataclass(frozen=True)
class ContractionPlan:
    """Pairwise contractions in order, as opt_einsum's linear path, and their total cost for one atom."""

    path: tuple[tuple[int, ...], ...]
    cost: Cost
    equation: str


class Contractible(Protocol):
    """What the search asks of a network; a state is whatever the network makes of a part of itself."""

    def initial(self, index: int) -> Any:
        """State of a single node."""

    def join(self, a: Any, b: Any) -> tuple[Any, Cost] | None:
        """State and cost of contracting two parts, None where that cannot be done."""


@dataclass(frozen=True)
class _Best:
    state: Any
    cost: Cost
    weight: float
    split: tuple[int, int] | None


class SymmetricOptimizer(PathOptimizer):
    """Dynamic programming over the subsets of the nodes of a network."""

    def __init__(self, network: Contractible, machine: Machine | None = None) -> None:
        self.network = network
        self.machine = machine or Machine()
        self.cost = Cost()

    def __call__(
        self,
        inputs: list[frozenset[str]],
        output: frozenset[str],
        size_dict: Mapping[str, int],
        memory_limit: int | None = None,
    ) -> list[tuple[int, ...]]:
        """The path in opt_einsum's linear format; sizes come from the irreps, not from ``size_dict``."""
        del output, size_dict, memory_limit
        table = self._search(len(inputs))
        full = (1 << len(inputs)) - 1
        if full not in table:
            raise PlanError("this network cannot be contracted by couplings of two vectors through a core")
        self.cost = table[full].cost
        ssa: list[tuple[int, int]] = []
        _unroll(table, full, len(inputs), ssa)
        return ssa_to_linear(ssa)

    def _search(self, count: int) -> dict[int, _Best]:
        by_size: list[dict[int, _Best]] = [{} for _ in range(count + 1)]
        by_size[1] = {1 << i: _Best(self.network.initial(i), Cost(), 0.0, None) for i in range(count)}
        for size in range(2, count + 1):
            for left in range(1, size // 2 + 1):
                for mask_a, a in by_size[left].items():
                    for mask_b, b in by_size[size - left].items():
                        if not mask_a & mask_b:
                            self._offer(by_size[size], mask_a, a, mask_b, b)
        return {mask: best for level in by_size for mask, best in level.items()}

    def _offer(self, level: dict[int, _Best], mask_a: int, a: _Best, mask_b: int, b: _Best) -> None:
        joined = self.network.join(a.state, b.state)
        if joined is None:
            return
        state, own = joined
        cost = a.cost + b.cost + own
        weight = cost.weight(self.machine)
        key = mask_a | mask_b
        if key not in level or weight < level[key].weight:
            level[key] = _Best(state, cost, weight, (mask_a, mask_b))


def _unroll(table: dict[int, _Best], mask: int, count: int, ssa: list[tuple[int, int]]) -> int:
    """Append the contractions below ``mask`` to the single-assignment path; return the id of the result."""
    split = table[mask].split
    if split is None:
        return mask.bit_length() - 1
    ids = tuple(_unroll(table, part, count, ssa) for part in split)
    ssa.append((ids[0], ids[1]))
    return count + len(ssa) - 1


def plan_contraction(network: NetworkExpression, machine: Machine | None = None) -> ContractionPlan:
    """Plan ``network`` with opt_einsum; PlanError when it cannot be contracted."""
    optimizer = SymmetricOptimizer(network, machine)
    equation, shapes = _einsum(network)
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize=optimizer)
    return ContractionPlan(tuple(tuple(p) for p in path), optimizer.cost, equation)


def chain_plan(network: NetworkExpression) -> ContractionPlan:
    """The left-to-right chain: node after node is contracted in, in their order (vector, core, vector, core, ...).

    PlanError when two of these contractions cannot be expressed by steps of a Program.
    """
    state, cost = network.initial(0), Cost()
    ssa: list[tuple[int, int]] = []
    current = 0
    for index in range(1, len(network.nodes)):
        joined = network.join(state, network.initial(index))
        if joined is None:
            raise PlanError(f"the left-to-right chain cannot absorb node {index} of this network")
        state, own = joined
        cost = cost + own
        ssa.append((current, index))
        current = len(network.nodes) + len(ssa) - 1
    return ContractionPlan(tuple(ssa_to_linear(ssa)), cost, _einsum(network)[0])


def _einsum(network: NetworkExpression) -> tuple[str, list[tuple[int, ...]]]:
    """The network as an einsum equation, the atom index first on vectors, and the dense shapes of its terms."""
    symbol = {label: opt_einsum.get_symbol(i) for i, label in enumerate((ATOM, *network.legs))}
    terms, shapes = [], []
    for node in network.nodes:
        labels = (ATOM, node.label) if isinstance(node, VectorNode) else node.open
        terms.append("".join(symbol[x] for x in labels))
        shapes.append(tuple(1 if x == ATOM else network.legs[x].dim for x in labels))
    out = symbol[ATOM] + (symbol[network.output] if network.output else "")
    return ",".join(terms) + "->" + out, shapes
