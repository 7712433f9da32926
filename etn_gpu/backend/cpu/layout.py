"""Where values lie: rows of the atom workspace, columns of parameters and of gradients; arguments of a phase."""

from __future__ import annotations

from dataclasses import dataclass, field

from etn_gpu.backend.columns import Columns
from etn_gpu.backend.rows import Rows

#: Arguments of every phase function; the driver passes them in this order.
ARGUMENTS = (
    "params", "gradient", "atoms", "all_tiles", "edges", "edge_in", "edge_out", "i64 groups", "runs", "i64 n_runs",
    "present", "i64 n_present", "near", "i64 n_near", "masks", "valid",
)  # fmt: skip


@dataclass
class Layout:
    """Where the values of an atom phase are."""

    parameters: Columns
    gradients: Columns
    rows: Rows = field(default_factory=Rows)
