"""A tensor network of one atom: vectors on legs, cores between legs, and the states of partial contractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from etn_gpu.errors import NetworkError
from etn_gpu.plan.cores import Core
from etn_gpu.plan.cost import Cost, dot_cost, mix_cost, outer_cost
from etn_gpu.symmetry import Irreps

LEG_NAMES = ("left", "feature", "out")
TRIVIAL = Irreps("1x0e")


@dataclass(frozen=True)
class VectorNode:
    """A vector on one leg that differs from atom to atom (a site vector)."""

    name: str
    label: str


@dataclass(frozen=True)
class CoreNode:
    """A core; ``labels`` names its legs (left, feature, out), None where the leg is the trivial 1x0e."""

    core: Core
    labels: tuple[str | None, str | None, str | None]

    @property
    def open(self) -> tuple[str, ...]:
        """Labels of the legs that are not trivial."""
        return tuple(x for x in self.labels if x is not None)

    def leg(self, label: str) -> str:
        """'left', 'feature' or 'out': the leg that carries ``label``."""
        return LEG_NAMES[self.labels.index(label)]


Node = VectorNode | CoreNode


@dataclass(frozen=True)
class State:
    """A partial contraction with its open legs.

    'core' (parameters only), 'vector' (of an atom, at most one open leg), 'pair' (two vectors that wait for ``core``)
    or 'operator' (``core`` with one of three legs contracted).
    """

    kind: str
    legs: tuple[str, ...]
    core: CoreNode | None = None


@dataclass(frozen=True)
class NetworkExpression:
    """Nodes and the irreps behind each label; ``output`` is the label that stays open, None for an invariant.

    NetworkError when a label does not join exactly two nodes (one for ``output``) or the irreps at its ends differ.
    """

    nodes: tuple[Node, ...]
    legs: Mapping[str, Irreps] = field(hash=False)
    output: str | None = None

    def __post_init__(self) -> None:
        counts = dict.fromkeys(self.legs, 0)
        for node in self.nodes:
            for label in (node.label,) if isinstance(node, VectorNode) else node.open:
                counts[label] = counts.get(label, 0) + 1
        for label, count in counts.items():
            expected = 1 if label == self.output else 2
            if count != expected:
                raise NetworkError(f"the leg {label!r} appears {count} times in the network, expected {expected}")
            if label not in self.legs:
                raise NetworkError(f"the leg {label!r} has no irreps; legs with irreps: {sorted(self.legs)}")
        for node in self.nodes:
            if isinstance(node, CoreNode):
                self._check_core(node)

    def _check_core(self, node: CoreNode) -> None:
        for label, name in zip(node.labels, LEG_NAMES, strict=True):
            given = getattr(node.core, name)
            expected = TRIVIAL if label is None else self.legs[label]
            if given != expected:
                where = "a leg without a label" if label is None else f"the leg {label!r}"
                raise NetworkError(f"core {node.core.name!r} has {given} on {where}, which carries {expected}")

    def initial(self, index: int) -> State:
        """State of a single node."""
        node = self.nodes[index]
        if isinstance(node, VectorNode):
            return State("vector", (node.label,))
        return State("core", node.open, node)

    def join(self, a: State, b: State) -> tuple[State, Cost] | None:
        """State and cost of contracting two states; None where no step of a Program does that."""
        if {a.kind, b.kind} == {"pair", "core"}:
            return self._close(*((a, b) if a.kind == "pair" else (b, a)))
        if a.kind != "vector":
            a, b = b, a
        if a.kind != "vector" or not a.legs or not b.legs:
            return None
        leg = a.legs[0]
        if b.kind == "vector":
            return self._join_vectors(leg, b.legs[0])
        if b.core is None or b.kind == "pair" or leg not in b.legs:
            return None
        rest = tuple(x for x in b.legs if x != leg)
        if b.kind == "core":
            state = State("operator", rest, b.core) if len(rest) == 2 else State("vector", rest)
            return state, mix_cost(b.core.core.paths, b.core.leg(leg))
        return State("vector", rest), outer_cost(b.core.core.paths, (b.core.leg(leg), b.core.leg(rest[0])))

    def _join_vectors(self, leg: str, other: str) -> tuple[State, Cost] | None:
        if leg == other:
            return State("vector", ()), dot_cost(self.legs[leg])
        for node in self.nodes:
            if isinstance(node, CoreNode) and {leg, other} <= set(node.open):
                return State("pair", (leg, other), node), outer_cost(node.core.paths, (node.leg(leg), node.leg(other)))
        return None

    def _close(self, pair: State, core: State) -> tuple[State, Cost] | None:
        if core.core is None or core.core != pair.core:
            return None
        rest = tuple(x for x in core.legs if x not in pair.legs)
        (third,) = set(LEG_NAMES) - {core.core.leg(x) for x in pair.legs}
        return State("vector", rest), mix_cost(core.core.core.paths, third)
