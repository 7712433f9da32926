"""The tensor train: d cores bond x feature -> bond turn d copies of a site vector into an invariant or a covariant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from etn_gpu.errors import NetworkError
from etn_gpu.plan import Core, CoreNode, NetworkExpression, VectorNode
from etn_gpu.plan.cores import sectors
from etn_gpu.symmetry import Irreps

SCALAR = Irreps("1x0e")


@dataclass(frozen=True)
class Train:
    """A train of d = len(bonds) + 1 cores over one feature leg: 1x0e - core 1 - bonds[0] - ... - core d - target.

    A sector of a bond that no product of features reaches, or from which the target cannot be reached, is cut off. The
    target is one irrep or several; the names of the cores begin with ``prefix``. NetworkError when the order is below
    2, when ``feature`` or ``target`` names an irrep twice, or when nothing is left of a bond, or no way leads to one of
    the target's irreps: the ranks allow no path.
    """

    feature: Irreps
    bonds: tuple[Irreps, ...]
    target: Irreps = SCALAR
    prefix: str = "G"

    def __post_init__(self) -> None:
        if not self.bonds:
            raise NetworkError("a train needs order d >= 2, that is at least one bond; got no bonds")
        if not self.target.dim:
            raise NetworkError(f"the target must have at least one irrep such as 1x0e or 1x1o, got {self.target}")
        sectors(self.feature)
        sectors(self.target)
        self._check_paths()

    @property
    def order(self) -> int:
        """Number of cores d; the body order is d + 1."""
        return len(self.bonds) + 1

    @cached_property
    def reachable_bonds(self) -> tuple[Irreps, ...]:
        """The bonds without the sectors that no path from 1x0e to the target uses."""
        steps = {(ir.l, ir.p) for mul, ir in self.feature if mul}
        bonds = [Irreps(b).sort().simplify() for b in self.bonds]
        forward = _sweep({(0, 1)}, bonds, steps)
        backward = _sweep({(ir.l, ir.p) for _, ir in self.target}, bonds[::-1], steps)[::-1]
        return tuple(
            Irreps([(mul, ir) for mul, ir in bond if (ir.l, ir.p) in f & b])
            for bond, f, b in zip(bonds, forward, backward, strict=True)
        )

    @cached_property
    def cores(self) -> tuple[Core, ...]:
        """The cores G1 .. Gd, or with another prefix."""
        chain = (SCALAR, *self.reachable_bonds, self.target)
        return tuple(Core(f"{self.prefix}{t + 1}", chain[t], self.feature, chain[t + 1]) for t in range(self.order))

    @cached_property
    def expression(self) -> NetworkExpression:
        """The network in the order vector, core, vector, core, ...; the vectors are called v1 .. vd."""
        scalar = self.target == SCALAR
        labels: list[str | None] = [
            None,
            *(f"bond{t + 1}" for t in range(self.order - 1)),
            None if scalar else "target",
        ]
        legs: dict[str, Irreps] = {}
        nodes: list[VectorNode | CoreNode] = []
        for t, core in enumerate(self.cores):
            feature = f"feature{t + 1}"
            legs[feature] = self.feature
            nodes.append(VectorNode(f"v{t + 1}", feature))
            nodes.append(CoreNode(core, (labels[t], feature, labels[t + 1])))
        legs |= {f"bond{t + 1}": bond for t, bond in enumerate(self.reachable_bonds)}
        if not scalar:
            legs["target"] = self.target
        return NetworkExpression(tuple(nodes), legs, None if scalar else "target")

    def _check_paths(self) -> None:
        empty = [
            f"bond {t + 1} ({given})"
            for t, (given, left) in enumerate(zip(self.bonds, self.reachable_bonds, strict=True))
            if not left.dim
        ]
        if empty:
            raise NetworkError(
                f"these ranks allow no path from 1x0e through the feature leg {self.feature} to {self.target}: "
                f"nothing passes {', '.join(empty)}. "
                "Give every bond at least one irrep that the neighbouring bonds and the feature leg can couple to."
            )
        reached = {(path.out.l, path.out.p) for path in self.cores[-1].paths}
        if missing := [str(ir) for _, ir in self.target if (ir.l, ir.p) not in reached]:
            raise NetworkError(
                f"no path leads to {', '.join(missing)} of the target {self.target}: the last bond, {self.bonds[-1]}, "
                f"and the feature leg {self.feature} do not couple to it. Give the last bond an irrep that does."
            )


def _sweep(start: set[tuple[int, int]], bonds: list[Irreps], steps: set[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Irreps reachable on each bond from ``start`` by coupling one feature irrep per bond."""
    found = []
    current = start
    for bond in bonds:
        allowed = {(ir.l, ir.p) for mul, ir in bond if mul}
        current = {
            (l, p)
            for l, p in allowed
            if any(p == p1 * p2 and abs(l1 - l2) <= l <= l1 + l2 for l1, p1 in current for l2, p2 in steps)
        }
        found.append(current)
    return found
