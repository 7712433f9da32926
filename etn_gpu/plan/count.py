"""Floating-point operations of a Program, for one atom and for one edge."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from etn_gpu.plan.cost import nonzeros
from etn_gpu.plan.operations import Couple, EdgeSum, Mix, Operation, Products
from etn_gpu.plan.program import Program


@dataclass(frozen=True)
class Work:
    """Floating-point operations per atom and per edge."""

    per_atom: float = 0.0
    per_edge: float = 0.0

    def total(self, n_atoms: int, n_edges: int) -> float:
        """All of them on a batch."""
        return self.per_atom * n_atoms + self.per_edge * n_edges


def work(program: Program) -> Work:
    """Multiplications and additions of the couplings, mixings and sums over edges of ``program``.

    A coupling takes three for each nonzero Clebsch-Gordan coefficient, a sparse product three for each row, a mixing
    and a sum two for each product, with all species of a table counted as present. Left out are functions, harmonics
    and copies, a few per cent, and steps in parameter space, which run once per model.
    """
    per_atom = per_edge = 0.0
    for step in program.steps:
        for term in step.terms:
            done = flops(term.operation)
            if isinstance(term.operation, EdgeSum) or step.out.space == "edge":
                per_edge += done
            elif isinstance(term.operation, Mix) or step.out.space == "atom":
                per_atom += done
    return Work(per_atom, per_edge)


def flops(operation: Operation) -> float:
    """Operations of one term, for each column of what it sums or writes."""
    if isinstance(operation, Couple):
        return sum(3.0 * prod(block.counts) * nonzeros(*block.ls) for block in operation.blocks)
    if isinstance(operation, Products):
        return 3.0 * len(operation.rows)
    if isinstance(operation, Mix):
        return sum(2.0 * block.rows * block.cols * block.dim for block in operation.blocks)
    if isinstance(operation, EdgeSum):
        return sum(2.0 * block.count * block.dim for block in operation.blocks)
    return 0.0
