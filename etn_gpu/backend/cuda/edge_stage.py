"""Edge stages of a lowered Program: everything between edge vectors and the sums over the edges of an atom.

One warp works on the edges of one atom, 32 at a time. Values of an edge stay in registers; sums of the atoms of a block
are gathered in shared memory, or brought there for the edges to read. Only where the sums of an atom are too many (very
many species) do edges read them in device memory, and add to them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.cuda.edge_plan import buffer_size, plan
from etn_gpu.backend.cuda.edge_text import kernel_text
from etn_gpu.backend.cuda.edge_values import edge_sums
from etn_gpu.backend.cuda.stage import EDGE_INPUT, EDGE_KEPT, EDGE_OUTPUT, TILES_IN, TILES_OUT, Argument
from etn_gpu.plan.program import Step, Value


@dataclass(frozen=True)
class EdgeStage:
    """The kernel ``name`` of ``text``: a block works on ``slots`` slots with ``shared_bytes`` of dynamic shared memory.

    Beside ``arguments`` it takes ``const long long* atoms`` [n_slots], -1 in padding, ``const long long* edge_offsets``
    [n_atoms+1], ``const int* edge_species`` [n_edges], ``long long n_slots``, a multiple of 32, and, where numbers of
    pairs of species are read, ``const int* slot_species`` [n_slots] and ``parameters`` [P] Real; the grid has
    n_slots / slots blocks. Tiles are written in all slots, with 0 in padding.
    """

    name: str
    text: str
    arguments: tuple[Argument, ...]
    slots: int
    shared_bytes: int


def edge_stage(
    name: str,
    dtype: np.dtype,
    steps: Sequence[Step],
    sums: Sequence[Step],
    outputs: Sequence[str],
    values: Mapping[str, Value],
    parameters: Columns | None = None,
    kept: Set[str] = frozenset(),
) -> EdgeStage:
    """The kernel of a stage on edges.

    Args:
        name: of the kernel.
        dtype: float32 or float64, in which it calculates.
        steps: edge values to compute, from the inputs on, in an order in which they can be.
        sums: atom values to write as tiles, all of whose terms are sums over edges.
        outputs: edge values to write to memory.
        values: every value by its name.
        parameters: where the numbers of pairs of species lie in ``parameters``, where there are such steps.
        kept: edge values that an earlier pass made, in ``dtype``.

    Raises:
        BackendError: not even the edges of one atom have room in shared memory.
    """
    itemsize = np.dtype(dtype).itemsize
    summed = [(step.out.name, operation) for step in sums for _, operation in edge_sums(step)]
    read = [(term.operands[1], operation) for step in steps for term, operation in edge_sums(step)]
    buffer = buffer_size(itemsize, [operation for _, operation in summed], [values[n].size for n in outputs])
    shared = plan(name, itemsize, [*summed, *read], buffer)
    arguments = _arguments(steps, sums, outputs, values, kept)
    text = kernel_text(name, np.dtype(dtype), shared, arguments, steps, sums, values, parameters or {})
    return EdgeStage(name, text, arguments, shared.slots, shared.shared_bytes)


def _arguments(
    steps: Sequence[Step], sums: Sequence[Step], outputs: Sequence[str], values: Mapping[str, Value], kept: Set[str]
) -> tuple[Argument, ...]:
    made = {s.out.name for s in steps}
    used = [*(n for s in (*steps, *sums) for t in s.terms for n in t.operands), *outputs]
    read = dict.fromkeys(n for n in used if n not in made)
    kinds = (
        ("edge_in", EDGE_INPUT, [n for n in read if values[n].space == "edge" and n not in kept]),
        ("edge_kept", EDGE_KEPT, [n for n in read if values[n].space == "edge" and n in kept]),
        ("tiles_in", TILES_IN, [n for n in read if values[n].space == "atom"]),
        ("tiles_out", TILES_OUT, [s.out.name for s in sums]),
        ("edge_out", EDGE_OUTPUT, list(outputs)),
    )
    return tuple(Argument(f"{kind}{k}", role, value) for kind, role, names in kinds for k, value in enumerate(names))
