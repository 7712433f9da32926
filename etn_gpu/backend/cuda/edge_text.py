"""The text of an edge stage: straight-line code for one edge in each lane, around it the loops of ``edges.cuh``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill

import numpy as np

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.cuda.edge_panels import Panel, Storage, covers, panels
from etn_gpu.backend.cuda.edge_plan import Plan, Sums, edge_pitch, warps_at_once
from etn_gpu.backend.cuda.edge_values import EdgeValues, edge_sums
from etn_gpu.backend.cuda.scalars import Scalar, Scalars, real
from etn_gpu.backend.cuda.stage import EDGE_INPUT, EDGE_KEPT, EDGE_OUTPUT, TILES_IN, TILES_OUT, Argument
from etn_gpu.backend.phases import pair_steps
from etn_gpu.plan.operations import EdgeSum
from etn_gpu.plan.program import Step, Term, Value

_KERNEL = """#include "edges.cuh"
{places}
extern "C" __global__ void __launch_bounds__({threads}, {blocks}) {name}(
    {parameters}) {{
    using Real = {real};
    extern __shared__ __align__(16) char edge_memory[];
    Real* const shared = (Real*)edge_memory;
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const long long first_slot = (long long)blockIdx.x * {slots};
    const long long atom = first_slot + warp < n_slots ? atoms[first_slot + warp] : -1;
    const long long begin = atom < 0 ? 0 : edge_offsets[atom], end = atom < 0 ? 0 : edge_offsets[atom + 1];
    Real* const buffer = shared + {buffer} * warp + {summed};
    {before}
    __syncthreads();
    for (long long first = begin; first < end; first += 32) {{
        const int n_edges = end - first < 32 ? (int)(end - first) : 32;
        // lanes without an edge repeat the last one: what they compute is finite, and never used
        const bool active = lane < n_edges;
        const long long edge = active ? first + lane : end - 1;
        const int neighbour = edge_species[edge], species = {species};
        {body}
    }}
    {after}
}}
"""
_PARAMETERS = {
    EDGE_INPUT: "const double* __restrict__ {name}",
    EDGE_KEPT: "const {real}* __restrict__ {name}",
    TILES_IN: "const {real}* __restrict__ {name}",
    TILES_OUT: "{real}* __restrict__ {name}",
    EDGE_OUTPUT: "{real}* __restrict__ {name}",
}
_COMMON = (
    "const long long* __restrict__ atoms",
    "const long long* __restrict__ edge_offsets",
    "const int* __restrict__ edge_species",
    "long long n_slots",
)


#: Where numbers of pairs of species are read.
_OF_PAIRS = ("const int* __restrict__ slot_species", "const {real}* __restrict__ parameters")


def kernel_text(
    name: str,
    dtype: np.dtype,
    plan: Plan,
    arguments: Sequence[Argument],
    steps: Sequence[Step],
    sums: Sequence[Step],
    values: Mapping[str, Value],
    columns: Columns,
) -> str:
    """The source of an edge stage; see :func:`~etn_gpu.backend.cuda.edge_stage.edge_stage`."""
    writer = _Writer(dtype, plan, arguments, values, columns)
    parameters = [*(_PARAMETERS[a.role].format(name=a.name, real=real(dtype)) for a in arguments), *_COMMON]
    if pair_steps(steps):
        parameters += [text.format(real=real(dtype)) for text in _OF_PAIRS]
    sums_of = [operation for step in (*steps, *sums) for _, operation in edge_sums(step)]
    before = list(writer.before(steps, sums))
    body = writer.body(steps, sums)
    after = list(writer.after(sums))
    return _KERNEL.format(
        name=name,
        threads=32 * plan.slots,
        blocks=warps_at_once(dtype.itemsize, [*steps, *sums], values) // plan.slots,
        parameters=",\n    ".join(parameters),
        real=real(dtype),
        slots=plan.slots,
        buffer=plan.buffer,
        summed=plan.summed,
        places=writer.table(),
        species=0 if any(operation.merged for operation in sums_of) else "neighbour",
        before="\n    ".join(before),
        body="\n        ".join(body),
        after="\n    ".join(after),
    )


class _Writer:
    def __init__(
        self,
        dtype: np.dtype,
        plan: Plan,
        arguments: Sequence[Argument],
        values: Mapping[str, Value],
        columns: Columns,
    ) -> None:
        self.f = Scalars(dtype)
        self.columns = columns
        self.plan = plan
        self.arguments = arguments
        self.values = values
        self.argument = {(a.role, a.value): a.name for a in arguments}
        self._places: list[int] = []

    def table(self) -> str:
        """Where components of sums lie in shared memory, in bytes: computing it would take longer than reading it."""
        if not self._places:
            return ""
        numbers = fill(", ".join(map(str, self._places)), 120)
        return f"__device__ const unsigned short places[] = {{\n{numbers}}};\n"

    # Before and after the edges.

    def before(self, steps: Sequence[Step], sums: Sequence[Step]) -> Iterator[str]:
        """Clear the sums that are written, bring those that are read to shared memory."""
        slots = self.plan.slots
        for step in sums:
            if not self._written_once(step):
                yield f"clear_tile<{slots}>({self.tile(TILES_OUT, step.out.name)}, {step.out.size});"
            for operation in _operations(step):
                if storage := self.plan.storage((step.out.name, operation)):
                    size = slots * storage.pitch(slots)
                    yield f"clear_shared<{slots}>(shared + {self.plan.first((step.out.name, operation))}, {size});"
        for name, operation in dict.fromkeys((t.operands[1], o) for step in steps for t, o in edge_sums(step)):
            if storage := self.plan.storage((name, operation)):
                tile = self.tile(TILES_IN, name)
                for component, kind, place in self._stretches(storage, self.plan.first((name, operation))):
                    yield f"read_sums<{kind}>({tile} + {32 * component}, {place});"

    def after(self, sums: Sequence[Step]) -> Iterator[str]:
        """Write the sums in shared memory to tiles."""
        held = [
            (s, o, storage) for s in sums for o in _operations(s) if (storage := self.plan.storage((s.out.name, o)))
        ]
        if held:
            yield "__syncthreads();"
        for step, operation, storage in held:
            tile = self.tile(TILES_OUT, step.out.name)
            once = self._written_once(step)
            added = "false" if once else "true"
            for component, kind, place in self._stretches(storage, self.plan.first((step.out.name, operation))):
                yield f"write_sums<{kind}, {added}>({tile} + {32 * component}, {place});"
                if not once:
                    yield "__syncthreads();"

    def _written_once(self, step: Step) -> bool:
        """Whether every component of a sum is written once, from shared memory."""
        operations = _operations(step)
        return (
            len(operations) == 1
            and covers(operations[0])
            and self.plan.storage((step.out.name, operations[0])) is not None
        )

    def tile(self, role: str, name: str, slot: str = "first_slot") -> str:
        """Component 0 of a slot."""
        return f"{self.argument[role, name]} + tile_place({slot}, {self.values[name].size})"

    def _stretches(self, storage: Storage, first: int) -> Iterator[tuple[int, str, str]]:
        """For each stretch of components: its first one, what the template takes, and where it goes."""
        slots = self.plan.slots
        for component, places in storage.stretches():
            kind = f"{len(places)}, {slots}, {storage.pitch(slots)}"
            yield component, kind, f"places + {len(self._places)}, shared + {first}"
            self._places += [place * self.f.dtype.itemsize for place in places]
        assert max(self._places, default=0) < 2**16, "the sums of one atom in at least two of a block's slots"

    # The edges.

    def body(self, steps: Sequence[Step], sums: Sequence[Step]) -> list[str]:
        """Everything for 32 edges of an atom."""
        edge = EdgeValues(self.f, self.plan, lambda name: self.tile(TILES_IN, name, "first_slot + warp"), self.columns)
        for argument in self.arguments:
            if argument.role in (EDGE_INPUT, EDGE_KEPT):
                edge.load(argument.value, argument.name, self.values[argument.value].size)
        values = edge.compute(steps)
        for argument in self.arguments:
            if argument.role == EDGE_OUTPUT:
                self._store(argument.name, values[argument.value])
        if sums:
            self.f.line("const unsigned starts = run_starts(species);")
        for step in sums:
            for term, operation in edge_sums(step):
                self._sum(step.out.name, term, operation, values)
        return self.f.lines

    def _store(self, argument: str, components: Sequence[Scalar]) -> None:
        size = len(components)
        for k, value in enumerate(components):
            self.f.line(f"buffer[lane * {size} + {k}] = {value.name};")
        self.f.line(f"store_edges<{size}>(buffer, {argument} + first * {size}, n_edges);")

    def _sum(self, name: str, term: Term, operation: EdgeSum, values: Mapping[str, Sequence[Scalar]]) -> None:
        """Add a sum over the edges to what is held for the atom."""
        radial, angular = (values[n] for n in term.operands)
        pitch = edge_pitch(self.f.dtype.itemsize)
        for number, panel in enumerate(panels(operation)):
            rows, columns = panel.staged
            f = [self.f.scaled(v, term.scale) for v in radial[panel.radial : panel.radial + panel.count]]
            staged = [f"active ? {v.name} : Real(0)" for v in f] + ["0"] * (rows - panel.count)
            staged += [angular[k].name for k in panel.angular] + ["0"] * (columns - panel.width)
            for row, value in enumerate(staged):
                self.f.line(f"buffer[{row * pitch} + lane] = {value};")
            tall, wide = panel.patch
            kind = f"{panel.count}, {panel.width}, {tall}, {wide}"
            target = self._added((name, operation), number, panel)
            self.f.line(f"sum_panel<{kind}>(buffer, species, starts, n_edges,")
            self.f.line(f"    [&](int c, int b, int m, Real sum) {{ {target} += sum; }});")

    def _added(self, sums: Sums, number: int, panel: Panel) -> str:
        """Where the sum of species c, row b and column m of a panel is held."""
        if storage := self.plan.storage(sums):
            first = self.plan.first(sums) + storage.offsets[number]
            place = f"{first} + {storage.pitch(self.plan.slots)} * warp"
            return f"shared[{place} + c * {storage.species(panel)} + b * {storage.row(panel)} + m]"
        component = ""
        for block, column in zip(panel.blocks, panel.starts, strict=True):
            here = f"{block.target - column} + {block.dim} * (c * {block.count} + b)"
            last = block is panel.blocks[-1]
            component += here if last else f"m < {column + block.dim} ? {here} : "
        return f"({self.tile(TILES_OUT, sums[0], 'first_slot + warp')})[32 * (({component}) + m)]"


def _operations(step: Step) -> list[EdgeSum]:
    """The different forms in which a step sums."""
    return list(dict.fromkeys(operation for _, operation in edge_sums(step)))
