"""What a potential does for each atom, for people: work and traffic, for a network with its contraction path."""

from __future__ import annotations

from dataclasses import dataclass

from etn_gpu.plan import chain_plan, plan_contraction
from etn_gpu.plan.count import work
from etn_gpu.plan.passes import passes
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.programs import Programs


def report(programs: Programs) -> PlanReport | ProgramReport:
    """The plan of a potential."""
    return PlanReport.of(programs) if isinstance(programs.form, Architecture) else ProgramReport.of(programs)


@dataclass(frozen=True)
class PlanReport:
    """Contraction of the train for one atom.

    ``path``: one line per pairwise contraction; bytes for float64; ``largest_intermediate`` (name, components).
    ``layers``: what each layer of message passing does, one line each.
    """

    equation: str
    path: list[str]
    flops_per_atom: float
    bytes_per_atom: float
    largest_intermediate: tuple[str, int]
    chain_flops_per_atom: float
    n_parameters: int
    n_steps: dict[str, int]
    layers: tuple[str, ...] = ()

    @staticmethod
    def of(programs: Programs) -> PlanReport:
        """Report on the Programs of a network."""
        form, plan = programs.form, programs.plan
        assert isinstance(form, Architecture)
        assert plan is not None
        expression = form.train.expression
        names = [getattr(node, "name", None) or node.core.name for node in expression.nodes]  # type: ignore[union-attr]
        lines = []
        remaining = list(names)
        for number, pair in enumerate(plan.path):
            parts = [remaining.pop(i) for i in sorted(pair, reverse=True)]
            remaining.append(f"t{number}")
            lines.append(f"t{number} = {' . '.join(reversed(parts))}")
        atoms = [s.out for s in programs.energy.steps if s.out.space == "atom"]
        largest = max(atoms, key=lambda v: v.size)
        chain = chain_plan(expression)
        return PlanReport(
            plan.equation,
            lines,
            plan.cost.flops,
            8.0 * plan.cost.components,
            (largest.name, largest.size),
            chain.cost.flops,
            form.n_parameters,
            {"energy": len(programs.energy.steps), "energy + gradient": len(programs.gradient.steps)},
            _layers(form, programs),
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
                *self.layers,
            ]
        )


def _layers(form: Architecture, programs: Programs) -> tuple[str, ...]:
    """Messages of each layer, and the passes over all atoms with their work."""
    lines = []
    for number, (layer, head) in enumerate(zip(form.layers, form.heads, strict=True), 1):
        cost = plan_contraction(head.expression).cost
        attention = f", {layer.attention} heads of attention" if layer.attention else ""
        messages = sum((2 * l + 1) * n for l, n in layer.channels(form.degrees).items())
        lines.append(
            f"{f'layer {number}':<22}passes on {layer.irreps} (order {head.order}, {cost.flops:,.0f} flops per atom), "
            f"{messages} x {layer.n_radial} messages per atom{attention}"
        )
    if lines:
        for name, program in (("energy", programs.energy), ("energy + gradient", programs.gradient)):
            works = [work(one.program) for one in passes(program).passes]
            each = "; ".join(f"{w.per_atom:,.0f} + {w.per_edge:,.0f} per edge" for w in works)
            lines.append(f"{'passes':<22}{name}: {each} flops per atom")
    return tuple(lines)


@dataclass(frozen=True)
class ProgramReport:
    """Work of a potential of another method, energies alone and with gradients; bytes for float64.

    ``largest_intermediate`` (name, components) is that of an atom.
    """

    described: str
    flops_per_atom: dict[str, float]
    flops_per_edge: dict[str, float]
    largest_intermediate: tuple[str, int]
    n_parameters: int
    n_steps: dict[str, int]

    @staticmethod
    def of(programs: Programs) -> ProgramReport:
        """Report on the Programs of a potential."""
        both = {"energy": programs.energy, "energy + gradient": programs.gradient}
        works = {name: work(program) for name, program in both.items()}
        largest = max((s.out for s in programs.energy.steps if s.out.space == "atom"), key=lambda v: v.size)
        return ProgramReport(
            programs.form.described,
            {name: w.per_atom for name, w in works.items()},
            {name: w.per_edge for name, w in works.items()},
            (largest.name, largest.size),
            programs.form.n_parameters,
            {name: len(program.steps) for name, program in both.items()},
        )

    def __str__(self) -> str:
        def listed(numbers: dict[str, float]) -> str:
            return ", ".join(f"{name} {number:,.0f}" for name, number in numbers.items())

        name, size = self.largest_intermediate
        return "\n".join(
            [
                f"method                {self.described}",
                f"flops per atom        {listed(self.flops_per_atom)}",
                f"flops per edge        {listed(self.flops_per_edge)}",
                f"largest intermediate  {name}, {size:,} components per atom",
                f"parameters            {self.n_parameters:,}",
                f"steps                 {listed({k: float(v) for k, v in self.n_steps.items()})}",
            ]
        )
