"""A Program becomes one LLVM module: a function for each phase, with the tables that the driver needs around it.

The steps are split into *phases* that alternate between edges and atoms. A block of atoms, one in each lane of a
register, goes through all phases at once. Edge values are not kept from one edge phase to the next: each phase
recomputes those that it needs. Steps between parameters only are not lowered: they run once, in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from etn_gpu.backend.columns import Columns, column_layout
from etn_gpu.backend.cpu.atoms import AtomSteps, Written
from etn_gpu.backend.cpu.edges import EdgePhase, Use
from etn_gpu.backend.cpu.ir import Function, Module
from etn_gpu.backend.cpu.layout import ARGUMENTS, Layout
from etn_gpu.backend.cpu.panels import panels
from etn_gpu.backend.cpu.schedule import Close, Open, Release, Run, schedule
from etn_gpu.backend.cpu.sites import Sites, clear, mix_and_pack, pack, unpack, unpack_and_mix
from etn_gpu.backend.phases import chosen_edge_steps, marks_nearest, number_phases, pair_steps, split
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Program, Step, Term, Value

#: Registers of atoms in a block: more share the loading of code and weights, fewer need less cache.
VECTORS = 1
ON_ATOMS, ON_EDGES = 0, 1


@dataclass(frozen=True)
class Transfer:
    """What the driver brings from inputs before a phase and to outputs after it: (first row, size, column).

    An edge phase has no loads and at most one store, without a row: edges travel through staging arrays [lane, size],
    and their inputs are staged once for all phases.
    """

    loads: tuple[tuple[int, int, int], ...] = ()
    stores: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Lowered:
    """A lowered Program: text of the module, phases, sizes of the workspaces, columns (offset, size) by name.

    What ``nearest`` and ``pairs`` make is given with the inputs on edges, behind them in this order.
    """

    text: str
    kinds: tuple[int, ...]
    transfers: tuple[Transfer, ...]
    atom_rows: int
    edge_elements: int
    tile_elements: int
    inputs: dict[str, Columns]
    outputs: dict[str, Columns]
    nearest: tuple[Step, ...]
    pairs: tuple[Step, ...]
    parameters: Columns
    gradients: Columns


def phase_name(number: int) -> str:
    """Name of the function of a phase."""
    return f"phase{number}"


def lower(program: Program, dtype: np.dtype) -> Lowered:
    """Lower ``program``; BackendError when it holds something that this backend does not do."""
    return _Lowering(program, dtype).run()


class _Lowering:
    def __init__(self, program: Program, dtype: np.dtype) -> None:
        self.program = program
        self.module = Module(dtype, VECTORS)
        before, body, _ = split(program)
        given_steps = pair_steps(body)
        self.nearest = [s for s in given_steps if marks_nearest(s)]
        self.pairs = [s for s in given_steps if not marks_nearest(s)]
        self.body = [s for s in body if s not in given_steps]
        self.phase = number_phases(program, body)
        inputs = [v for v in program.inputs if v.space == "param"]
        self.layout = Layout(
            column_layout([*inputs, *(s.out for s in before)]),
            column_layout([s.out for s in self.body if s.out.space == "param"]),
        )
        given = (*program.inputs, *(s.out for s in (*self.nearest, *self.pairs)))
        self.inputs = {s: column_layout(v for v in given if v.space == s) for s in ("edge", "atom")}
        outputs = [Value(name, program.values[v].space, program.values[v].size) for name, v in program.outputs]
        # What one edge phase puts out lies side by side.
        outputs.sort(key=lambda v: self.phase[program.output_names[v.name]] if v.space == "edge" else 0)
        self.outputs = {s: column_layout(v for v in outputs if v.space == s) for s in ("edge", "atom")}
        self.sites = Sites(self.body, set(program.output_names.values()))
        self.summed: dict[str, list[Use]] = {}
        self.tiles = 0
        self.edge_elements = 0
        self.kinds: list[int] = []
        self.transfers: list[Transfer] = []

    def run(self) -> Lowered:
        last = max([self.phase[s.out.name] for s in self.body], default=0)
        for phase in range(last + 1):
            if phase % 2 == 0:
                self._edges(phase)
            else:
                self._atoms(phase)
        return Lowered(
            self.module.text(),
            tuple(self.kinds),
            tuple(self.transfers),
            self.layout.rows.count,
            self.edge_elements,
            self.tiles,
            self.inputs,
            self.outputs,
            tuple(self.nearest),
            tuple(self.pairs),
            self.layout.parameters,
            self.layout.gradients,
        )

    def _kept(self, phase: int) -> set[str]:
        """Atom values that are outputs, or that something outside their own phase reads."""
        values, names = self.program.values, set(self.program.output_names.values())
        for step in self.body:
            if not self._runs_in(step, phase):
                names |= {n for t in step.terms for n in t.operands}
        return {n for n in names if values[n].space == "atom"}

    def _open(self, kind: int) -> Function:
        f = Function(self.module, phase_name(len(self.kinds)), ARGUMENTS)
        self.kinds.append(kind)
        return f

    def _inputs_on_atoms(self) -> list[tuple[int, int, int]]:
        return [
            (self.layout.rows.allocate(name, size), size, column)
            for name, (column, size) in self.inputs["atom"].items()
        ]

    def _stored(self, value: str) -> list[tuple[int, int, int]]:
        """Where an atom value goes under each output name that it has."""
        return [
            (self.layout.rows.at[value], size, column)
            for name, (column, size) in self.outputs["atom"].items()
            if self.program.output_names[name] == value
        ]

    def _uses(self, term: Term, value: str) -> list[Use]:
        """The panels of an edge-sum term, with room for their tiles; ``value`` is what it sums or spreads."""
        assert isinstance(term.operation, EdgeSum)
        embedding = self.sites.embedded.get(value)
        weights = 0 if embedding is None else self.layout.parameters[embedding.weights][0] + embedding.offset
        found = []
        for panel in panels(term.operation, self.module.lanes):
            if embedding is not None:
                panel = replace(panel, components=embedding.components, table=embedding.species)
            use = Use(term, panel, self.tiles, weights)
            found.append(use)
            self.tiles += self._elements(use)
        return found

    def _elements(self, use: Use) -> int:
        """Elements of all tiles of the atoms of a block, and of the spare ones."""
        return use.tile * (use.panel.components * self.module.lanes * VECTORS + use.panel.spare)

    def _edges(self, phase: int) -> None:
        """An atom function that prepares the tiles, and the edge function; ``summed`` says what was summed where."""
        values = self.program.values
        sums: list[Use] = []
        for step in self.body:
            if step.out.space == "atom" and self.phase[step.out.name] == phase + 1:
                terms = [t for t in step.terms if isinstance(t.operation, EdgeSum)]
                self.summed[step.out.name] = [use for term in terms for use in self._uses(term, step.out.name)]
                sums += self.summed[step.out.name]
        names = self.program.output_names
        outputs = [name for name in self.outputs["edge"] if self.phase[names[name]] == phase]
        wanted = {names[name] for name in outputs} | {n for use in sums for n in use.term.operands}
        steps, needed = chosen_edge_steps(self.body, wanted)
        inputs = {name: place for name, place in self.inputs["edge"].items() if name in needed}
        spreads = [
            (step.out.name, use)
            for step in steps
            for term in step.terms
            if isinstance(term.operation, EdgeSum)
            for use in self._uses(term, term.operands[1])
        ]
        self._prepare(phase, sums, spreads)
        f = self._open(ON_EDGES)
        sizes = {v.name: v.size for v in values.values() if v.space == "edge"}
        width = sum(size for _, size in self.inputs["edge"].values())
        edges = EdgePhase(f, inputs, steps, sums, spreads, [names[name] for name in outputs], sizes, width)
        edges.write()
        self.module.export(f)
        self.edge_elements = max(self.edge_elements, edges.size)
        total = sum(self.outputs["edge"][name][1] for name in outputs)
        stores = ((0, total, self.outputs["edge"][outputs[0]][0]),) if outputs else ()
        self.transfers.append(Transfer((), stores))

    def _prepare(self, phase: int, sums: list[Use], spreads: list[tuple[str, Use]]) -> None:
        """Zero the tiles that are summed into, fill those that are spread over the edges."""
        f = self._open(ON_ATOMS)
        loads = self._inputs_on_atoms() if phase == 0 else []
        stores = [
            entry for v in self.program.inputs if phase == 0 and v.space == "atom" for entry in self._stored(v.name)
        ]
        steps = AtomSteps(f, self.layout)
        for name, uses in self.summed.items():
            for use in uses:
                if use in sums:
                    clear(steps, use, name in self.sites.unheld)
        by_source: dict[str, list[Use]] = {}
        for _, use in spreads:
            by_source.setdefault(use.term.operands[1], []).append(use)
        for source, uses in by_source.items():
            if source in self.sites.spread:
                mix_and_pack(steps, self.sites.spread[source], uses)
            else:
                for use in uses:
                    pack(steps, source, use)
        self.module.export(f)
        self.transfers.append(Transfer(tuple(loads), tuple(stores)))

    def _atoms(self, phase: int) -> None:
        f = self._open(ON_ATOMS)
        steps = AtomSteps(f, self.layout)
        stores: list[tuple[int, int, int]] = []
        values, rows = self.program.values, self.layout.rows
        here = [s for s in self.body if self._runs_in(s, phase)]
        filled: dict[str, Written] = {}
        for event in schedule(here, self._kept(phase)):
            if isinstance(event, Release):
                rows.release(event.name, values[event.name].size)
                continue
            out = event.step.out
            if isinstance(event, Open) and out.space == "atom":
                filled[out.name] = Written(f, rows.allocate(out.name, out.size), out.size)
            elif isinstance(event, Run):
                self._term(steps, event.step, event.term, filled.get(out.name))
            elif isinstance(event, Close) and out.space == "atom":
                filled.pop(out.name).clear()
                stores += self._stored(out.name)
        self.module.export(f)
        self.transfers.append(Transfer((), tuple(stores)))

    def _term(self, steps: AtomSteps, step: Step, term: Term, written: Written | None) -> None:
        if written is not None and term in self.sites.mixed:
            site, summed = self.sites.mixed[term]
            unpack_and_mix(steps, step, site, self.summed[summed], written)
        elif written is not None and isinstance(term.operation, EdgeSum):
            for use in (u for u in self.summed[step.out.name] if u.term is term):
                unpack(steps, step.out.name, use, written)
        else:
            steps.term(term, step, written)

    def _runs_in(self, step: Step, phase: int) -> bool:
        """Whether an atom phase makes the value of ``step``."""
        name = step.out.name
        return self.phase[name] == phase and step.out.space != "edge" and name not in self.sites.unheld
