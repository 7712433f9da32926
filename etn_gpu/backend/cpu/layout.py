"""Where values lie: rows of the atom workspace, columns of parameters, of gradients, of staged inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from etn_gpu.backend.cpu.rows import Rows
from etn_gpu.plan.program import Value

#: (offset, size) by name.
Columns = dict[str, tuple[int, int]]
#: Arguments of every phase function; the driver passes them in this order.
ARGUMENTS = (
    "params", "gradient", "atoms", "all_tiles", "edges", "edge_in", "edge_out", "i64 groups", "runs", "i64 n_runs",
    "present", "i64 n_present", "masks", "valid",
)  # fmt: skip


@dataclass
class Layout:
    """Where the values of an atom phase are."""

    parameters: Columns
    gradients: Columns
    rows: Rows = field(default_factory=Rows)


def column_layout(values: Iterable[Value]) -> Columns:
    """Columns of the values when they are laid side by side."""
    columns, offset = {}, 0
    for value in values:
        columns[value.name] = (offset, value.size)
        offset += value.size
    return columns
