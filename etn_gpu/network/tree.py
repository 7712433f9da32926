"""Tensor trees: nodes that hold equivariant tensors, joined by bonds without loops; trains are the special case.

Cutting any bond of a tree leaves two parts, which is all that canonical forms and optimal truncation need
(:mod:`etn_gpu.network.canonical`, :mod:`etn_gpu.network.truncation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor import Tensor
from etn_gpu.tensor.legs import describe_leg, require_equal_legs


class Step(NamedTuple):
    """One step of a walk over a tree: from a node, over a bond, to the neighbour."""

    node: str
    bond: str
    neighbour: str


@dataclass(frozen=True, eq=False, repr=False)
class TensorTree:
    """A tensor network without loops. Immutable; functions on it return new trees that share what did not change.

    Parameters: `nodes`, name -> tensor whose legs all have names. A name on two nodes is a *bond* between them, on one
    node an *open* leg (a feature leg, or a target). `centre`, a node towards which every other one is known to be
    isometric (:func:`~etn_gpu.network.canonicalise` sees to that), or None.

    Raises :class:`~etn_gpu.errors.NetworkError` if the names do not make a tree, and
    :class:`~etn_gpu.errors.TensorError` if the two ends of a bond differ.
    """

    nodes: Mapping[str, Tensor]
    centre: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        if not self.nodes:
            raise NetworkError("a tensor tree needs at least one node, got none")
        self._check_names()
        self._check_bonds()
        if self.centre is not None:
            self.node(self.centre)

    @cached_property
    def bonds(self) -> Mapping[str, tuple[str, str]]:
        """The two nodes at the ends of every bond, bonds and ends in the order of the nodes."""
        return {name: (ends[0], ends[1]) for name, ends in self._ends.items() if len(ends) == 2}

    @cached_property
    def open_legs(self) -> tuple[str, ...]:
        """Names of the open legs, in the order of the nodes and of their legs."""
        return tuple(name for name, ends in self._ends.items() if len(ends) == 1)

    @property
    def n_parameters(self) -> int:
        """Numbers in all nodes."""
        return sum(tensor.structure.size for tensor in self.nodes.values())

    def node(self, name: str) -> Tensor:
        """The tensor of a node. Raises NetworkError that lists the nodes if there is none of that name."""
        if name not in self.nodes:
            raise NetworkError(f"there is no node {name!r}; the nodes are: {', '.join(self.nodes)}")
        return self.nodes[name]

    def ends(self, bond: str) -> tuple[str, str]:
        """The nodes at the ends of a bond. Raises NetworkError that lists the bonds if there is none of that name."""
        if bond not in self.bonds:
            raise NetworkError(f"there is no bond {bond!r}; the bonds are: {', '.join(self.bonds) or 'none'}")
        return self.bonds[bond]

    def leg(self, name: str) -> Irreps:
        """Irreps of a bond or an open leg. Raises NetworkError that lists the legs if there is none of that name."""
        if name not in self._ends:
            raise NetworkError(f"there is no leg {name!r}; the legs are: {', '.join(self._ends)}")
        tensor = self.nodes[self._ends[name][0]]
        return tensor.legs[tensor.axis(name)]

    def neighbours(self, node: str) -> Mapping[str, str]:
        """Bonds of a node and the neighbours at their other ends."""
        found = {}
        for name in map(str, self.node(node).names):
            if name in self.bonds:
                first, second = self.bonds[name]
                found[name] = second if first == node else first
        return found

    def towards(self, centre: str) -> tuple[Step, ...]:
        """A step from every other node to its neighbour on the way to `centre`: each after all that lie behind it.

        Raises NetworkError that lists the nodes if there is none of that name.
        """
        return tuple(self._inwards(centre, None))

    def path(self, start: str, end: str) -> tuple[Step, ...]:
        """The steps from one node to another. Raises NetworkError that lists the nodes for an unknown one."""
        self.node(start)
        steps = {step.node: step for step in self.towards(end)}
        found = []
        while start != end:
            found.append(steps[start])
            start = found[-1].neighbour
        return tuple(found)

    def to_tensor(self) -> Tensor:
        """The contraction of all nodes, a tensor with the :attr:`open_legs` as rows. For small networks and tests."""
        partial = dict(self.nodes)
        (*_, root) = self.nodes
        for step in self.towards(root):
            partial[step.neighbour] = tn.contract(partial[step.neighbour], partial.pop(step.node))
        return tn.permute(partial[root], self.open_legs)

    def __repr__(self) -> str:
        bonds = ", ".join(f"{first} -{self.leg(bond)}- {second}" for bond, (first, second) in self.bonds.items())
        return f"TensorTree({len(self.nodes)} nodes, {bonds or 'no bonds'}, centre={self.centre})"

    def _inwards(self, node: str, came_from: str | None) -> Iterator[Step]:
        for bond, neighbour in self.neighbours(node).items():
            if bond != came_from:
                yield from self._inwards(neighbour, bond)
                yield Step(neighbour, bond, node)

    @cached_property
    def _ends(self) -> Mapping[str, list[str]]:
        ends: dict[str, list[str]] = {}
        for node, tensor in self.nodes.items():
            for name in tensor.names:
                ends.setdefault(str(name), []).append(node)
        return ends

    def _check_names(self) -> None:
        for node, tensor in self.nodes.items():
            if None in tensor.names or len(set(tensor.names)) != len(tensor.names):
                raise NetworkError(f"the legs of node {node!r} need names, each its own; got {tensor.names}")
        for name, ends in self._ends.items():
            if len(ends) > 2:
                raise NetworkError(f"the leg {name!r} joins {len(ends)} nodes, {', '.join(ends)}; a bond joins two")

    def _check_bonds(self) -> None:
        if len(self.bonds) != len(self.nodes) - 1 or len(set(self._reached())) != len(self.nodes):
            raise NetworkError(
                f"the {len(self.nodes)} nodes and {len(self.bonds)} bonds are no tree: a tree of n nodes is connected "
                f"and has n - 1 bonds; got {', '.join(f'{a} -{bond}- {b}' for bond, (a, b) in self.bonds.items())}"
            )
        for name, ends in self.bonds.items():
            tensors = [self.nodes[end] for end in ends]
            axes = [tensor.axis(name) for tensor in tensors]
            texts = [
                f"{describe_leg(tensor.legs, tensor.names, axis)} of node {end!r}"
                for end, tensor, axis in zip(ends, tensors, axes, strict=True)
            ]
            require_equal_legs(tensors[0].legs[axes[0]], tensors[1].legs[axes[1]], texts[0], texts[1])

    def _reached(self) -> list[str]:
        """Nodes connected to the first one, without running in circles."""
        found = [next(iter(self.nodes))]
        for node in found:
            found += [other for other in self.neighbours(node).values() if other not in found]
        return found
