"""Values of an edge as straight-line code, among them those that it takes from sums of its atom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.cuda.edge_panels import PACK_BYTES, Panel, panels
from etn_gpu.backend.cuda.edge_plan import Plan, Sums
from etn_gpu.backend.cuda.scalars import Scalar, Scalars
from etn_gpu.backend.pointwise import Components, Pointwise, derivative_order
from etn_gpu.plan.operations import EdgeSum, PairTable
from etn_gpu.plan.program import Step, Term, Value


def edge_sums(step: Step) -> list[tuple[Term, EdgeSum]]:
    """The terms of a step that are sums over edges, or derivatives of such sums, with their forms."""
    return [(t, t.operation) for t in step.terms if isinstance(t.operation, EdgeSum)]


class EdgeValues:
    """Writes the edge values of a stage.

    ``tile`` prints where the first component of an atom value lies in device memory, for the atom of the warp;
    ``parameters`` says where the numbers of pairs of species lie.
    """

    def __init__(self, f: Scalars, plan: Plan, tile: Callable[[str], str], parameters: Columns) -> None:
        self._f, self._plan, self._tile, self._parameters = f, plan, tile, parameters
        self._inputs: dict[str, list[Scalar]] = {}

    def load(self, name: str, argument: str, size: int) -> None:
        """Load an input."""
        self._inputs[name] = [self._f.emit(f"(Real){argument}[edge * {size} + {k}]") for k in range(size)]

    def compute(self, steps: Sequence[Step]) -> Mapping[str, Sequence[Scalar]]:
        """Write ``steps``; the components of all values by name."""
        points = Pointwise(self._f, derivative_order(steps))
        points.values |= self._inputs
        steps = _by_level(steps)
        pending = [(step.out, term) for step in steps for term, _ in edge_sums(step)]
        results: dict[str, Components[Scalar]] = {step.out.name: [None] * step.out.size for step in steps}
        for step in steps:
            for term in step.terms:
                if isinstance(term.operation, PairTable):
                    self._of_pair(term, term.operation, results[step.out.name])
                elif not isinstance(term.operation, EdgeSum):
                    points.term(term, results[step.out.name])
                elif (step.out, term) in pending:
                    sums = (term.operands[1], term.operation)
                    # What is read of sums serves all terms that can use it by now.
                    ready = [p for p in pending if _reads(p[1], sums) and p[1].operands[0] in points.values]
                    pending = [p for p in pending if p not in ready]
                    self._read(sums, ready, points.values, results)
            points.values[step.out.name] = [v or self._f.constant(0.0) for v in results[step.out.name]]
        return points.values

    def _of_pair(self, term: Term, operation: PairTable, out: Components[Scalar]) -> None:
        """Add numbers of the pair of species of the edge; an edge that is there has an atom."""
        offset = self._parameters[term.operands[0]][0]
        centre = f"slot_species[first_slot + warp] * {operation.n_species}"
        for k in range(operation.count):
            place = f"{offset + k} + ({centre} + neighbour) * {operation.count}"
            value = self._f.scaled(self._f.emit(f"parameters[{place}]"), term.scale)
            old = out[k]
            out[k] = value if old is None else self._f.add(value, old)

    def _read(
        self,
        sums: Sums,
        terms: Sequence[tuple[Value, Term]],
        values: Mapping[str, Sequence[Scalar]],
        results: Mapping[str, Components[Scalar]],
    ) -> None:
        """Add f[b] = sum_m S[b, m] y[m] and y[m] = sum_b S[b, m] f[b], for the species of the edge, to results."""
        for number, panel in enumerate(panels(sums[1])):
            given = [self._operand(term, panel, values[term.operands[0]]) for _, term in terms]
            for b, first, part in self._parts(sums, number, panel):
                for (out, term), operand in zip(terms, given, strict=True):
                    total = results[out.name]
                    for m, s in enumerate(part, first):
                        of, to = (b, panel.angular[m]) if term.slot == 1 else (m, panel.radial + b)
                        total[to] = self._f.fma(s, operand[of], total[to])

    def _operand(self, term: Term, panel: Panel, components: Sequence[Scalar]) -> list[Scalar]:
        """The rows of f, or those of y, that belong to a panel, times the scale of the term."""
        rows = range(panel.radial, panel.radial + panel.count) if term.slot == 1 else panel.angular
        return [self._f.scaled(components[k], term.scale) for k in rows]

    def _parts(self, sums: Sums, number: int, panel: Panel) -> Iterator[tuple[int, int, list[Scalar]]]:
        """All of a panel of the atom, for the species of the edge: row, first column, the numbers of one load there.

        Columns go last: results for the first harmonics are complete early, which leaves registers to others.
        """
        f, plan = self._f, self._plan
        pointer = f.new_name()
        if storage := plan.storage(sums):
            first = plan.first(sums) + storage.offsets[number]
            place = f"{first} + {storage.pitch(plan.slots)} * warp + {storage.species(panel)} * species"
            f.line(f"const Real* const {pointer} = shared + {place};")
            step = PACK_BYTES // f.dtype.itemsize
            for m, b in product(range(0, panel.width, step), range(panel.count)):
                yield b, m, f.packs(pointer, b * storage.row(panel) + m, min(step, panel.width - m))
            return
        f.line(f"const Real* const {pointer} = {self._tile(sums[0])};")
        for column, block in zip(panel.starts, panel.blocks, strict=True):
            for m, b in product(range(block.dim), range(panel.count)):
                place = f"{block.target + b * block.dim + m} + {block.count * block.dim} * species"
                yield b, column + m, [f.emit(f"{pointer}[32 * ({place})]")]


def _reads(term: Term, sums: Sums) -> bool:
    return (term.operands[1], term.operation) == sums


def _by_level(steps: Sequence[Step]) -> list[Step]:
    """The same steps, those first that read no sums, then those that read sums only for what came before, and so on.

    Sums that several steps read are then read once.
    """
    level: dict[str, int] = {}
    for step in steps:
        later = [level.get(term.operands[0], 0) + 1 for term, _ in edge_sums(step)]
        level[step.out.name] = max([*later, *(level.get(n, 0) for t in step.terms for n in t.operands)], default=0)
    return sorted(steps, key=lambda step: level[step.out.name])
