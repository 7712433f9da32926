"""The symmetry-aware cost of a pairwise contraction: only allowed sector triples are counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from etn_gpu.plan.cores import Path
from etn_gpu.symmetry import Irreps, clebsch_gordan


@dataclass(frozen=True)
class Cost:
    """Work of a contraction for one atom: floating-point operations, components read and written, kernel launches."""

    flops: float = 0.0
    components: float = 0.0
    launches: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.components + other.components, self.launches + other.launches)

    def weight(self, machine: Machine) -> float:
        """Estimated time in units of one flop."""
        return self.flops + machine.flops_per_component * self.components + machine.flops_per_launch * self.launches


@dataclass(frozen=True)
class Machine:
    """Balance of a machine: flops done in the time of moving one component, and of one launch (per atom of a block)."""

    flops_per_component: float = 2.0
    flops_per_launch: float = 50.0


@cache
def nonzeros(l1: int, l2: int, l3: int) -> int:
    """Number of nonzero real Clebsch-Gordan coefficients of a triple."""
    return int(np.count_nonzero(clebsch_gordan(l1, l2, l3)))


def mix_cost(paths: tuple[Path, ...], component: str) -> Cost:
    """Mixing with the reduced blocks of ``paths``; m of the leg ``component`` is the batched index."""
    flops = moved = 0.0
    for path in paths:
        sector = getattr(path, component)
        weights = path.left.mul * path.feature.mul * path.out.mul
        flops += 2.0 * weights * sector.dim
        moved += weights * sector.dim / sector.mul + sector.mul * sector.dim
    return Cost(flops, moved, 1)


def outer_cost(paths: tuple[Path, ...], legs: tuple[str, str]) -> Cost:
    """Coupling two vectors on ``legs`` of a core to its third leg, all pairs of multiplicities kept."""
    (third,) = {"left", "feature", "out"} - set(legs)
    flops = moved = 0.0
    for path in paths:
        pairs = getattr(path, legs[0]).mul * getattr(path, legs[1]).mul
        flops += 3.0 * pairs * nonzeros(path.left.l, path.feature.l, path.out.l)
        moved += pairs * getattr(path, third).dim
    return Cost(flops, moved, 1)


def dot_cost(leg: Irreps) -> Cost:
    """Inner product of two vectors on one leg."""
    return Cost(2.0 * leg.dim, 2.0 * leg.dim, 1)
