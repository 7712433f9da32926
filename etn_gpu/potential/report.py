"""The plan of a potential for people: contraction path, work and traffic per atom, largest intermediate."""

from __future__ import annotations

from dataclasses import dataclass

from etn_gpu.plan import chain_plan
from etn_gpu.potential.programs import Programs


@dataclass(frozen=True)
class PlanReport:
    """Contraction of the train for one atom.

    ``path``: one line per pairwise contraction; bytes for float64; ``largest_intermediate`` (name, components).
    """

    equation: str
    path: list[str]
    flops_per_atom: float
    bytes_per_atom: float
    largest_intermediate: tuple[str, int]
    chain_flops_per_atom: float
    n_parameters: int
    n_steps: dict[str, int]

    @staticmethod
    def of(programs: Programs) -> PlanReport:
        """Report on the Programs of a potential."""
        expression = programs.architecture.train.expression
        names = [getattr(node, "name", None) or node.core.name for node in expression.nodes]  # type: ignore[union-attr]
        lines = []
        remaining = list(names)
        for number, pair in enumerate(programs.plan.path):
            parts = [remaining.pop(i) for i in sorted(pair, reverse=True)]
            remaining.append(f"t{number}")
            lines.append(f"t{number} = {' . '.join(reversed(parts))}")
        atoms = [s.out for s in programs.energy.steps if s.out.space == "atom"]
        largest = max(atoms, key=lambda v: v.size)
        chain = chain_plan(expression)
        return PlanReport(
            programs.plan.equation,
            lines,
            programs.plan.cost.flops,
            8.0 * programs.plan.cost.components,
            (largest.name, largest.size),
            chain.cost.flops,
            programs.architecture.n_parameters,
            {"energy": len(programs.energy.steps), "energy + gradient": len(programs.gradient.steps)},
        )

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {count}" for name, count in self.n_steps.items())
        chain = f"left-to-right chain {self.chain_flops_per_atom:,.0f}"
        name, size = self.largest_intermediate
        return "\n".join(
            [
                f"network               {self.equation}",
                *(f"  {line}" for line in self.path),
                f"flops per atom        {self.flops_per_atom:,.0f} ({chain})",
                f"bytes per atom        {self.bytes_per_atom:,.0f} (float64)",
                f"largest intermediate  {name}, {size:,} components per atom",
                f"parameters            {self.n_parameters:,}",
                f"steps                 {steps}",
            ]
        )
